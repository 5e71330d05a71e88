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
    th.testing.assert_close(last, th.cat((state, th.ones_like(state[:, :1])), dim=1))
    weight = th.randn_like(encodings)
    gradients = [
        th.autograd.grad((weight * result).sum(), learned.initial.value)[0]
        for result in (encodings, th.stack(expected))
    ]
    th.testing.assert_close(*gradients)


def in_the_middle_of_trials(learned, n_steps):
    """Features, and the memory that seven transitions of an earlier rollout left behind."""
    th.manual_seed(2)
    x, none = th.randn(7 + n_steps, B, D, dtype=th.float64), th.zeros(7, B, dtype=th.bool)
    return x[7:], learned(x[:7], learned.initial_state(B).double(), none)[1].detach()


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("n_steps", [1, 6])
def test_a_trial_that_goes_on_does_not_teach_where_trials_start(name, n_steps):
    learned = make_learned(name)
    x, memory = in_the_middle_of_trials(learned, n_steps)
    encodings, last = learned(x, memory, th.zeros(n_steps, B, dtype=th.bool))
    objective = encodings.square().sum() + last.square().sum()
    (gradient,) = th.autograd.grad(objective, learned.initial.value, materialize_grads=True)
    assert th.count_nonzero(gradient) == 0


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("n_steps", [1, 6])
def test_trials_teach_where_they_start_beside_one_that_goes_on(name, n_steps):
    """Each sequence's gradient is that of the trial that starts in it, run by itself from an empty memory."""
    learned = make_learned(name)
    x, memory = in_the_middle_of_trials(learned, n_steps)
    resets = th.zeros(n_steps, B, dtype=th.bool)
    resets[0, 0] = resets[n_steps // 2, 1] = True
    objective = learned(x, memory, resets)[0].square().sum()
    alone = [
        learned(piece, learned.initial_state(1).double(), th.zeros(len(piece), 1, dtype=th.bool))[0].square().sum()
        for piece in (x[:, :1], x[n_steps // 2 :, 1:2])
    ]
    gradients = [th.autograd.grad(result, learned.initial.value)[0] for result in (objective, sum(alone))]
    th.testing.assert_close(*gradients)
    assert gradients[0].abs().min() > 0


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("n_steps", [1, 6])
def test_what_is_carried_stays_where_it_is_when_the_start_is_updated(name, n_steps):
    learned = make_learned(name)
    x, memory = in_the_middle_of_trials(learned, n_steps)
    none = th.zeros(n_steps, B, dtype=th.bool)
    before = learned(x, memory, none)[0]
    with th.no_grad():
        learned.initial.value += 1.0
    assert th.equal(learned(x, memory, none)[0], before)
    assert not th.allclose(learned(x, th.zeros_like(memory), none)[0], before)


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
    for n_layers in (0, "2", 2.0, True):
        with pytest.raises(ValueError, match=f"n_layers={n_layers!r}, wanted at least 1, and a whole number"):
            make_encoder("gru", D, H, n_layers=n_layers)
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
