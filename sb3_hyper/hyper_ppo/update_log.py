"""What an update's losses are logged as: RecurrentPPO's keys and means."""

from collections.abc import Sequence

import torch as th

from sb3_hyper.hyper_ppo.losses import Losses


def update_log(history: Sequence[Losses], n_last_epoch: int, ent_coef: float, vf_coef: float) -> dict[str, float]:
    """
    Logger keys of an update; the losses come to the host here, once.

    :param history: losses of all minibatches
    :param n_last_epoch: how many of them belong to the last epoch, which the logged KL divergence is of
    :param ent_coef: weight of the entropy
    :param vf_coef: weight of the value loss
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
        "train/loss": last.policy + ent_coef * last.entropy + vf_coef * last.value,
    }
    return {key: value.item() for key, value in values.items()}
