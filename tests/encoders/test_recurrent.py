"""GRU and LSTM against torch's cells in a plain loop."""

import pytest
import torch as th
from torch import nn

from sb3_hyper.encoders import make_encoder

CELLS = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}
T, B, INPUT_DIM, WIDTH = 11, 5, 3, 6


def loop(name, rnn, x, memory, resets):
    """``nn.GRUCell`` or ``nn.LSTMCell`` with the encoder's own weights, one step after the other."""
    cell = CELLS[name](INPUT_DIM, WIDTH)
    weights = {key.removesuffix("_l0"): value for key, value in rnn.named_parameters()}
    encodings = []
    for features, reset in zip(x, resets, strict=True):
        memory = memory * (~reset[:, None])
        state = memory if name == "gru" else memory.chunk(2, dim=1)
        state = th.func.functional_call(cell, weights, (features, state))
        memory = state if name == "gru" else th.cat(state, dim=1)
        encodings.append(memory[:, :WIDTH])
    return th.stack(encodings), memory


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_encoder_is_the_loop_over_its_cell(name, density):
    th.manual_seed(0)
    encoder = make_encoder(name, INPUT_DIM, WIDTH).double()
    x = th.randn(T, B, INPUT_DIM, dtype=th.float64, requires_grad=True)
    memory = th.randn(B, encoder.state_dim, dtype=th.float64, requires_grad=True)
    resets = th.rand(T, B) < density
    leaves = (x, memory, *encoder.parameters())

    def with_gradients(encodings, last):
        objective = encodings.square().sum() + last.pow(3).sum()
        return encodings, last, *th.autograd.grad(objective, leaves)

    expected = with_gradients(*loop(name, encoder.rnn, x, memory, resets))
    th.testing.assert_close(with_gradients(*encoder(x, memory, resets)), expected)


def test_gru_gradient_without_a_gradient_for_the_input():
    """The first layer of a network: only parameters ask for gradients."""
    encoder = make_encoder("gru", INPUT_DIM, WIDTH).double()
    x = th.randn(T, B, INPUT_DIM, dtype=th.float64)
    resets = th.rand(T, B) < 0.2
    memory = encoder.initial_state(B).double()

    def gradients(encodings):
        return th.autograd.grad(encodings[-1].sum(), tuple(encoder.parameters()))

    slow = gradients(loop("gru", encoder.rnn, x, memory, resets)[0])
    th.testing.assert_close(gradients(encoder(x, memory, resets)[0]), slow)
