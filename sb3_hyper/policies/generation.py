"""When the latent that conditions the base networks is renewed."""

from collections.abc import Mapping
from typing import Literal

import torch as th

from sb3_hyper.policies.features import Observation

Generation = Literal["step", "episode", "trial"]

GENERATIONS: tuple[Generation, ...] = ("step", "episode", "trial")
"""At every step, at the first step of each episode, or of each trial alone."""


def hold(latents: th.Tensor, held: th.Tensor, renew: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
    """
    Sample and hold: y_t = z_t where it is renewed, else y_{t-1}.

    :param latents: ``(T, B, D)`` z
    :param held: ``(B, D)`` y before the first step
    :param renew: ``(T, B)`` bool
    :return: y ``(T, B, D)``, and the last of it ``(B, D)``
    """
    steps = th.arange(1, len(latents) + 1, device=renew.device)[:, None]
    # The last step so far that renewed, counted from 1; 0 is what was held before.
    source = th.where(renew, steps, 0).cummax(dim=0).values
    candidates = th.cat((held[None], latents))
    kept = candidates.gather(0, source[..., None].expand_as(latents))
    return kept, kept[-1]


def renewals(generation: Generation, obs: Observation, resets: th.Tensor) -> th.Tensor:
    """
    Where the latent is renewed.

    :param generation: "episode" or "trial"
    :param obs: T * B observations, time-major; a trial's, where episodes count
    :param resets: ``(T, B)`` bool, whether a trial starts
    :return: ``(T, B)`` bool
    """
    if generation == "trial" or not isinstance(obs, Mapping):
        return resets
    return resets | (obs["new_episode"].reshape(resets.shape) > 0)
