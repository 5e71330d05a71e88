"""What a policy answers when it acts and when actions are evaluated."""

from typing import NamedTuple, Protocol

import torch as th

from sb3_hyper.policies.features import Observation


class ActingStep(Protocol):
    """One step of a policy that was prepared for acting."""

    def __call__(
        self, obs: Observation, memory: th.Tensor, episode_starts: th.Tensor, noise: th.Tensor | None = None
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor, th.Tensor]:
        """
        From B observations, memory, whether a trial starts, and the latent's noise to actions, values, log-
        probabilities and the next memory.
        """
        ...


class Evaluation(NamedTuple):
    """
    What a policy says of actions along sequences.

    :param values: ``(T * B,)``
    :param log_prob: ``(T * B,)``
    :param entropy: ``(T * B,)``; None where it has no closed form
    :param latent_kl: ``(T * B,)`` divergence of the latent's distribution from its prior; None where it has none
    """

    values: th.Tensor
    log_prob: th.Tensor
    entropy: th.Tensor | None
    latent_kl: th.Tensor | None
