"""From ``policy_kwargs`` and spaces to an agent."""

from functools import partial

from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from torch import nn

from sb3_hyper.encoders import AggregatedEncoder, SequenceEncoder, make_encoder
from sb3_hyper.hypernetworks import BaseNetwork, Trunk, make_initializer
from sb3_hyper.policies.agent import Agent
from sb3_hyper.policies.features import Features, is_trial_space
from sb3_hyper.policies.latent import make_latent
from sb3_hyper.policies.settings import LAYER_OF_CONDITIONING, AgentSettings


def default_extractor(state_space: spaces.Space) -> type[BaseFeaturesExtractor]:  # type: ignore[type-arg]
    """SB3's extractor for a state space: combined for Dict, NatureCNN for images, flat for the rest."""
    if isinstance(state_space, spaces.Dict):
        return CombinedExtractor
    return NatureCNN if is_image_space(state_space) else FlattenExtractor


def build_agent(
    observation_space: spaces.Space,  # type: ignore[type-arg]
    action_space: spaces.Space,  # type: ignore[type-arg]
    extractor: BaseFeaturesExtractor,
    normalize_images: bool,
    activation_fn: type[nn.Module],
    settings: AgentSettings,
) -> Agent:
    """
    Build the agent.

    :param observation_space: observation space
    :param action_space: action space
    :param extractor: features extractor of the state
    :param normalize_images: whether images are divided by 255
    :param activation_fn: activation of the base networks
    :param settings: all that is this package's own
    :return: the agent
    :raises ValueError: when widths or settings do not fit each other or the spaces
    """
    if settings.generation == "episode" and not is_trial_space(observation_space):
        raise ValueError(
            "generation='episode' renews the latent where new_episode is 1, but the observations are not a trial's. "
            "Let sb3_hyper.envs.RL2Observation make them, or use generation='trial' or 'step'."
        )
    embedding_dims = (settings.state_embedding_dim, settings.action_embedding_dim, settings.reward_embedding_dim)
    state_dim = settings.base_sizes.state_dim
    features = Features(
        observation_space,
        extractor,
        settings.normalize_states,
        normalize_images,
        state_dim,
        embedding_dims,
        settings.encoder_input,
    )
    encoder = _build_encoder(features.transition.output_dim, settings)
    encoder, to_latent = make_latent(settings.latent, encoder, settings.aggregator, settings.latent_dim)
    initializer = make_initializer(settings.initializer, settings.base_initializer)
    make_trunk = partial(
        Trunk, settings.latent_dim, settings.trunk_dims, initializer, normalize_latent=settings.normalize_latent
    )
    trunk, critic_trunk = make_trunk(), make_trunk() if settings.sharing == "nothing" else None
    n_inputs = {"latent": trunk.output_dim - 1, "state_and_latent": features.state_dim + trunk.output_dim - 1}
    make_network = partial(
        BaseNetwork,
        LAYER_OF_CONDITIONING[settings.conditioning],
        trunk.output_dim,
        n_inputs.get(settings.conditioning, features.state_dim),
        activation_fn=activation_fn,
        initializer=initializer,
        conditioned_layers=settings.conditioned_layers,
    )
    # The papers' gains: small logits, unit means.
    actor_gain = 1.0 if isinstance(action_space, spaces.Box) else 0.01
    sizes = settings.base_sizes
    actor = make_network(sizes.pi, actor_output_dim(action_space), output_gain=actor_gain)
    critic = make_network(sizes.vf, 1, output_gain=1.0)
    if settings.sharing == "hidden_layers":
        critic.hidden_layers = actor.hidden_layers
    return Agent(
        features,
        encoder,
        to_latent,
        trunk,
        critic_trunk,
        settings.conditioning,
        settings.generation,
        settings.detach_latent,
        actor,
        critic,
    )


def _build_encoder(input_dim: int, settings: AgentSettings) -> SequenceEncoder:
    encoder = make_encoder(settings.encoder, input_dim, settings.encoder_dim, **settings.encoder_kwargs)
    if settings.aggregator is None:
        return encoder
    return AggregatedEncoder(
        encoder, settings.aggregator, settings.split, settings.straight_through, **settings.aggregator_kwargs
    )


def actor_output_dim(action_space: spaces.Space) -> int:  # type: ignore[type-arg]
    """Number of logits or means that an actor puts out."""
    # A flattened Discrete or MultiDiscrete element is one-hot: one entry for each logit.
    return spaces.flatdim(action_space)
