"""What is analysed: a sequence encoder with the linear layer behind it, found by name, class, policy or saved model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule
from torch import nn

from sb3_hyper.encoders import ENCODERS, SequenceEncoder, make_encoder
from sb3_hyper.errors import unknown_name
from sb3_hyper.policies import POLICIES, HyperActorCriticPolicy
from sb3_hyper.saved_runs import load_model


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
        with th.random.fork_rng([]):
            th.manual_seed(seed)
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
    """
    if not isinstance(policy, HyperActorCriticPolicy):
        raise TypeError(
            f"Got the policy {type(policy).__name__}, wanted a HyperActorCriticPolicy ({', '.join(POLICIES)}): others "
            "have no sequence encoder that could be taken out."
        )
    network = LatentEncoder(policy.agent.encoder, policy.agent.to_latent)
    return Subject(name or type(policy).__name__, lambda seed: network)


def of_policy_class(
    policy_class: type[HyperActorCriticPolicy], widths: Widths = PAPER_WIDTHS, **policy_kwargs: Any
) -> Subject:
    """
    Analyse the untrained encoder of a kind of policy.

    :param policy_class: the policy's class
    :param widths: its widths
    :param policy_kwargs: other keyword arguments of the policy
    :return: the subject
    """
    # A plain observation's features are one embedding: its width is the encoder's input width.
    dims = {"state_embedding_dim": widths.input_dim, **widths._asdict(), **policy_kwargs}
    del dims["input_dim"]
    spaces_of_one = spaces.Box(-1.0, 1.0, (1,), np.float32), spaces.Discrete(2)

    def make(seed: int) -> LatentEncoder:
        policy = policy_class(*spaces_of_one, ConstantSchedule(0.0), **{"size": "XS", **dims})
        return of_policy(policy).make(seed)

    return Subject(policy_class.__name__, make)


def of_encoder_class(
    encoder_class: Callable[[int, int], SequenceEncoder], widths: Widths = PAPER_WIDTHS, name: str | None = None
) -> Subject:
    """
    Analyse an untrained encoder of your own, followed by a linear layer to the latent (torch's default initialisation).

    :param encoder_class: called with input and output width
    :param widths: the widths
    :param name: what results are called; None: the class's name
    :return: the subject
    """

    def make(seed: int) -> LatentEncoder:
        encoder = encoder_class(widths.input_dim, widths.encoder_dim)
        return LatentEncoder(encoder, nn.Linear(encoder.output_dim, widths.latent_dim))

    return Subject(name or str(getattr(encoder_class, "__name__", encoder_class)), make)


def find_subject(text: str, widths: Widths = PAPER_WIDTHS, algo: str = "hyper_ppo") -> Subject:
    """
    Find what the command line names.

    :param text: a policy's name, an encoder's name in ``ENCODERS``, the path of a saved model (``.zip``), or
        ``module:Class`` of a policy or a sequence encoder
    :param widths: widths of untrained networks
    :param algo: algorithm of saved models
    :return: the subject
    :raises ValueError: when the name is unknown or the model cannot be read
    :raises TypeError: when the class is neither policy nor encoder
    :raises OSError: when there is no such file
    :raises ImportError: when there is no such module
    """
    if text in POLICIES:
        return of_policy_class(POLICIES[text], widths)
    if text in ENCODERS:
        return of_encoder_class(lambda inputs, outputs: make_encoder(text, inputs, outputs), widths, text)
    if text.endswith(".zip"):
        return _of_model(text, algo)
    module, colon, name = text.partition(":")
    if not colon:
        error = unknown_name("policy or encoder", text, [*POLICIES, *ENCODERS])
        raise ValueError(f"{error} A class of your own is module:Class, a saved model ends in .zip.")
    return _of_class(getattr(importlib.import_module(module), name, None), text, widths)


def _of_model(text: str, algo: str) -> Subject:
    policy = load_model(algo, Path(text), "cpu").policy
    return of_policy(policy, f"{Path(text).stem}, {type(policy).__name__}")  # type: ignore[arg-type]


def _of_class(found: object, text: str, widths: Widths) -> Subject:
    if isinstance(found, type) and issubclass(found, HyperActorCriticPolicy):
        return of_policy_class(found, widths)
    if isinstance(found, type) and issubclass(found, SequenceEncoder):
        return of_encoder_class(found, widths)
    raise TypeError(
        f"{text} is {found!r}: wanted a class, a HyperActorCriticPolicy or a SequenceEncoder whose constructor takes "
        "input and output width. Look for a slip in the name after the colon."
    )
