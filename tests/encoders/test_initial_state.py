"""Learned initial states, and encoders on top of each other."""

import pytest
import torch as th
from torch import nn

from sb3_hyper.encoders import GRUEncoder, LSTMInvInitEncoder, PointwiseEncoder, StackedEncoder, make_encoder

RECURRENT = ["gru", "lstm", "lru", "min_gru"]
T, B, D, H = 9, 3, 4, 6


def make_batch():
    th.manual_seed(1)
    resets = th.rand(T, B) < 0.3
    resets[0] = th.tensor([True, False, True])
    return th.randn(T, B, D, dtype=th.float64), resets


def make_learned(name):
    th.manual_seed(0)
    encoder = make_encoder(name, D, H, learned_initial_state=True).double()
    with th.no_grad():
        encoder.initial.value.copy_(th.randn_like(encoder.initial.value))
    return encoder


@pytest.mark.parametrize("name", RECURRENT)
def test_a_learned_start_is_a_memory_that_is_handed_in(name):
    """The same encoder without it, told where every trial starts."""
    learned = make_learned(name)
    plain = make_encoder(name, D, H).double()
    plain.load_state_dict({key: x for key, x in learned.state_dict().items() if key != "initial.value"})
    x, resets = make_batch()
    memory = th.zeros(B, learned.state_dim, dtype=th.float64)
    encodings, last = learned(x, memory, resets)
    start = learned.initial.value
    state, expected = start.expand(B, -1), []
    for now, reset in zip(x, resets, strict=True):
        state = th.where(reset[:, None], start, state)
        output, state = plain(now[None], state, th.zeros(1, B, dtype=th.bool))
        expected.append(output[0])
    th.testing.assert_close(encodings, th.stack(expected))
    th.testing.assert_close(last, state - start)
    weight = th.randn_like(encodings)
    gradients = [
        th.autograd.grad((weight * result).sum(), learned.initial.value)[0]
        for result in (encodings, th.stack(expected))
    ]
    th.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", RECURRENT)
def test_it_starts_at_zero_and_is_prepared_for_acting(name):
    assert not make_encoder(name, D, H, learned_initial_state=True).initial.value.any()
    learned, (x, _) = make_learned(name), make_batch()
    memory = th.randn(B, learned.state_dim, dtype=th.float64)
    with th.no_grad():
        encodings, after = learned(x[:1], memory, th.zeros(1, B, dtype=th.bool))
        th.testing.assert_close(learned.make_step()(x[0], memory), (encodings[0], after))


def test_stacked_encoders_are_their_composition():
    th.manual_seed(0)
    below, above = GRUEncoder(D, H).double(), make_encoder("lru", H, 5).double()
    stacked = StackedEncoder([below, above])
    assert (stacked.input_dim, stacked.output_dim, stacked.state_dim) == (D, 5, H + 10)
    x, resets = make_batch()
    memory = th.randn(B, stacked.state_dim, dtype=th.float64)
    middle, below_last = below(x, memory[:, :H], resets)
    expected, above_last = above(middle, memory[:, H:], resets)
    encodings, last = stacked(x, memory, resets)
    th.testing.assert_close(encodings, expected)
    th.testing.assert_close(last, th.cat((below_last, above_last), dim=1))


def test_layers_by_number():
    stacked = make_encoder("gru", D, H, n_layers=3)
    assert isinstance(stacked, StackedEncoder)
    assert [(layer.input_dim, layer.output_dim) for layer in stacked.encoders] == [(D, H), (H, H), (H, H)]
    assert len(make_encoder("transformer", D, H, n_layers=3).layers) == 3
    with pytest.raises(ValueError, match="n_layers=0, wanted at least 1"):
        make_encoder("gru", D, H, n_layers=0)
    with pytest.raises(ValueError, match=r"layer 2 \(PointwiseEncoder\) has input_dim=4, but layer 1"):
        StackedEncoder([PointwiseEncoder(D, H), PointwiseEncoder(D, H)])
    with pytest.raises(ValueError, match="no encoders"):
        StackedEncoder([])


def test_unknown_keyword_proposes_the_nearest():
    with pytest.raises(TypeError, match="'max_timescal'.*Did you mean 'max_timescale'"):
        make_encoder("min_gru", D, H, max_timescal=3.0)


def test_inverse_initialisation_integrates_its_inputs():
    """Cells are the sums of their candidates, which see the inputs alone."""
    th.manual_seed(0)
    encoder = LSTMInvInitEncoder(D, H).double()
    x = th.randn(50, B, D, dtype=th.float64)
    _, memory = encoder(x, encoder.initial_state(B).double(), th.zeros(50, B, dtype=th.bool))
    input_weight, _, input_bias, bias = encoder.rnn.parameters()
    candidates = nn.functional.linear(x, input_weight, input_bias + bias)[..., 2 * H : 3 * H].tanh()
    th.testing.assert_close(memory[:, H:], candidates.sum(dim=0), rtol=0, atol=1e-5)
