"""What a policy's own base networks look like before training, under every initialiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule

from sb3_hyper.analysis.initialization import PLAIN, InitialStatistics, name_layers
from sb3_hyper.analysis.layer_statistics import OUTPUT_GAIN, Samples, draw_plain, layer_parameters, measure
from sb3_hyper.analysis.networks import Network, check_networks, generates_nothing, heads_of, trunk_of
from sb3_hyper.analysis.seeding import seeded
from sb3_hyper.analysis.subjects import SPACES_OF_ONE
from sb3_hyper.hypernetworks import HYPER_INITIALIZERS, BaseNetwork, Trunk, make_initializer
from sb3_hyper.policies import HyperActorCriticPolicy
from sb3_hyper.policies.settings import LAYER_OF_CONDITIONING

FIVE_ACTIONS = spaces.Discrete(5)


def policy_statistics(
    policy_class: type[HyperActorCriticPolicy],
    network: Network = "actor",
    initializers: Sequence[str] = tuple(HYPER_INITIALIZERS),
    n_seeds: int = 3,
    n_latents: int = 8,
    n_inputs: int = 256,
    latent_std: float = 1.0,
    observation_space: spaces.Space[Any] = SPACES_OF_ONE[0],
    action_space: spaces.Space[Any] = FIVE_ACTIONS,
    **policy_kwargs: Any,
) -> InitialStatistics:
    """
    Measure a policy's actor or critic at step 0 as :func:`~sb3_hyper.analysis.initial_statistics` measures an actor.

    The policy is built with each initialiser, and with ``normalize_latent=True`` where that needs it. Its base network
    gets standard-normal numbers in the place of the state's embedding, its trunk random latents: what its encoder reads
    does not matter.

    :param policy_class: the policy's class
    :param network: "actor" or "critic"
    :param initializers: names in ``HYPER_INITIALIZERS``
    :param n_seeds: number of policies, from seeds 0, 1, …
    :param n_latents: latents for each
    :param n_inputs: states for each latent
    :param latent_std: standard deviation of the latents
    :param observation_space: what the policy is built for, where its features extractor asks for something
    :param action_space: decides the actor's outputs and, by its kind, the gain of its last layer
    :param policy_kwargs: other keyword arguments of the policy
    :return: the statistics, the plain network first
    :raises ValueError: when a name is unknown, a number less than 1, ``latent_std`` not positive, there is one state,
        the policy generates no weights, or ``policy_kwargs`` name an initialiser
    """
    samples = Samples(n_seeds, n_latents, n_inputs, latent_std)
    samples.check()
    check_networks((network,))
    if "initializer" in policy_kwargs:
        raise ValueError(
            f"initializer={policy_kwargs['initializer']!r} for a table with a row for each initialiser: leave it out, "
            "or choose rows by initializers=(…)."
        )
    build = partial(_build, policy_class, (observation_space, action_space), policy_kwargs)
    with seeded(0):
        policy = build("BiasHyperInit")
    if LAYER_OF_CONDITIONING[policy.agent.conditioning] == "plain":
        raise generates_nothing(policy)
    widths, base_initializer = _widths(getattr(policy.agent, network)), policy.settings.base_initializer
    is_discrete_actor = network == "actor" and not isinstance(action_space, spaces.Box)
    gain = OUTPUT_GAIN if is_discrete_actor else 1.0
    plain = partial(draw_plain, base_initializer, widths, activation_fn=policy.activation_fn, output_gain=gain)
    draws = [partial(_draw, build, network, name) for name in initializers]
    means = measure(plain, draws, widths[0], policy.agent.trunk.latent_dim, samples)
    name = ", ".join([policy_class.__name__, network, *([f"size {policy.settings.size}"] * ("size" in policy_kwargs))])
    return InitialStatistics(name, base_initializer, latent_std, [PLAIN, *initializers], name_layers(widths), *means)


def _build(
    policy_class: type[HyperActorCriticPolicy],
    policy_spaces: tuple[spaces.Space[Any], spaces.Space[Any]],
    policy_kwargs: dict[str, Any],
    initializer: str,
) -> HyperActorCriticPolicy:
    # Neither what the encoder reads nor when its latent is renewed changes a base network.
    settings = {"encoder_input": "transition", "generation": "step", **policy_kwargs, "initializer": initializer}
    if make_initializer(initializer).needs_normalized_latent:
        settings["normalize_latent"] = True
    return policy_class(*policy_spaces, ConstantSchedule(0.0), **settings)


def _draw(
    build: Callable[[str], HyperActorCriticPolicy], network: Network, initializer: str
) -> tuple[BaseNetwork, Trunk]:
    agent = build(initializer).agent
    return getattr(agent, network), trunk_of(agent, network)


def _widths(network: BaseNetwork) -> list[int]:
    """Of input, hidden layers and output."""
    layers = [*network.hidden_layers, network.output_layer]
    n_factors = next(head.shape[0] for layer in layers for head in heads_of(layer))
    shapes = [layer_parameters(layer, th.zeros(1, n_factors))[0].shape for layer in layers]
    return [shapes[0][2], *(shape[1] for shape in shapes)]
