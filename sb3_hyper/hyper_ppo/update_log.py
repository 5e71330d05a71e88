"""What an update's losses are logged as: RecurrentPPO's keys and means."""

from collections.abc import Sequence

import torch as th

from sb3_hyper.hyper_ppo.losses import Losses, LossWeights


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
