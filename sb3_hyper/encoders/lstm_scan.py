"""
Long short-term memory over packed pieces on the CPU: the arithmetic of ``nn.LSTM`` with one matrix product for each
step and direction.
"""

from typing import Any

import torch as th
from torch.autograd.function import once_differentiable

_Gradients = tuple[th.Tensor, th.Tensor, th.Tensor, th.Tensor, None]


class _LSTMScan(th.autograd.Function):
    """
    Forward and backward through time with everything that does not depend on the recurrence moved out of the loop.

    With i, f, g, o the gates, c' = f c + i g and h' = o tanh(c'), the gradient of c' reaches the pre-activations of i,
    f and g times (g i (1 - i), c f (1 - f), i (1 - g^2)), and that of h' reaches o's times tanh(c') o (1 - o): factors
    known before the loop starts.
    """

    @staticmethod
    def forward(
        ctx: Any,
        gates: th.Tensor,
        initial_hidden: th.Tensor,
        initial_cell: th.Tensor,
        weight: th.Tensor,
        batch_sizes: list[int],
    ) -> tuple[th.Tensor, th.Tensor]:
        width = weight.shape[1]
        activated = th.empty_like(gates)
        hidden, cell, squashed = gates.new_empty(3, len(gates), width)
        # Views of every step's rows, made at once: (N, …) -> one (n_t, …) for each t
        tensors = (gates, activated, activated[:, : 2 * width], *activated.chunk(4, dim=1), cell, squashed, hidden)
        rows = [th.split(tensor, batch_sizes) for tensor in tensors]
        h, c, weight_t = initial_hidden, initial_cell, weight.t().contiguous()
        for size, x, now, input_forget, i, f, g, o, c_next, tanh_c, h_next in zip(batch_sizes, *rows, strict=True):
            h, c = (h, c) if len(h) == size else (h[:size], c[:size])
            th.addmm(x, h, weight_t, out=now)
            input_forget.sigmoid_()
            g.tanh_()
            o.sigmoid_()
            c = th.mul(f, c, out=c_next).addcmul_(i, g)
            h = th.mul(o, th.tanh(c, out=tanh_c), out=h_next)
        ctx.save_for_backward(initial_hidden, initial_cell, weight, activated, hidden, cell, squashed)
        ctx.batch_sizes = batch_sizes
        return hidden, cell

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: th.Tensor) -> _Gradients:
        initial_hidden, initial_cell, weight, activated, hidden, cell, squashed = ctx.saved_tensors
        batch_sizes: list[int] = ctx.batch_sizes
        i, f, g, o = activated.chunk(4, dim=1)
        before = _before(initial_cell, cell, batch_sizes)
        # The factors, (N, 4, H), turn into the gradients of the pre-activations as the loop multiplies them.
        factors = (g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o))
        grad_gates = th.stack(factors, dim=1)
        hidden_to_cell = o * (1 - squashed * squashed)
        grad_hidden, grad_cell = (grad.clone() for grad in grad_outputs)
        tensors = (
            grad_gates[:, :3],
            grad_gates[:, 3],
            grad_gates.flatten(1),
            grad_hidden,
            grad_cell,
            hidden_to_cell,
            f,
        )
        rows = [th.split(tensor, batch_sizes)[::-1] for tensor in tensors]
        carried_h = carried_c = grad_hidden.new_zeros(0, weight.shape[1])
        for to_ifg, to_o, grad_gate, d_h, d_c, h_to_c, forget in zip(*rows, strict=True):
            d_h[: len(carried_h)].add_(carried_h)
            d_c[: len(carried_c)].add_(carried_c)
            d_c.addcmul_(d_h, h_to_c)
            to_ifg.mul_(d_c[:, None])
            to_o.mul_(d_h)
            carried_h, carried_c = grad_gate @ weight, d_c * forget
        grad_rows = grad_gates.flatten(1)
        grad_weight = grad_rows.t() @ _before(initial_hidden, hidden, batch_sizes)
        # Every sequence runs at the first step, so what is carried to before it has the initial states' shape.
        return grad_rows, carried_h, carried_c, grad_weight, None


def _before(initial: th.Tensor, states: th.Tensor, batch_sizes: list[int]) -> th.Tensor:
    """The states before every step, in ``PackedSequence`` order as ``states``, those after it."""
    steps = [initial, *th.split(states, batch_sizes)]
    return th.cat([step[:size] for step, size in zip(steps[:-1], batch_sizes, strict=True)])


def lstm_scan(
    gates: th.Tensor, hidden: th.Tensor, cell: th.Tensor, weight: th.Tensor, batch_sizes: list[int]
) -> tuple[th.Tensor, th.Tensor]:
    """
    The hidden and cell states of an LSTM (``nn.LSTM``'s equations and gate order i, f, g, o).

    :param gates: ``(N, 4 H)`` the gates without the hidden state's share, W_ih x + b_ih + b_hh, in ``PackedSequence``
        order
    :param hidden: ``(P, H)`` hidden state before each sequence, longest sequence first
    :param cell: ``(P, H)`` cell state before each sequence
    :param weight: ``(4 H, H)`` recurrent weights
    :param batch_sizes: number of sequences that are still running, for each step; P for the first
    :return: hidden and cell states, each ``(N, H)``, in ``PackedSequence`` order
    """
    result: tuple[th.Tensor, th.Tensor] = _LSTMScan.apply(gates, hidden, cell, weight, batch_sizes)  # type: ignore[no-untyped-call]
    return result
