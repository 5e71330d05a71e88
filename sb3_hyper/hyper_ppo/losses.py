"""PPO's losses on a minibatch of sequences (Schulman et al. 2017), with the papers' value loss."""

from typing import Literal, NamedTuple

import torch as th
from torch.nn import functional as F

from sb3_hyper.hyper_ppo.rollout_buffer import SequenceMinibatch
from sb3_hyper.policies import Evaluation

ValueLoss = Literal["huber", "mse"]


class Losses(NamedTuple):
    """
    The parts of PPO's objective, and how far the policy has moved.

    :param policy: clipped surrogate loss
    :param approx_kl: mean of (r - 1) - log r, r the probability ratio (Schulman 2020)
    :param clip_fraction: share of ratios outside the clip range
    :param value: value loss
    :param entropy: negative mean entropy
    :param latent_kl: mean divergence of the latent's distribution from its prior; 0 where it has none
    """

    policy: th.Tensor
    approx_kl: th.Tensor
    clip_fraction: th.Tensor
    value: th.Tensor
    entropy: th.Tensor
    latent_kl: th.Tensor

    def total(self, weights: "LossWeights") -> th.Tensor:
        """The objective: policy + ent_coef entropy + vf_coef value + latent_kl_coef latent_kl."""
        total = self.policy + weights.ent_coef * self.entropy + weights.vf_coef * self.value
        # Switched off it shall be off, even where the divergence has grown to infinity.
        return total + weights.latent_kl_coef * self.latent_kl if weights.latent_kl_coef else total


class LossWeights(NamedTuple):
    """HyperPPO's arguments of these names."""

    ent_coef: float
    vf_coef: float
    latent_kl_coef: float


def ppo_losses(
    evaluation: Evaluation,
    minibatch: SequenceMinibatch,
    normalize_advantage: bool,
    kind: ValueLoss,
    clip_range: float,
    clip_range_vf: float | None,
) -> Losses:
    """
    All losses of a minibatch.

    :param evaluation: what the present policy says of the minibatch
    :param minibatch: what was seen and done
    :param normalize_advantage: whether advantages are brought to mean 0 and standard deviation 1
    :param kind: "huber" or "mse"
    :param clip_range: clip range of the probability ratio
    :param clip_range_vf: clip range of the values; None: no clipping
    :return: the losses
    """
    values, log_prob, entropy, latent_kl, _ = evaluation
    advantages = minibatch.advantages
    if normalize_advantage and len(advantages) > 1:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    return Losses(
        *policy_loss(log_prob, minibatch.old_log_prob, advantages, clip_range),
        value=value_loss(kind, values, minibatch.old_values, minibatch.returns, clip_range_vf),
        # Without a closed form -log p is an estimate of the entropy.
        entropy=-(-log_prob if entropy is None else entropy).mean(),
        latent_kl=values.new_zeros(()) if latent_kl is None else latent_kl.mean(),
    )


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
