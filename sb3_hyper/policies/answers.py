"""What a policy answers when it acts and when actions are evaluated."""

from typing import NamedTuple, Protocol

import torch as th

from sb3_hyper.policies.agent import BaseInput
from sb3_hyper.policies.features import Observation


class Acted(NamedTuple):
    """
    What a policy that was prepared for acting answers at one step of B environments.

    :param actions: ``(B, *action shape)``
    :param log_prob: ``(B,)``
    :param memory: ``(B, memory_dim)`` after the step
    :param critic_input: what the critic is asked with, when a value is wanted
    """

    actions: th.Tensor
    log_prob: th.Tensor
    memory: th.Tensor
    critic_input: BaseInput


class ActingStep(Protocol):
    """One step of a policy that was prepared for acting."""

    def __call__(
        self, obs: Observation, memory: th.Tensor, episode_starts: th.Tensor, noise: th.Tensor | None = None
    ) -> Acted:
        """From B observations, memory, whether a trial starts, and the latent's noise."""
        ...


class Evaluation(NamedTuple):
    """
    What a policy says of actions along sequences.

    :param values: ``(T * B,)``
    :param log_prob: ``(T * B,)``
    :param entropy: ``(T * B,)``; None where it has no closed form
    :param latent_kl: ``(T * B,)`` divergence of the latent's distribution from its prior; None where it has none, or
        an auxiliary objective alone trains it
    :param latents: ``(T * B, latent_dim)`` with the encoder's gradient, for auxiliary objectives
    """

    values: th.Tensor
    log_prob: th.Tensor
    entropy: th.Tensor | None
    latent_kl: th.Tensor | None
    latents: th.Tensor
