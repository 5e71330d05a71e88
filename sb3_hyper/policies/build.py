"""From ``policy_kwargs`` and spaces to an agent."""

from collections.abc import Mapping, Sequence
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from torch import nn

from sb3_hyper.aggregators import Aggregator
from sb3_hyper.encoders import AggregatedEncoder, SequenceEncoder, make_encoder
from sb3_hyper.errors import unknown_name
from sb3_hyper.hypernetworks import make_initializer
from sb3_hyper.policies.agent import SIZES, Agent, BaseSizes, Conditioning
from sb3_hyper.policies.features import Features


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
    size: str,
    net_arch: Sequence[int] | Mapping[str, Sequence[int]] | None,
    state_dim: int | None,
    encoder: str | type[SequenceEncoder],
    encoder_kwargs: Mapping[str, Any],
    encoder_dim: int,
    aggregator: str | type[Aggregator] | None,
    split: bool,
    straight_through: bool,
    latent_dim: int,
    trunk_dims: tuple[int, ...],
    conditioning: Conditioning,
    initializer: str,
    base_initializer: str,
    state_embedding_dim: int,
    action_embedding_dim: int,
    reward_embedding_dim: int,
    normalize_states: bool,
) -> Agent:
    """Build the agent; the arguments are those of :class:`~sb3_hyper.policies.HyperActorCriticPolicy`."""
    # Base networks that see the latent alone need no embedding of the state.
    sizes = base_sizes(size, net_arch, 0 if conditioning == "latent" else state_dim)
    features = Features(
        observation_space,
        extractor,
        normalize_states,
        normalize_images,
        sizes.state_dim,
        (state_embedding_dim, action_embedding_dim, reward_embedding_dim),
    )
    sequence_encoder = make_encoder(encoder, features.transition.output_dim, encoder_dim, **encoder_kwargs)
    if aggregator is not None:
        sequence_encoder = AggregatedEncoder(sequence_encoder, aggregator, split, straight_through)
    return Agent(
        features,
        sequence_encoder,
        latent_dim,
        trunk_dims,
        conditioning,
        sizes,
        activation_fn,
        actor_output_dim(action_space),
        # The papers' gains: small logits, unit means.
        1.0 if isinstance(action_space, spaces.Box) else 0.01,
        make_initializer(initializer, base_initializer),
    )


def base_sizes(
    size: str, net_arch: Sequence[int] | Mapping[str, Sequence[int]] | None, state_dim: int | None
) -> BaseSizes:
    """
    Sizes of the base networks: the named ones, where nothing else is said.

    :param size: a name in ``SIZES``
    :param net_arch: hidden layers, or ``dict(pi=[…], vf=[…])``
    :param state_dim: width of the state embedding
    :return: the sizes
    :raises ValueError: when the name is unknown, or a mapping lacks ``pi`` or ``vf``
    """
    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    sizes = SIZES[size]
    if isinstance(net_arch, Mapping):
        if set(net_arch) != {"pi", "vf"}:
            raise ValueError(
                f"net_arch has the keys {sorted(net_arch)}, wanted dict(pi=[…], vf=[…]) or one list for both."
            )
        sizes = sizes._replace(pi=widths("net_arch['pi']", net_arch["pi"]), vf=widths("net_arch['vf']", net_arch["vf"]))
    elif net_arch is not None:
        sizes = sizes._replace(pi=widths("net_arch", net_arch), vf=widths("net_arch", net_arch))
    return sizes if state_dim is None else sizes._replace(state_dim=state_dim)


def widths(name: str, value: object) -> tuple[int, ...]:
    """
    Widths of layers, checked.

    :param name: the setting
    :param value: what the user gave
    :return: the widths
    :raises ValueError: unless it is a sequence of positive whole numbers
    """
    if not isinstance(value, Sequence) or not all(isinstance(width, int) and width > 0 for width in value):
        raise ValueError(f"{name}={value!r}: wanted a list of positive widths, for example [64, 64].")
    return tuple(value)


def actor_output_dim(action_space: spaces.Space) -> int:  # type: ignore[type-arg]
    """Number of logits or means that an actor puts out."""
    # A flattened Discrete or MultiDiscrete element is one-hot: one entry for each logit.
    return spaces.flatdim(action_space)
