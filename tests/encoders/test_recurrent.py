"""GRU and LSTM against torch's cells in a plain loop."""

from functools import partial

import pytest
import torch as th
from torch import nn

from sb3_hyper.encoders import make_encoder
from sb3_hyper.encoders.recurrent import _gru_by_kernel, _gru_by_scan, _lstm_by_kernel, _lstm_by_scan
from sb3_hyper.pieces import cut_at_resets

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
def test_encoder_is_the_loop_over_its_cell(name, density, assert_agrees_with_loop):
    th.manual_seed(0)
    encoder = make_encoder(name, INPUT_DIM, WIDTH).double()
    assert_agrees_with_loop(encoder, partial(loop, name, encoder.rnn), density)


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


@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_gru_of_the_cpu_is_the_kernel_of_other_devices(density):
    th.manual_seed(0)
    encoder = make_encoder("gru", INPUT_DIM, WIDTH).double()
    x = th.randn(T, B, INPUT_DIM, dtype=th.float64, requires_grad=True)
    pieces = cut_at_resets(th.rand(T, B) < density)
    hidden = th.randn(pieces.batch_sizes[0], WIDTH, dtype=th.float64, requires_grad=True)

    def with_gradients(run):
        encodings = run(encoder.rnn, pieces, x, hidden)
        return encodings, *th.autograd.grad(encodings.square().sum(), (x, hidden, *encoder.parameters()))

    th.testing.assert_close(with_gradients(_gru_by_scan), with_gradients(_gru_by_kernel))


@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_lstm_of_the_cpu_is_the_kernel_of_other_devices(density):
    th.manual_seed(0)
    encoder = make_encoder("lstm", INPUT_DIM, WIDTH).double()
    x = th.randn(T, B, INPUT_DIM, dtype=th.float64, requires_grad=True)
    pieces = cut_at_resets(th.rand(T, B) < density)
    states = th.randn(2, pieces.batch_sizes[0], WIDTH, dtype=th.float64, requires_grad=True)

    def with_gradients(run):
        encodings, cell = run(encoder.rnn, pieces, x, *states)
        objective = encodings.square().sum() + cell.pow(3).sum()
        return encodings, cell, *th.autograd.grad(objective, (x, states, *encoder.parameters()))

    th.testing.assert_close(with_gradients(_lstm_by_scan), with_gradients(_lstm_by_kernel))


@pytest.mark.parametrize("used", ["encodings", "memory"])
def test_lstm_gradient_of_encodings_or_memory_alone(used):
    th.manual_seed(0)
    encoder = make_encoder("lstm", INPUT_DIM, WIDTH).double()
    x, resets = th.randn(T, B, INPUT_DIM, dtype=th.float64), th.rand(T, B) < 0.2
    memory = th.randn(B, encoder.state_dim, dtype=th.float64, requires_grad=True)

    def gradients(results):
        objective = results[0 if used == "encodings" else 1].square().sum()
        return th.autograd.grad(objective, (memory, *encoder.parameters()))

    expected = gradients(loop("lstm", encoder.rnn, x, memory, resets))
    th.testing.assert_close(gradients(encoder(x, memory, resets)), expected)


def test_gates_of_the_inverse_initialisation():
    """They are 1 - 1e-8 whatever comes in, and nothing sees the hidden state: the cell forgets by 1e-8 a step."""
    th.manual_seed(0)
    encoder = make_encoder("lstm_invinit", INPUT_DIM, WIDTH).double()
    input_weight, weight, input_bias, bias = encoder.rnn.parameters()
    x, hidden = 100 * th.randn(50, INPUT_DIM, dtype=th.float64), th.randn(50, WIDTH, dtype=th.float64)
    gates = nn.functional.linear(x, input_weight, input_bias) + nn.functional.linear(hidden, weight, bias)
    input_forget, candidate_output = gates.split(2 * WIDTH, dim=1)
    # sigmoid(2 log((1 - eps) / eps)) = (1 - eps)^2 / ((1 - eps)^2 + eps^2), in float32 biases
    open_gate = (1 - 1e-4) ** 2 / ((1 - 1e-4) ** 2 + 1e-8)
    th.testing.assert_close(1 - input_forget.sigmoid(), th.full_like(input_forget, 1 - open_gate), rtol=1e-5, atol=0)
    assert th.equal(candidate_output, (nn.functional.linear(x, input_weight, input_bias) + bias)[:, 2 * WIDTH :])
    assert candidate_output.std() > 1.0


def test_inverse_initialisation_adds_to_the_cell_that_a_trial_has():
    th.manual_seed(0)
    encoder = make_encoder("lstm_invinit", INPUT_DIM, WIDTH).double()
    x, memory = th.randn(400, B, INPUT_DIM).double(), th.randn(B, 2 * WIDTH).double()
    resets = th.zeros(400, B, dtype=th.bool)
    resets[300, 0] = True
    input_weight, _, input_bias, bias = encoder.rnn.parameters()
    candidates = nn.functional.linear(x, input_weight, input_bias + bias)[..., 2 * WIDTH : 3 * WIDTH].tanh()
    cell = memory[:, WIDTH:] + candidates.sum(dim=0)
    cell[0] = candidates[300:, 0].sum(dim=0)
    th.testing.assert_close(encoder(x, memory, resets)[1][:, WIDTH:], cell, rtol=0, atol=1e-8 * 400 * 400)
