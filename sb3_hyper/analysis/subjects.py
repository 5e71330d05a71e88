"""What is analysed: a sequence encoder with the linear layer behind it, of a policy or of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule
from torch import nn

from sb3_hyper.analysis.result import check_counts
from sb3_hyper.analysis.seeding import seeded
from sb3_hyper.encoders import SequenceEncoder
from sb3_hyper.policies import POLICIES, HyperActorCriticPolicy


class Widths(NamedTuple):
    """
    Widths of untrained networks; the defaults are those of Beck et al. 2024 (SplAgger), appendix.

    :param input_dim: width of a transition's features (embeddings of state 32, action 8, reward 8, previous state 32)
    :param encoder_dim: width of an encoding
    :param latent_dim: width of the latent
    """

    input_dim: int = 80
    encoder_dim: int = 256
    latent_dim: int = 24


PAPER_WIDTHS = Widths()

SPACES_OF_ONE = spaces.Box(-1.0, 1.0, (1,), np.float32), spaces.Discrete(2)
"""Observation and action space of policies whose observations do not matter."""


class LatentEncoder(nn.Module):
    """
    From sequences of transition features to sequences of latents, each sequence being a trial from its start.

    :param encoder: the sequence encoder
    :param to_latent: the linear layer from an encoding to the latent; ``nn.Identity()`` to look at encodings
    """

    def __init__(self, encoder: SequenceEncoder, to_latent: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.to_latent = to_latent

    @property
    def input_dim(self) -> int:
        """Width of a transition's features."""
        return self.encoder.input_dim

    @property
    def device(self) -> th.device:
        """Where the parameters are."""
        return next((parameter.device for parameter in self.parameters()), th.device("cpu"))

    def forward(self, x: th.Tensor) -> th.Tensor:
        """``(T, B, input_dim) -> (T, B, latent_dim)``."""
        resets = th.zeros(x.shape[:2], dtype=th.bool, device=x.device)
        resets[0] = True
        encodings, _ = self.encoder(x, self.encoder.initial_state(x.shape[1], x.device), resets)
        latents: th.Tensor = self.to_latent(encodings)
        return latents


@dataclass(frozen=True)
class Subject:
    """
    A network under a name, drawn anew for each seed where it is untrained.

    :param name: what results are called
    :param make: from a seed to the network
    """

    name: str
    make: Callable[[int], LatentEncoder]

    def draw(self, seed: int) -> LatentEncoder:
        """
        Build the network; the caller's random numbers go on as if nothing had happened.

        :param seed: seed of its initialisation
        :return: the network
        """
        with seeded(seed):
            return self.make(seed)


def uniform_inputs(seed: int, length: int, input_dim: int) -> th.Tensor:
    """
    Features of a trial's transitions, independent and uniform on (-1, 1).

    :param seed: the same seed gives the same inputs, whatever network they are for
    :param length: T
    :param input_dim: D
    :return: ``(T, 1, D)``
    """
    generator = th.Generator().manual_seed(seed)
    return th.rand(length, 1, input_dim, generator=generator) * 2 - 1


def of_policy(policy: HyperActorCriticPolicy, name: str | None = None) -> Subject:
    """
    Analyse a policy as it is, trained or not; its parameters are shared, not copied.

    :param policy: the policy
    :param name: what results are called; None: its class's name
    :return: the subject; every seed gives the same network
    :raises TypeError: when it is no policy of this package
    :raises ValueError: when it is told the task
    """
    if not isinstance(policy, HyperActorCriticPolicy):
        raise TypeError(
            f"Got the policy {type(policy).__name__}, wanted a HyperActorCriticPolicy ({', '.join(POLICIES)}): others "
            "have no sequence encoder that could be taken out."
        )
    if policy.settings.encoder_input == "task":
        raise _reads_no_transitions(type(policy).__name__)
    network = LatentEncoder(policy.agent.encoder, policy.agent.to_latent)
    return Subject(name or type(policy).__name__, lambda seed: network)


def _reads_no_transitions(name: str) -> ValueError:
    return ValueError(
        f"{name} reads the task itself, not transitions: there is no sequence in which a gradient could fade or an "
        "order matter. Choose a policy that sees transitions, RNNHNPolicy for example."
    )


def of_policy_class(
    policy_class: type[HyperActorCriticPolicy], widths: Widths = PAPER_WIDTHS, **policy_kwargs: Any
) -> Subject:
    """
    Analyse the untrained encoder of a kind of policy.

    :param policy_class: the policy's class
    :param widths: its widths
    :param policy_kwargs: other keyword arguments of the policy
    :return: the subject
    :raises ValueError: when a width is less than 1, or the policy is told the task
    """
    check_counts(**widths._asdict())
    if is_told_the_task(policy_class):
        raise _reads_no_transitions(policy_class.__name__)
    # A plain observation's features are one embedding: its width is the encoder's input width. When the latent is
    # renewed does not change it.
    dims = {"state_embedding_dim": widths.input_dim, **widths._asdict(), "generation": "step", **policy_kwargs}
    del dims["input_dim"]

    def make(seed: int) -> LatentEncoder:
        policy = policy_class(*SPACES_OF_ONE, ConstantSchedule(0.0), **{"size": "XS", **dims})
        return of_policy(policy).make(seed)

    return Subject(policy_class.__name__, make)


def is_told_the_task(policy_class: type[HyperActorCriticPolicy]) -> bool:
    """
    Say whether a policy's encoder reads the task by default.

    :param policy_class: the policy's class
    :return: what its preset, or else that of the nearest parent that says anything, has for ``encoder_input``
    """
    presets = (vars(parent).get("preset", {}) for parent in policy_class.__mro__)
    return next((preset["encoder_input"] for preset in presets if "encoder_input" in preset), None) == "task"


def of_encoder_class(
    encoder_class: Callable[[int, int], SequenceEncoder], widths: Widths = PAPER_WIDTHS, name: str | None = None
) -> Subject:
    """
    Analyse an untrained encoder of your own, followed by a linear layer to the latent (torch's default initialisation).

    :param encoder_class: called with input and output width; one that wants other things is refused when it is drawn
    :param widths: the widths
    :param name: what results are called; None: the class's name
    :return: the subject
    :raises ValueError: when a width is less than 1
    """
    check_counts(**widths._asdict())
    name = name or str(getattr(encoder_class, "__name__", encoder_class))

    def make(seed: int) -> LatentEncoder:
        try:
            encoder = encoder_class(widths.input_dim, widths.encoder_dim)
        except (TypeError, AttributeError) as error:
            raise TypeError(
                f"{name}({widths.input_dim}, {widths.encoder_dim}) failed: {error}. Wanted an encoder class that is "
                "built from input and output width, like those in ENCODERS; where yours needs more, write a class that "
                "adds it."
            ) from error
        return LatentEncoder(encoder, nn.Linear(encoder.output_dim, widths.latent_dim))

    return Subject(name, make)
