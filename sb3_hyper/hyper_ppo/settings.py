"""Checks of HyperPPO's settings, before any step is taken."""

from typing import get_args

from sb3_hyper.errors import unknown_name
from sb3_hyper.hyper_ppo.losses import ValueLoss


def check_value_loss(kind: str) -> None:
    """Raise ValueError unless ``kind`` is a value loss."""
    if kind not in get_args(ValueLoss):
        raise unknown_name("value loss", kind, get_args(ValueLoss))


def wanted_length(n_steps: int, batch_size: int, bptt_length: int | None) -> int:
    """``bptt_length``; if that is None, ``n_steps``, or ``batch_size`` where that is smaller."""
    return min(n_steps, batch_size) if bptt_length is None else bptt_length


def sequence_length(n_steps: int, n_envs: int, batch_size: int, bptt_length: int | None) -> int:
    """
    Length of the sequences that minibatches are made of.

    :param n_steps: steps of a rollout
    :param n_envs: number of environments
    :param batch_size: rows of a minibatch
    :param bptt_length: what the user asked for; None: ``n_steps``, or ``batch_size`` where that is smaller
    :return: the length
    :raises ValueError: unless sequences tile the rollout, and minibatches are whole sequences that tile it too
    """
    length = wanted_length(n_steps, batch_size, bptt_length)
    rollout = n_steps * n_envs
    got = f"n_steps={n_steps}, n_envs={n_envs}, batch_size={batch_size}, bptt_length={bptt_length}"
    if length < 1 or n_steps % length:
        fitting = max(d for d in range(1, n_steps + 1) if n_steps % d == 0 and d <= max(length, 1))
        name = "batch_size" if bptt_length is None else "bptt_length"
        raise ValueError(
            f"Sequences of length {length} do not tile a rollout ({got}). Choose batch_size={n_steps} (it is 128 by "
            f"default) or another multiple of n_steps that divides {rollout}, to train on whole sequences; or a {name} "
            f"that divides n_steps, for example {fitting}, to cut them."
        )
    if batch_size % length or rollout % batch_size:
        sizes = [length * k for k in range(1, rollout // length + 1) if (rollout // length) % k == 0]
        nearest = min(sizes, key=lambda size: abs(size - batch_size))
        raise ValueError(
            f"Minibatches of {batch_size} steps do not tile a rollout of {rollout} in sequences of {length} ({got}). "
            f"Use batch_size={nearest}, or another multiple of {length} that divides {rollout}. "
            "Both n_steps and batch_size are 128 by default: whoever sets one has to set the other."
        )
    return length
