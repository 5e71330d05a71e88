"""Actor and critic as base networks that a latent conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch as th
from torch import nn

from sb3_hyper.errors import unknown_name
from sb3_hyper.hypernetworks import FiLMLinear, GeneratedLinear, Trunk
from sb3_hyper.policies import HyperActorCriticPolicy
from sb3_hyper.policies.agent import Agent

Network = Literal["actor", "critic"]

NETWORKS: tuple[Network, ...] = get_args(Network)


def check_networks(networks: Sequence[Network]) -> None:
    """Raise ValueError unless these are names of base networks, one at least."""
    if isinstance(networks, str) or not networks:
        raise ValueError(f"networks={networks!r}: wanted one or both of {NETWORKS}, for example networks=('actor',).")
    for network in networks:
        if network not in NETWORKS:
            raise unknown_name("network", network, NETWORKS)


def trunk_of(agent: Agent, network: Network) -> Trunk:
    """
    The trunk that a base network gets its factors from.

    :param agent: the agent
    :param network: "actor" or "critic"
    :return: the critic's own trunk, where it has one; else the trunk that both share
    """
    return agent.trunk if network == "actor" or agent.critic_trunk is None else agent.critic_trunk


def generates_nothing(policy: HyperActorCriticPolicy) -> ValueError:
    """
    The error for a policy whose base networks are conditioned by their input alone; the caller raises it.

    :param policy: the policy
    :return: an error that says what to do
    """
    return ValueError(
        f"{type(policy).__name__} with conditioning={policy.agent.conditioning!r} generates no weights. Analyse "
        'one with conditioning="hypernetwork" or "film", such as RNNHNPolicy.'
    )


def heads_of(layer: nn.Module) -> list[th.Tensor]:
    """
    What turns factors into a layer's parameters.

    :param layer: a layer of a base network
    :return: matrices ``(K + 1, entries)``: weights and biases, or scales and shifts; none for a plain layer
    """
    if isinstance(layer, GeneratedLinear):
        # (inputs, K + 1, outputs) -> (K + 1, inputs * outputs)
        return [layer.weight.transpose(0, 1).flatten(1), layer.bias]
    if isinstance(layer, FiLMLinear):
        return [layer.scale, layer.shift]
    return []
