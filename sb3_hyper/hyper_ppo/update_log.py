"""What an update is logged as: RecurrentPPO's keys and means."""

from collections.abc import Sequence

import torch as th
from stable_baselines3.common.utils import explained_variance

from sb3_hyper.hyper_ppo.losses import Losses, LossWeights
from sb3_hyper.hyper_ppo.rollout_buffer import SequenceRolloutBuffer
from sb3_hyper.policies import HyperActorCriticPolicy


def update_log(history: Sequence[Losses], n_last_epoch: int, weights: LossWeights) -> dict[str, float]:
    """
    Logger keys of an update; the losses come to the host here, once.

    :param history: losses of all minibatches
    :param n_last_epoch: how many of them belong to the last epoch, which the logged KL divergence is of
    :param weights: weights of the losses
    :return: values by key
    """
    table = th.stack([th.stack(parts) for parts in history]).cpu()
    means, last = Losses(*table.mean(dim=0)), Losses(*table[-1])
    values = {
        "train/entropy_loss": means.entropy,
        "train/policy_gradient_loss": means.policy,
        "train/value_loss": means.value,
        "train/approx_kl": Losses(*table[-n_last_epoch:].mean(dim=0)).approx_kl,
        "train/clip_fraction": means.clip_fraction,
        "train/latent_kl": means.latent_kl,
        "train/loss": last.total(weights),
    }
    return {key: value.item() for key, value in values.items()}


def policy_log(policy: HyperActorCriticPolicy, buffer: SequenceRolloutBuffer) -> dict[str, float]:
    """
    Logger keys of the policy after an update.

    :param policy: the policy
    :param buffer: the rollout that it was updated from
    :return: values by key
    """
    values, returns = (tensor.flatten().cpu().numpy() for tensor in (buffer.values, buffer.returns))
    log = {"train/explained_variance": float(explained_variance(values, returns))}
    if hasattr(policy, "log_std"):
        log["train/std"] = policy.log_std.exp().mean().item()
    return log
