"""LRU and minGRU: their papers' equations in a plain loop, where they start, and what they refuse."""

import math
from functools import partial

import pytest
import torch as th
from torch.nn import functional as F

from sb3_hyper.encoders import AggregatedEncoder, LRUEncoder, MinGRUEncoder

T, B, INPUT_DIM, WIDTH = 13, 4, 3, 6


def lru_loop(encoder, x, memory, resets):
    """The equations of Orvieto et al. 2023 with complex matrices."""
    n = encoder.state_dim // 2
    decay = th.exp(th.complex(-encoder.nu.exp(), encoder.theta.exp()))
    scale = (1 - decay.abs() ** 2).sqrt()
    # (2 n, D) -> (n, D) complex, and (D, 2 n) -> (D, n) complex, where the imaginary part is held with a minus
    b = th.complex(*encoder.to_states.weight.view(n, 2, WIDTH).unbind(1))
    real, minus_imaginary = encoder.from_states.weight.view(WIDTH, n, 2).unbind(2)
    c = th.complex(real, -minus_imaginary)
    state, encodings = th.view_as_complex(memory.view(B, n, 2)), []
    for features, reset in zip(x, resets, strict=True):
        u = encoder.embedding(features)
        state = decay * th.where(reset[:, None], 0.0, state) + scale * (u.to(b.dtype) @ b.T)
        y = (state @ c.T).real + encoder.feedthrough * u
        value, gate = encoder.gate(F.gelu(y)).chunk(2, dim=-1)
        encodings.append(u + value * gate.sigmoid())
    return th.stack(encodings), th.view_as_real(state).flatten(1)


def min_gru_loop(encoder, x, memory, resets):
    """The equations of Feng et al. 2024."""
    encodings = []
    for features, reset in zip(x, resets, strict=True):
        gate, candidate = encoder.linear(features).chunk(2, dim=-1)
        z = gate.sigmoid()
        memory = (1 - z) * th.where(reset[:, None], 0.0, memory) + z * candidate
        encodings.append(memory)
    return th.stack(encodings), memory


CASES = {"lru": (LRUEncoder, {"n_states": 5}, lru_loop), "min_gru": (MinGRUEncoder, {}, min_gru_loop)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_encoder_is_its_papers_equations(name, density, assert_agrees_with_loop):
    make, kwargs, loop = CASES[name]
    th.manual_seed(0)
    encoder = make(INPUT_DIM, WIDTH, **kwargs).double()
    gradients = assert_agrees_with_loop(encoder, partial(loop, encoder), density)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("aggregator", ["Max", "Softmax", "Mean"])
def test_splagger_over_it_is_the_aggregator_folded_over_the_loop(name, aggregator):
    make, kwargs, loop = CASES[name]
    th.manual_seed(0)
    splagger = AggregatedEncoder(make(INPUT_DIM, WIDTH, **kwargs), aggregator).double()
    x = th.randn(T, B, INPUT_DIM, dtype=th.float64, requires_grad=True)
    resets = th.rand(T, B) < 0.2
    memory = splagger.initial_state(B).double()
    encodings = loop(splagger.encoder, x, splagger.encoder.initial_state(B).double(), resets)[0]
    monoid, expected = splagger.aggregator, []
    state = monoid.identity(B).double()
    for encoding, reset in zip(encodings, resets, strict=True):
        kept, aggregated = encoding.chunk(2, dim=-1)
        state = monoid.combine(th.where(reset[:, None], 0.0, state), monoid.lift(aggregated))
        expected.append(th.cat((kept, monoid.readout(state)), dim=-1))
    outputs, leaves = (splagger(x, memory, resets)[0], th.stack(expected)), (x, *splagger.parameters())
    gradients = [th.autograd.grad(output.square().sum(), leaves) for output in outputs]
    th.testing.assert_close(outputs[0], outputs[1])
    th.testing.assert_close(gradients[0], gradients[1])


def test_lru_starts_evenly_on_the_ring():
    th.manual_seed(0)
    encoder = LRUEncoder(2, 4, n_states=20_000, r_min=0.5, r_max=0.9, max_phase=1.0)
    modulus, phase = (-encoder.nu.exp()).exp(), encoder.theta.exp()
    assert 0.5 <= modulus.min() < 0.501 and 0.899 < modulus.max() <= 0.9
    assert 0 < phase.min() < 0.001 and 0.999 < phase.max() <= 1.0 + 1e-6
    # As many on either side of the circle that halves the ring's area.
    assert abs((modulus < math.sqrt((0.5**2 + 0.9**2) / 2)).float().mean() - 0.5) < 0.02


def test_lru_states_are_as_large_as_their_inputs_however_long_they_remember():
    """gamma's purpose: white noise in gives states of one variance, whatever their modulus."""
    th.manual_seed(0)
    encoder = LRUEncoder(32, 32, n_states=64, r_min=0.1, r_max=0.99)
    th.nn.init.eye_(encoder.embedding.weight)
    x, none = th.randn(500, 256, 32), th.zeros(500, 256, dtype=th.bool)
    with th.no_grad():
        state = encoder(x, encoder.initial_state(256), none)[1]
    power = th.unflatten(state, 1, (-1, 2)).square().sum(dim=2).mean(dim=0)
    assert power.min() > 0.4 and power.max() < 2.0


def test_min_gru_memories_start_evenly_in_logarithm():
    th.manual_seed(0)
    encoder = MinGRUEncoder(2, 20_000, max_timescale=200.0)
    timescale = 1 / encoder.linear.bias[:20_000].sigmoid()
    assert 2.0 - 1e-4 <= timescale.min() < 2.01 and 198 < timescale.max() < 200.1
    assert abs((timescale < 20).float().mean() - 0.5) < 0.02
    assert encoder.linear.bias[20_000:].abs().max() < 1.0


def test_min_gru_stays_within_its_candidates():
    """Every step is a weighted mean of what was and what comes."""
    th.manual_seed(0)
    encoder = MinGRUEncoder(3, 5)
    x = th.randn(40, 2, 3)
    encodings, _ = encoder(x, encoder.initial_state(2), th.zeros(40, 2, dtype=th.bool))
    candidates = encoder.linear(x)[..., 5:]
    assert (encodings <= candidates.cummax(dim=0).values.clamp(min=0.0) + 1e-6).all()
    assert (encodings >= candidates.cummin(dim=0).values.clamp(max=0.0) - 1e-6).all()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"r_min": -0.1},
        {"r_min": 0.9, "r_max": 0.9},
        {"r_max": 1.0},
        {"r_min": 0.9999999, "r_max": 0.99999999},
        {"r_max": math.nan},
        {"max_phase": 0.0},
        {"max_phase": 7.0},
    ],
)
def test_lru_refuses_what_has_no_meaning(kwargs):
    name, value = list(kwargs.items())[-1]
    with pytest.raises(ValueError, match=rf"LRUEncoder got .*{name}={value}.*wanted 0 <= r_min < r_max <= 0.999999 "):
        LRUEncoder(3, 4, **kwargs)


@pytest.mark.parametrize("n_states", [0, "2", 2.0])
def test_lru_refuses_no_number_of_states(n_states):
    with pytest.raises(ValueError, match=f"n_states={n_states!r}, wanted at least 1, and a whole number"):
        LRUEncoder(3, 4, n_states=n_states)


@pytest.mark.parametrize("max_timescale", [1.5, 1.01e6, math.inf, math.nan])
def test_min_gru_refuses_what_no_gate_can_remember(max_timescale):
    with pytest.raises(ValueError, match=f"max_timescale={max_timescale}, wanted at least 2 and at most 1e6 steps"):
        MinGRUEncoder(3, 4, max_timescale=max_timescale)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LRUEncoder(3, 200, r_min=0.999998, r_max=0.999999),
        lambda: LRUEncoder(3, 200, r_min=0.0, r_max=0.999999),
        lambda: MinGRUEncoder(3, 200, max_timescale=1e6),
    ],
)
def test_the_longest_memories_are_finite_and_learn(make):
    th.manual_seed(0)
    encoder = make()
    encodings, memory = encoder(th.randn(20, 2, 3), encoder.initial_state(2), th.zeros(20, 2, dtype=th.bool))
    (encodings.sum() + memory.sum()).backward()
    for parameter in encoder.parameters():
        assert parameter.isfinite().all() and parameter.grad.isfinite().all()
