"""Elementwise recurrences over time, each with its exact gradient, as one operation: what the fast scan is made of."""

from itertools import pairwise
from math import isqrt
from typing import Any

import torch as th

_Gradients = tuple[th.Tensor, th.Tensor, None, None]


def _block_length(n_steps: int) -> int:
    """
    A divisor of ``n_steps`` near its square root (1 for a prime: then there is one step to a block and nothing is
    gained).
    """
    return max(length for length in range(1, isqrt(n_steps) + 1) if n_steps % length == 0)


def _linear_recurrence(x: th.Tensor, keep: th.Tensor, initial: th.Tensor, backwards: bool = False) -> th.Tensor:
    """
    s_t = keep_t s_{t-1} + x_t (s_{t+1} when ``backwards`` in time).

    It takes about 2 sqrt(T) operations where T has a divisor near its root.

    Blocks of time run side by side from 0, then the blocks' ends one after the other, then every step receives its
    block's start.

    :param x: ``(T, B, S)``
    :param keep: ``(T, B, S)`` or ``(T, B, 1)``
    :param initial: ``(B, S)``
    :param backwards: whether time runs from T - 1 to 0
    :return: ``(T, B, S)``
    """
    # (T, B, S) -> (block, step, B, S)
    split = (-1, _block_length(len(x)))
    x, keep = th.unflatten(x, 0, split), th.unflatten(keep, 0, split)
    direction = -1 if backwards else 1
    blocks, steps = range(len(x))[::direction], range(x.shape[1])[::direction]
    states, carry = th.empty_like(x), th.empty_like(keep)
    states[:, steps[0]] = x[:, steps[0]]
    carry[:, steps[0]] = keep[:, steps[0]]
    for before, now in pairwise(steps):
        th.addcmul(x[:, now], keep[:, now], states[:, before], out=states[:, now])
        th.mul(keep[:, now], carry[:, before], out=carry[:, now])
    start = th.empty_like(x[:, 0])
    start[blocks[0]] = initial
    for before, now in pairwise(blocks):
        th.addcmul(states[before, steps[-1]], carry[before, steps[-1]], start[before], out=start[now])
    return states.addcmul_(carry, start[:, None]).flatten(0, 1)


def _gradient(grad: th.Tensor, keep: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
    """
    The gradients of a linear recurrence for x, g_t = grad_t + keep_{t+1} g_{t+1}, and for the initial state, keep_0
    g_0.
    """
    next_keep = th.cat((keep[1:], th.zeros_like(keep[:1])))
    gradient = _linear_recurrence(grad, next_keep, th.zeros_like(grad[0]), backwards=True)
    return gradient, keep[0] * gradient[0]


def _maximum_recurrence(x: th.Tensor, resets: th.Tensor, initial: th.Tensor, start: float) -> th.Tensor:
    """
    m_t = max(m_{t-1} or ``start`` after a reset, x_t), in blocks as in :func:`_linear_recurrence`.

    Resets are few: everything is computed as if there were none, and their rows are then put right.
    """
    # (T, B, S) -> (block, step, B, S)
    split = (-1, _block_length(len(x)))
    states, resets = th.unflatten(x.clone(), 0, split), th.unflatten(resets, 0, split)
    reset_in_step, carries = resets.any(dim=2).any(dim=0).tolist(), resets.cumsum(dim=1) == 0
    for j in range(states.shape[1]):
        now = states[:, j]
        after_reset = now[resets[:, j]].clamp(min=start) if reset_in_step[j] else None
        if j:
            th.maximum(now, states[:, j - 1], out=now)
        if after_reset is not None:
            now[resets[:, j]] = after_reset
    starts = [initial]
    for k in range(len(states) - 1):
        end = states[k, -1]
        starts.append(th.where(carries[k, -1, :, None], th.maximum(end, starts[-1]), end))
    not_carried = (~carries).nonzero(as_tuple=True)
    right = states[not_carried]
    th.maximum(states, th.stack(starts)[:, None], out=states)
    states[not_carried] = right
    return states.flatten(0, 1)


class _RunningSum(th.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: th.Tensor, initial: th.Tensor, resets: th.Tensor, decay: th.Tensor | None) -> th.Tensor:
        keep = (~resets)[..., None].to(x.dtype)
        keep = keep if decay is None else keep * decay
        ctx.save_for_backward(keep)
        return _linear_recurrence(x, keep, initial)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: th.Tensor) -> _Gradients:
        (keep,) = ctx.saved_tensors
        return *_gradient(grad_outputs[0], keep), None, None


class _RunningMax(th.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: th.Tensor, initial: th.Tensor, resets: th.Tensor, start: float) -> th.Tensor:
        output = _maximum_recurrence(x, resets, initial, start)
        # 1 where the maximum is older than x, 0 where it is x. Boolean masks would be several times slower.
        ctx.save_for_backward((output - x).sign_(), resets)
        return output

    @staticmethod
    def backward(ctx: Any, *grad_outputs: th.Tensor) -> _Gradients:
        is_old, resets = ctx.saved_tensors
        keep = is_old.index_put(resets.nonzero(as_tuple=True), is_old.new_zeros(()))
        grad, initial_grad = _gradient(grad_outputs[0], keep)
        return grad.addcmul_(grad, is_old, value=-1.0), initial_grad, None, None


def running_sum(x: th.Tensor, initial: th.Tensor, resets: th.Tensor, decay: th.Tensor | None = None) -> th.Tensor:
    """
    s_t = decay_t s_{t-1} + x_t, with s_{t-1} = 0 where a trial starts; no gradient flows to ``decay``.

    :param x: ``(T, B, S)``
    :param initial: ``(B, S)`` the state before the first step
    :param resets: ``(T, B)`` bool
    :param decay: ``(T, B, S)``; 1 if None
    :return: ``(T, B, S)``
    """
    result: th.Tensor = _RunningSum.apply(x, initial, resets, decay)  # type: ignore[no-untyped-call]
    return result


def running_max(x: th.Tensor, initial: th.Tensor, resets: th.Tensor, start: float = 0.0) -> th.Tensor:
    """
    m_t = max(m_{t-1}, x_t), with m_{t-1} = ``start`` where a trial starts; on a tie the gradient goes to x_t.

    :param x: ``(T, B, S)``
    :param initial: ``(B, S)`` the state before the first step
    :param resets: ``(T, B)`` bool
    :param start: the state of an empty trial
    :return: ``(T, B, S)``
    """
    result: th.Tensor = _RunningMax.apply(x, initial, resets, start)  # type: ignore[no-untyped-call]
    return result


def running_softmax(x: th.Tensor, initial: th.Tensor, resets: th.Tensor) -> th.Tensor:
    """
    The log-space states of a softmax over time: (m, sum e^{l - m}, sum v e^{l - m}), m the largest l so far.

    The sums' ratio does not depend on m, so m enters as a constant, which leaves one linear recurrence to
    differentiate.

    :param x: ``(T, B, 3 S)`` lifted transitions (l, 1, v)
    :param initial: ``(B, 3 S)`` the state before the first step; a sum of 0 marks the empty trial
    :param resets: ``(T, B)`` bool
    :return: ``(T, B, 3 S)``
    """
    logit, _, value = x.chunk(3, dim=-1)
    initial_max, initial_sum, initial_weighted = initial.chunk(3, dim=-1)
    empty = initial_sum <= 0
    with th.no_grad():
        start = th.where(empty, -th.inf, initial_max)
        largest = running_max(logit.detach(), start, resets, start=-th.inf)
        # Within a trial the exponents are <= 0; where a trial starts they could overflow, and are not used.
        decay = (th.cat((largest[:1], largest[:-1])) - largest).clamp(max=0.0).exp()
    weight = (logit - largest).exp()
    scale = th.where(empty, 0.0, initial_max - largest[0]).clamp(max=0.0).exp()
    sums = running_sum(
        th.cat((weight, weight * value), dim=-1),
        th.cat((initial_sum * scale, initial_weighted * scale), dim=-1),
        resets,
        th.cat((decay, decay), dim=-1),
    )
    return th.cat((largest, sums), dim=-1)
