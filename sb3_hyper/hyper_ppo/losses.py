"""PPO's losses on a minibatch of sequences (Schulman et al. 2017), with the papers' value loss."""

from typing import Literal, NamedTuple

import torch as th
from torch.nn import functional as F

ValueLoss = Literal["huber", "mse"]


class Losses(NamedTuple):
    """
    The parts of PPO's objective, and how far the policy has moved.

    :param policy: clipped surrogate loss
    :param approx_kl: mean of (r - 1) - log r, r the probability ratio (Schulman 2020)
    :param clip_fraction: share of ratios outside the clip range
    :param value: value loss
    :param entropy: negative mean entropy
    """

    policy: th.Tensor
    approx_kl: th.Tensor
    clip_fraction: th.Tensor
    value: th.Tensor
    entropy: th.Tensor


def policy_loss(
    log_prob: th.Tensor, old_log_prob: th.Tensor, advantages: th.Tensor, clip_range: float
) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
    """
    PPO's clipped surrogate loss, -mean min(r A, clip(r, 1 - c, 1 + c) A).

    :param log_prob: ``(N,)`` log-probabilities under the present policy
    :param old_log_prob: ``(N,)`` log-probabilities when the actions were taken
    :param advantages: ``(N,)``
    :param clip_range: c
    :return: the loss, the approximate KL divergence and the clip fraction
    """
    log_ratio = log_prob - old_log_prob
    ratio = log_ratio.exp()
    loss = -th.min(advantages * ratio, advantages * ratio.clamp(1 - clip_range, 1 + clip_range)).mean()
    with th.no_grad():
        approx_kl = (ratio - 1 - log_ratio).mean()
        clip_fraction = ((ratio - 1).abs() > clip_range).float().mean()
    return loss, approx_kl, clip_fraction


def value_loss(
    kind: ValueLoss, values: th.Tensor, old_values: th.Tensor, returns: th.Tensor, clip_range: float | None
) -> th.Tensor:
    """
    How far the values are from the returns.

    ``"mse"`` is RecurrentPPO's: the squared error of the clipped values. ``"huber"`` is the papers': the larger one of
    the Huber losses of clipped and unclipped values.

    :param kind: "huber" or "mse"
    :param values: ``(N,)``
    :param old_values: ``(N,)`` values when the actions were taken
    :param returns: ``(N,)`` targets
    :param clip_range: how far values may move from the old ones; None: anywhere
    :return: the mean loss
    """
    if clip_range is None:
        return F.huber_loss(values, returns) if kind == "huber" else F.mse_loss(values, returns)
    clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
    if kind == "mse":
        return F.mse_loss(clipped, returns)
    losses = th.max(F.huber_loss(values, returns, reduction="none"), F.huber_loss(clipped, returns, reduction="none"))
    return losses.mean()
