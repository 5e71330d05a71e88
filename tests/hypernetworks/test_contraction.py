"""The bilinear contraction against generating every row's weights."""

import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.hypernetworks import contraction
from sb3_hyper.hypernetworks.contraction import contract, contract_reference

# More inputs than outputs (products with all A_k first) and fewer (outer products first).
SHAPES = [(7, 5, 3), (7, 3, 5), (1, 4, 4), (2, 1, 1)]
by_outputs = {"PRODUCTS_BYTES": 1 << 30}
by_outer_products = {"PRODUCTS_BYTES": 0}
in_chunks = {**by_outer_products, "CPU_CHUNK_ROWS": 32, "CPU_CHUNK_BYTES": 1}
ORDERS = {"outputs": by_outputs, "outer": by_outer_products, "chunks": in_chunks}


def make(n_rows, n_factors, n_inputs, n_outputs):
    th.manual_seed(0)
    shapes = (n_rows, n_factors), (n_rows, n_inputs), (n_factors, n_inputs, n_outputs)
    return [th.randn(shape, dtype=th.float64, requires_grad=True) for shape in shapes]


def with_gradients(function, inputs):
    output = function(*inputs)
    projection = th.randn(output.shape, dtype=th.float64, generator=th.Generator().manual_seed(1))
    return output, *th.autograd.grad((output * projection).sum(), inputs)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_rows", [1, 31, 32, 33, 100])
def test_contraction_equals_generating_the_weights(monkeypatch, order, shape, n_rows):
    for name, value in ORDERS[order].items():
        monkeypatch.setattr(contraction, name, value)
    inputs = make(n_rows, *shape)
    th.testing.assert_close(with_gradients(contract, inputs), with_gradients(contract_reference, inputs))


def test_every_order_is_reached(monkeypatch):
    """The settings above do choose what they say."""
    calls = []
    monkeypatch.setattr(contraction, "_contract_by_outputs", lambda h, x, weight: calls.append("outputs"))
    contract(*make(4, 3, 5, 2))
    monkeypatch.setattr(contraction, "PRODUCTS_BYTES", 0)
    contract(*make(4, 3, 5, 2))
    assert calls == ["outputs"]
    h, x, _ = make(100, 3, 5, 2)
    assert len(contraction._chunks(h, x)) == 1
    for name, value in in_chunks.items():
        monkeypatch.setattr(contraction, name, value)
    assert [len(h[rows]) for rows in contraction._chunks(h, x)] == [32, 32, 32, 4]


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)))
def test_contraction_is_bilinear(shape):
    h, x, weight = make(*shape)
    other_h, other_x = th.randn_like(h), th.randn_like(x)
    th.testing.assert_close(
        contract(2 * h - other_h, x, weight), 2 * contract(h, x, weight) - contract(other_h, x, weight)
    )
    th.testing.assert_close(
        contract(h, 2 * x - other_x, weight), 2 * contract(h, x, weight) - contract(h, other_x, weight)
    )


def test_what_is_expanded_or_transposed_is_read_right(monkeypatch):
    """Inputs and incoming gradients need not be contiguous."""
    monkeypatch.setattr(contraction, "PRODUCTS_BYTES", 0)
    h, x, weight = make(6, 3, 4, 5)
    inputs = (h[:1].expand(6, 3), x.t().contiguous().t(), weight)

    def summed(function):
        return th.autograd.grad(function(*inputs).sum(), (h, x, weight))

    th.testing.assert_close(summed(contract), summed(contract_reference))
