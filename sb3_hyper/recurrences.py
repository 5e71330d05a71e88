"""Elementwise recurrences over time, each with its exact gradient, as one operation: what the fast scan is made of."""

from cmath import isfinite
from collections.abc import Callable
from itertools import pairwise
from math import isqrt
from typing import Any, NamedTuple

import torch as th
from torch.autograd.function import once_differentiable

_Solver = Callable[[th.Tensor, th.Tensor, th.Tensor, th.Tensor, bool], th.Tensor]
_Gradients = tuple[th.Tensor, th.Tensor | None, None, None]


def _block_length(n_steps: int) -> int:
    """
    A divisor of ``n_steps`` near its square root (1 for a prime: then there is one step to a block and nothing is
    gained).
    """
    if n_steps < 1:
        raise ValueError(f"A recurrence over T = {n_steps} steps, wanted at least one: (T, B, S) with T >= 1.")
    return max(length for length in range(1, isqrt(n_steps) + 1) if n_steps % length == 0)


def _solve_by_products(
    x: th.Tensor, decay: th.Tensor, initial: th.Tensor, resets: th.Tensor, backwards: bool = False
) -> th.Tensor:
    """
    s_t = decay_t s_{t-1} + x_t, or x_t after a reset (s_{t+1} when ``backwards`` in time), for finite numbers.

    It takes about 2 sqrt(T) operations where T has a divisor near its root.

    Blocks of time run side by side from 0, then the blocks' ends one after the other, then every step receives its
    block's start. A reset is a product with 0, which what is not finite survives, from its step to the last one.

    :param x: ``(T, B, S)``
    :param decay: ``(T, B, S)``, or 1 in place of any of the three
    :param initial: ``(B, S)``
    :param resets: ``(T, B)`` bool
    :param backwards: whether time runs from T - 1 to 0
    :return: ``(T, B, S)``
    """
    # (T, B, S) -> (block, step, B, S)
    split = (-1, _block_length(len(x)))
    kept = th.unflatten((~resets)[..., None].to(x.dtype), 0, split)
    decay = th.unflatten(decay.expand(len(x), -1, -1), 0, split)
    x = th.unflatten(x, 0, split)
    direction = -1 if backwards else 1
    blocks, steps = range(len(x))[::direction], range(x.shape[1])[::direction]
    states, carry = th.empty_like(x), x.new_empty(*kept.shape[:3], decay.shape[3])
    states[:, steps[0]] = x[:, steps[0]]
    th.mul(decay[:, steps[0]], kept[:, steps[0]], out=carry[:, steps[0]])
    for before, now in pairwise(steps):
        keep = decay[:, now] * kept[:, now]
        th.addcmul(x[:, now], keep, states[:, before], out=states[:, now])
        th.mul(keep, carry[:, before], out=carry[:, now])
    start = th.empty_like(x[:, 0])
    start[blocks[0]] = initial
    for before, now in pairwise(blocks):
        th.addcmul(states[before, steps[-1]], carry[before, steps[-1]], start[before], out=start[now])
    return states.addcmul_(carry, start[:, None]).flatten(0, 1)


def _solve_in_blocks(
    x: th.Tensor, decay: th.Tensor, initial: th.Tensor, resets: th.Tensor, backwards: bool = False
) -> th.Tensor:
    """What :func:`_solve_by_products` computes, and for numbers that are not finite too: those take longer."""
    states = _solve_by_products(x, decay, initial, resets, backwards)
    last = states[0 if backwards else -1]
    if isfinite(last.sum().item()):
        return states
    return _solve_by_doubling(x, decay, initial, resets, backwards)


class Stretch(NamedTuple):
    """
    A stretch of time as a map of the state before it to the state after it: s -> decay s + offset, or s -> offset if a
    trial starts inside.
    """

    decay: th.Tensor
    offset: th.Tensor
    has_reset: th.Tensor

    def after(self, state: th.Tensor) -> th.Tensor:
        """The state after the stretch, from the state before it."""
        return th.where(self.has_reset, self.offset, th.addcmul(self.offset, self.decay, state))

    def every_second(self, start: int) -> "Stretch":
        """The stretches start, start + 2, … of the first axis."""
        return Stretch(*(tensor[start::2] for tensor in self))


def compose(first: Stretch, second: Stretch) -> Stretch:
    """
    Two stretches of time, one after the other: (a1, b1), (a2, b2) -> (a2 a1, a2 b1 + b2), lifted with reset flags.

    The operation is associative, so that a scan of it takes logarithmic depth, and not commutative.

    :param first: the earlier stretch
    :param second: the later one
    :return: both as one
    """
    return Stretch(second.decay * first.decay, second.after(first.offset), first.has_reset | second.has_reset)


def _solve_by_doubling(
    x: th.Tensor, decay: th.Tensor, initial: th.Tensor, resets: th.Tensor, backwards: bool = False
) -> th.Tensor:
    """What :func:`_solve_in_blocks` computes, in about 2 log2 T steps on tensors over time; the host is never asked."""
    if backwards:
        return _solve_by_doubling(x.flip(0), decay.flip(0), initial, resets.flip(0)).flip(0)
    return _states_after(Stretch(decay.expand(len(x), -1, -1), x, resets[..., None]), initial)


def _states_after(stretches: Stretch, initial: th.Tensor) -> th.Tensor:
    """The states after each of T stretches: join pairs of neighbours, solve for the pairs, fill in the even places."""
    n_pairs = len(stretches.offset) // 2
    if n_pairs == 0:
        return stretches.after(initial)
    even, odd = stretches.every_second(0), stretches.every_second(1)
    after_pairs = _states_after(compose(Stretch(*(tensor[:n_pairs] for tensor in even)), odd), initial)
    states = th.empty_like(stretches.offset)
    states[1::2] = after_pairs
    states[::2] = even.after(th.cat((initial[None], after_pairs))[: len(even.offset)])
    return states


def _adjoint(solve: _Solver, grad: th.Tensor, decay: th.Tensor, resets: th.Tensor) -> th.Tensor:
    """A linear recurrence's gradient for x: g_t = grad_t + conj(decay_{t+1}) g_{t+1}, without what a reset cuts off."""
    decay = decay.conj().resolve_conj()
    # The first decay, which rolls in behind the last step, has nothing to act on there.
    is_cut = th.cat((resets[1:], th.ones_like(resets[:1])))
    return solve(grad, decay.roll(-1, 0), th.zeros_like(grad[0]), is_cut, True)


def _for_initial(gradient: th.Tensor, decay: th.Tensor, resets: th.Tensor) -> th.Tensor:
    """A linear recurrence's gradient for the initial state, conj(decay_0) g_0, from :func:`_adjoint`'s for x."""
    return (decay[0].conj() * gradient[0]).masked_fill(resets[0, :, None], 0.0)


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


class _LinearRecurrence(th.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: th.Tensor, initial: th.Tensor, resets: th.Tensor, decay: th.Tensor, solve: _Solver
    ) -> th.Tensor:
        states = solve(x, decay, initial, resets, False)
        ctx.save_for_backward(decay, resets, *((initial, states) if ctx.needs_input_grad[3] else ()))
        ctx.solve = solve
        return states

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, *grad_outputs: th.Tensor
    ) -> tuple[th.Tensor, th.Tensor | None, None, th.Tensor | None, None]:
        decay, resets, *for_decay = ctx.saved_tensors
        gradient = _adjoint(ctx.solve, grad_outputs[0], decay, resets)
        initial_gradient = _for_initial(gradient, decay, resets) if ctx.needs_input_grad[1] else None
        decay_gradient = None
        if for_decay:
            initial, states = for_decay
            before = th.cat((initial[None], states[:-1]))
            decay_gradient = (gradient * before.conj()).masked_fill_(resets[..., None], 0.0).sum_to_size(decay.shape)
        return gradient, initial_gradient, None, decay_gradient, None


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
        grad = _adjoint(_solve_in_blocks, grad_outputs[0], is_old, resets)
        initial_grad = _for_initial(grad, is_old, resets) if ctx.needs_input_grad[1] else None
        return grad.addcmul_(grad, is_old, value=-1.0), initial_grad, None, None


def linear_recurrence(x: th.Tensor, initial: th.Tensor, resets: th.Tensor, decay: th.Tensor) -> th.Tensor:
    """
    s_t = decay_t s_{t-1} + x_t, with s_{t-1} = 0 where a trial starts; real or complex, with the gradient of all three.

    On a CPU blocks of time run side by side; elsewhere it is a scan of :func:`compose`, of logarithmic depth. A number
    that is not finite stays in its trial, and so do the gradients that it spoils, but for that of a decay which all
    trials have in common.

    :param x: ``(T, B, S)``
    :param initial: ``(B, S)`` the state before the first step
    :param resets: ``(T, B)`` bool
    :param decay: ``(T, B, S)``, or ``(S,)`` where it is constant over time; of x's dtype
    :return: ``(T, B, S)``
    """
    decay = decay[None, None] if decay.dim() == 1 else decay
    if len(x) == 1:
        return Stretch(decay, x, resets[..., None]).after(initial)
    solve = _solve_in_blocks if x.device.type == "cpu" else _solve_by_doubling
    result: th.Tensor = _LinearRecurrence.apply(x, initial, resets, decay, solve)  # type: ignore[no-untyped-call]
    return result


def running_sum(x: th.Tensor, initial: th.Tensor, resets: th.Tensor, decay: th.Tensor | None = None) -> th.Tensor:
    """
    s_t = s_{t-1} + x_t, with s_{t-1} = 0 where a trial starts: :func:`linear_recurrence` without decay.

    :param x: ``(T, B, S)``
    :param initial: ``(B, S)`` the state before the first step
    :param resets: ``(T, B)`` bool
    :param decay: 1 if None
    :return: ``(T, B, S)``
    """
    return linear_recurrence(x, initial, resets, x.new_ones(1) if decay is None else decay)


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
    scale = th.where(empty | resets[0, :, None], 0.0, initial_max - largest[0]).clamp(max=0.0).exp()
    sums = linear_recurrence(
        th.cat((weight, weight * value), dim=-1),
        th.cat((initial_sum * scale, initial_weighted * scale), dim=-1),
        resets,
        th.cat((decay, decay), dim=-1),
    )
    return th.cat((largest, sums), dim=-1)
