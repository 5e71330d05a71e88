"""When the latent that conditions the base networks is renewed."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch as th

from sb3_hyper.policies.features import Observation, episode_begins

Generation = Literal["step", "episode", "trial"]

GENERATIONS: tuple[Generation, ...] = get_args(Generation)
"""At every step, at the first step of each episode, or of each trial alone."""


def hold(latents: th.Tensor, held: th.Tensor, renew: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
    """
    Sample and hold: y_t = z_t where it is renewed, else y_{t-1}.

    What is held is a latent and a last entry of 1, so that zeros mean, as everywhere, that no trial has begun: then the
    first latent is taken, whatever ``renew`` says.

    :param latents: ``(T, B, D)`` z
    :param held: ``(B, D + 1)`` what was held before the first step
    :param renew: ``(T, B)`` bool
    :return: y ``(T, B, D)``, and what is held after the last step ``(B, D + 1)``
    """
    is_empty = held[:, -1] == 0
    renew = th.cat((renew[:1] | is_empty, renew[1:]))
    steps = th.arange(1, len(latents) + 1, device=renew.device)[:, None]
    # The last step so far that renewed, counted from 1; 0 is what was held before.
    source = th.where(renew, steps, 0).cummax(dim=0).values
    candidates = th.cat((held[None, :, :-1], latents))
    kept = candidates.gather(0, source[..., None].expand_as(latents))
    return kept, th.cat((kept[-1], th.ones_like(held[:, :1])), dim=-1)


def renewals(generation: Generation, obs: Observation, resets: th.Tensor) -> th.Tensor:
    """
    Where the latent is renewed.

    :param generation: "episode" or "trial"
    :param obs: T * B observations, time-major; a trial's, where episodes count
    :param resets: ``(T, B)`` bool, whether a trial starts
    :return: ``(T, B)`` bool
    """
    if generation == "trial":
        return resets
    assert isinstance(obs, Mapping)
    return resets | episode_begins(obs, resets.shape)
