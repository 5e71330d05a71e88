"""What a causal Transformer remembers of a trial: the latest transitions' keys and values, and how many there were."""

import torch as th

BROKEN = 2**30
"""What a memory has as the number of a trial's transitions once one of them was not finite."""


def steps_in_trial(count: th.Tensor, resets: th.Tensor) -> th.Tensor:
    """
    How many transitions of its own trial come before each transition.

    :param count: ``(B,)`` transitions of the trial that is going on, before the first step
    :param resets: ``(T, B)`` bool, whether a trial starts at this step
    :return: ``(T, B)`` integers, 0 where a trial starts
    """
    time = th.arange(len(resets), device=resets.device)[:, None]
    # The trial that is going on began ``count`` steps before step 0.
    return time - th.where(resets, time, -count).cummax(dim=0).values


def broken_steps(is_finite: th.Tensor, position: th.Tensor) -> th.Tensor:
    """
    Which transitions are not finite, or come after one of their own trial that was not.

    :param is_finite: ``(T, B)`` bool, whether all numbers of a transition are finite
    :param position: ``(T, B)`` from :func:`steps_in_trial`; of a trial that was broken before, ``BROKEN`` or more
    :return: ``(T, B)`` bool
    """
    # Without any, the last one lies further back than a trial that is whole can reach, and nearer than a broken one's.
    long_ago = position.new_full(position.shape[1:], BROKEN // 2)
    return steps_in_trial(long_ago, ~is_finite) <= position


def window_mask(position: th.Tensor, context_length: int) -> th.Tensor:
    """
    Which keys a transition attends to: those of the last ``context_length`` transitions, itself among them, that
    belong to its own trial.

    :param position: ``(T, B)`` from :func:`steps_in_trial`
    :param context_length: most transitions that are attended to
    :return: ``(B, T, context_length - 1 + T)`` bool, over the keys of the ``context_length - 1`` transitions before
        step 0 and of the T transitions from there on, oldest first
    """
    n_before = context_length - 1
    time = th.arange(-n_before, len(position), device=position.device)
    age = time[n_before:, None] - time
    # (T, S) against (B, T, 1) -> (B, T, S)
    return (age >= 0) & (age <= position.mT[..., None].clamp(max=n_before))


def sinusoidal_encoding(position: th.Tensor, token_dim: int, dtype: th.dtype) -> th.Tensor:
    """
    Sine and cosine of position / 10000^(2 i / token_dim) for i < token_dim / 2 (Vaswani et al. 2017, section 3.5), the
    sines first; it has no longest position.

    :param position: integers of any shape
    :param token_dim: even width
    :param dtype: of the result
    :return: ``(*position.shape, token_dim)``
    """
    exponent = th.arange(0, token_dim, 2, dtype=dtype, device=position.device) / token_dim
    angle = position[..., None] * 10000.0**-exponent
    return th.cat((angle.sin(), angle.cos()), dim=-1)
