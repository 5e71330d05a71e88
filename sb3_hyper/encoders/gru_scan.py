"""
A gated recurrent unit over packed pieces on the CPU: the arithmetic of ``nn.GRU`` with one matrix product for each step
and direction.
"""

from collections.abc import Callable
from typing import Any

import torch as th
from torch.autograd.function import once_differentiable


class _GRUScan(th.autograd.Function):
    """
    Forward and backward through time with everything that does not depend on the recurrence moved out of the loop.

    With r, z, n the gates, c = W_hn h + b_hn and h' = n + z (h - n), the gradient d of h' reaches the pre-activations
    as d (1 - z)(1 - n^2) (c r (1 - r), r) for r and c, and d (h - n) z (1 - z) for z: d times factors known before the
    loop starts.
    """

    @staticmethod
    def forward(
        ctx: Any, gates: th.Tensor, initial: th.Tensor, weight: th.Tensor, bias: th.Tensor, batch_sizes: list[int]
    ) -> th.Tensor:
        width = weight.shape[1]
        # What does not depend on h is there before the loop, which adds to it in place.
        reset_update = gates[:, : 2 * width] + bias[: 2 * width]
        new = gates[:, 2 * width :].clone(memory_format=th.contiguous_format)
        candidate = bias[2 * width :].repeat(len(gates), 1)
        output = th.empty_like(new)
        # Views of every step's rows, made at once: (N, …) -> one (n_t, …) for each t
        tensors = (reset_update, reset_update[:, :width], reset_update[:, width:], new, candidate, output)
        rows = [th.split(tensor, batch_sizes) for tensor in tensors]
        to_reset_update, to_candidate = (part.t().contiguous() for part in th.split(weight, [2 * width, width]))
        h = initial
        for size, rz, r, z, n, c, h_next in zip(batch_sizes, *rows, strict=True):
            before = h if len(h) == size else h[:size]
            rz.addmm_(before, to_reset_update).sigmoid_()
            c.addmm_(before, to_candidate)
            n.addcmul_(r, c).tanh_()
            h = th.lerp(n, before, z, out=h_next)
        ctx.save_for_backward(initial, weight, output, reset_update, new, candidate)
        ctx.batch_sizes = batch_sizes
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor, th.Tensor, None]:
        initial, weight, output, reset_update, new, candidate = ctx.saved_tensors
        batch_sizes: list[int] = ctx.batch_sizes
        width = weight.shape[1]
        states = [initial, *th.split(output, batch_sizes)]
        before = th.cat([state[:size] for state, size in zip(states[:-1], batch_sizes, strict=True)])
        reset, update = th.split(reset_update, width, dim=1)
        grad_gates = new.new_empty(len(new), 3, width)
        to_new = _write_factors(grad_gates, reset, update, new, candidate, before)
        grad, carried = grad_outputs[0].clone(), initial[:0]
        rows = [th.split(tensor, batch_sizes)[::-1] for tensor in (grad, grad_gates, grad_gates.flatten(1), update)]
        for d, grad_gate, grad_gate_rows, z in zip(*rows, strict=True):
            d[: len(carried)].add_(carried)
            grad_gate.mul_(d[:, None])
            carried = th.addmm(d * z, grad_gate_rows, weight)
        grad_initial = th.zeros_like(initial)
        grad_initial[: len(carried)] = carried
        recurrent = grad_gates.flatten(1)
        grad_weight, grad_bias = recurrent.t() @ before, recurrent.sum(dim=0)
        # The input's share of the candidate gate is not scaled by r.
        th.mul(grad, to_new, out=grad_gates[:, 2])
        return recurrent, grad_initial, grad_weight, grad_bias, None


def _write_factors(
    factors: th.Tensor, reset: th.Tensor, update: th.Tensor, new: th.Tensor, candidate: th.Tensor, before: th.Tensor
) -> th.Tensor:
    """
    The factors of d for the pre-activations of r, z and c, into ``(N, 3, H)``; returns that for n's, ``(N, H)``.

    In few temporaries: at these sizes an allocation costs as much as an operation.
    """
    to_reset, to_update, to_candidate = factors.unbind(1)
    scratch, to_new = 1 - update, new.square()
    to_new.neg_().add_(1).mul_(scratch)
    th.sub(before, new, out=to_update).mul_(update).mul_(scratch)
    th.mul(to_new, reset, out=to_candidate)
    th.sub(1, reset, out=scratch).mul_(candidate)
    th.mul(to_candidate, scratch, out=to_reset)
    return to_new


def gru_scan(
    gates: th.Tensor, initial: th.Tensor, weight: th.Tensor, bias: th.Tensor, batch_sizes: list[int]
) -> th.Tensor:
    """
    The hidden states of a GRU (``nn.GRU``'s equations and gate order r, z, n).

    :param gates: ``(N, 3 H)`` the inputs' share of the gates, W_ih x + b_ih, in ``PackedSequence`` order
    :param initial: ``(P, H)`` hidden state before each sequence, longest sequence first
    :param weight: ``(3 H, H)`` recurrent weights
    :param bias: ``(3 H,)`` recurrent bias
    :param batch_sizes: number of sequences that are still running, for each step
    :return: ``(N, H)`` hidden states, in ``PackedSequence`` order
    """
    result: th.Tensor = _GRUScan.apply(gates, initial, weight, bias, batch_sizes)  # type: ignore[no-untyped-call]
    return result


def make_gru_step(
    input_weight: th.Tensor, weight: th.Tensor, input_bias: th.Tensor, bias: th.Tensor
) -> Callable[[th.Tensor, th.Tensor], th.Tensor]:
    """
    One step of a GRU in few operations, for acting on a CPU.

    :param input_weight: ``(3 H, input_dim)``
    :param weight: ``(3 H, H)`` recurrent weights
    :param input_bias: ``(3 H,)``
    :param bias: ``(3 H,)`` recurrent bias
    :return: from inputs ``(B, input_dim)`` and hidden states ``(B, H)`` to the next hidden states
    """
    input_weight_t, weight_t, width = input_weight.t().contiguous(), weight.t().contiguous(), weight.shape[1]

    def step(x: th.Tensor, h: th.Tensor) -> th.Tensor:
        gates, product = th.addmm(input_bias, x, input_weight_t), th.addmm(bias, h, weight_t)
        reset_update = gates[:, : 2 * width].add_(product[:, : 2 * width]).sigmoid_()
        new = th.addcmul(gates[:, 2 * width :], reset_update[:, :width], product[:, 2 * width :]).tanh_()
        return th.lerp(new, h, reset_update[:, width:])

    return step
