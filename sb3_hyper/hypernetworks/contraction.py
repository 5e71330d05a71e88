"""The bilinear contraction: a generated linear layer is applied without its weights ever being written down."""

from typing import Any

import torch as th
from torch.autograd.function import once_differentiable

CPU_CHUNK_ROWS = 320
"""Rows of outer products made at once on a CPU, at least: enough that a matrix product reaches its full rate."""

CPU_CHUNK_BYTES = 1 << 21
"""On a CPU chunks may hold more rows up to this size, which the caches nearest to a core keep."""

DEVICE_CHUNK_BYTES = 1 << 26
"""On another device a chunk fills the whole device; this bounds its memory."""

PRODUCTS_BYTES = 1 << 26
"""Up to this size the products with all A_k may be kept for the gradient."""


def contract_reference(h: th.Tensor, x: th.Tensor, weight: th.Tensor) -> th.Tensor:
    """
    The definition of :func:`contract`: generate W(h) = sum_k h_k A_k for every row, then multiply.

    :param h: ``(N, K)``
    :param x: ``(N, I)``
    :param weight: ``(K, I, O)`` the A_k
    :return: ``(N, O)``
    """
    generated = th.einsum("nk,kio->nio", h, weight)
    return th.einsum("ni,nio->no", x, generated)


class _OuterProductContraction(th.autograd.Function):
    """y = (x outer h) A, chunk by chunk; the outer products are made again for the gradient."""

    @staticmethod
    def forward(ctx: Any, h: th.Tensor, x: th.Tensor, weight: th.Tensor) -> th.Tensor:
        ctx.save_for_backward(h, x, weight)
        matrix = _stacked(weight)
        output = x.new_empty(len(x), weight.shape[2])
        outer = _buffer(h, x)
        for rows in _chunks(h, x):
            th.mm(_outer_product(h[rows], x[rows], outer), matrix, out=output[rows])
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        h, x, weight = ctx.saved_tensors
        matrix, grad = _stacked(weight), grad_outputs[0].contiguous()
        grad_h, grad_x, grad_matrix = th.empty_like(h), th.empty_like(x), th.zeros_like(matrix)
        outer, grad_outer = _buffer(h, x), _buffer(h, x)
        for rows in _chunks(h, x):
            size = len(h[rows])
            grad_matrix.addmm_(_outer_product(h[rows], x[rows], outer).t(), grad[rows])
            # (n, O) (O, I K) -> (n, I, K)
            product = th.mm(grad[rows], matrix.t(), out=grad_outer[:size].flatten(1)).view(size, x.shape[1], h.shape[1])
            th.bmm(x[rows, None], product, out=grad_h[rows, None])
            if ctx.needs_input_grad[1]:
                th.bmm(product, h[rows, :, None], out=grad_x[rows, :, None])
        return grad_h, grad_x, th.unflatten(grad_matrix, 0, (x.shape[1], h.shape[1])).transpose(0, 1)


def _stacked(weight: th.Tensor) -> th.Tensor:
    """``(K, I, O) -> (I K, O)``; a view of weights that lie in memory inputs first."""
    return weight.transpose(0, 1).flatten(0, 1)


def _buffer(h: th.Tensor, x: th.Tensor) -> th.Tensor:
    return x.new_empty(_chunk_rows(h, x), x.shape[1], h.shape[1])


def _chunk_rows(h: th.Tensor, x: th.Tensor) -> int:
    row_bytes, is_cpu = h.shape[1] * x.shape[1] * x.element_size(), x.device.type == "cpu"
    rows = max(CPU_CHUNK_ROWS, CPU_CHUNK_BYTES // row_bytes) if is_cpu else DEVICE_CHUNK_BYTES // row_bytes
    return max(1, min(len(x), rows))


def _chunks(h: th.Tensor, x: th.Tensor) -> list[slice]:
    size = _chunk_rows(h, x)
    return [slice(start, min(start + size, len(x))) for start in range(0, len(x), size)]


def _outer_product(h: th.Tensor, x: th.Tensor, buffer: th.Tensor) -> th.Tensor:
    """``(n, K), (n, I) -> (n, I K)``."""
    return th.mul(x[:, :, None], h[:, None, :], out=buffer[: len(h)]).flatten(1)


def _contract_by_outputs(h: th.Tensor, x: th.Tensor, weight: th.Tensor) -> th.Tensor:
    """
    All A_k x first, then their sum weighted by h: less to write than outer products where a layer is narrower than its
    input.
    """
    n_factors, n_inputs, n_outputs = weight.shape
    # (N, I) (I, K O) -> (N, K, O)
    products = (x @ weight.transpose(0, 1).reshape(n_inputs, n_factors * n_outputs)).view(len(x), n_factors, n_outputs)
    return th.bmm(h[:, None], products).squeeze(1)


def contract(h: th.Tensor, x: th.Tensor, weight: th.Tensor) -> th.Tensor:
    """
    y = W(h) x with W(h) = sum_k h_k A_k, for a batch in which every row has its own h.

    W(h) x is bilinear in h and x, so one matrix product serves all rows: of the outer products of h and x with the
    stacked A_k, or, where that is smaller, of x with all A_k. No weight matrix is generated; a large batch needs the
    memory of one chunk of outer products.

    :param h: ``(N, K)`` factors
    :param x: ``(N, I)`` inputs
    :param weight: ``(K, I, O)`` the A_k
    :return: ``(N, O)``
    """
    n_factors, n_inputs, n_outputs = weight.shape
    if n_outputs < n_inputs and len(x) * n_factors * n_outputs * x.element_size() <= PRODUCTS_BYTES:
        return _contract_by_outputs(h, x, weight)
    result: th.Tensor = _OuterProductContraction.apply(h, x, weight)  # type: ignore[no-untyped-call]
    return result
