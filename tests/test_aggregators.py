"""Aggregators: the algebra of commutative monoids, and each against its formula computed the obvious way."""

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional as F

from sb3_hyper.aggregators import AGGREGATORS, Softmax, Sum, WeightedSoftmax, make_aggregator
from sb3_hyper.errors import unknown_name

WIDTH = 4
all_aggregators = pytest.mark.parametrize("name", AGGREGATORS)
halving_aggregators = pytest.mark.parametrize("name", ["MeanMax", "WeightedMean", "WeightedSoftmax", "Gaussian"])


def encodings(n, largest=50.0):
    """Hypothesis strategy for ``n`` encodings; rounded, so that ties are common."""
    values = st.floats(-largest, largest, allow_nan=False).map(lambda x: round(x, 1))
    return arrays(np.float64, (n, WIDTH), elements=values).map(th.from_numpy)


def build(name):
    return make_aggregator(name, WIDTH).double()


def fold(aggregator, x):
    """The state of a set of encodings, one after the other."""
    state = th.zeros(aggregator.state_dim, dtype=x.dtype)
    for lifted in aggregator.lift(x):
        state = aggregator.combine(state, lifted)
    return state


@all_aggregators
@settings(max_examples=30, deadline=None)
@given(x=encodings(3))
def test_combine_is_associative_and_commutative(name, x):
    aggregator = build(name)
    a, b, c = aggregator.lift(x)
    combine = aggregator.combine
    th.testing.assert_close(combine(combine(a, b), c), combine(a, combine(b, c)))
    th.testing.assert_close(combine(a, b), combine(b, a))


@all_aggregators
@settings(max_examples=30, deadline=None)
@given(x=encodings(2))
def test_zeros_are_the_identity(name, x):
    aggregator = build(name)
    # Not a fold: that starts from zero itself.
    state, zero = aggregator.combine(*aggregator.lift(x)), th.zeros(aggregator.state_dim, dtype=th.float64)
    assert th.equal(aggregator.identity(3), th.zeros(3, aggregator.state_dim))
    assert th.equal(aggregator.combine(zero, state), state)
    assert th.equal(aggregator.combine(state, zero), state)
    assert th.equal(aggregator.combine(zero, zero), zero)


@all_aggregators
@settings(max_examples=30, deadline=None)
@given(x=encodings(6), order=st.permutations(range(6)))
def test_readout_does_not_depend_on_the_order(name, x, order):
    aggregator = build(name)
    readout = aggregator.readout(fold(aggregator, x))
    assert readout.shape == (aggregator.output_dim,)
    th.testing.assert_close(aggregator.readout(fold(aggregator, x[list(order)])), readout)


@all_aggregators
@pytest.mark.parametrize("extreme", [[0.0], [1e4], [-1e4], [1e4, -1e4], [-1e4, 1e4, 0.0]])
def test_extreme_encodings_stay_finite_in_float32(name, extreme):
    aggregator = make_aggregator(name, WIDTH)
    x = th.tensor(extreme)[:, None].expand(-1, WIDTH).clone().requires_grad_()
    readout = aggregator.readout(fold(aggregator, x))
    readout.sum().backward()
    assert readout.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in aggregator.parameters())


@pytest.mark.parametrize("name", ["WeightedMean", "Gaussian"])
def test_a_transition_of_the_smallest_weight_is_not_an_empty_trial(name):
    """softplus(-1e4) is 0 in every precision."""
    x = th.tensor([[3.0, 5.0, -1e4, -1e4], [5.0, 7.0, -1e4, -1e4]])
    aggregator = make_aggregator(name, WIDTH)
    th.testing.assert_close(aggregator.readout(fold(aggregator, x))[:2], th.tensor([4.0, 6.0]))


@all_aggregators
def test_empty_trial_reads_out_finite(name):
    aggregator = make_aggregator(name, WIDTH)
    state = aggregator.identity(2).requires_grad_()
    readout = aggregator.readout(state)
    readout.sum().backward()
    assert th.equal(readout, th.zeros(2, aggregator.output_dim))
    assert state.grad.isfinite().all()


def weighted_mean(x, weight):
    return (x * weight).sum(0) / weight.sum(0)


def product_of_gaussians(x):
    mean, precision = x[:, : WIDTH // 2], F.softplus(x[:, WIDTH // 2 :])
    return th.cat((weighted_mean(mean, precision), -precision.sum(0).log()))


def mean_and_max(x):
    return th.cat((x[:, : WIDTH // 2].mean(0), x[:, WIDTH // 2 :].clamp(min=0).amax(0)))


def maximum_on_the_sphere(x):
    maximum = x.clamp(min=0).amax(0)
    return maximum / max(maximum.norm(), 0.1)


# The temperature of both softmaxes starts at 0.1.
FORMULAS = {
    "Sum": lambda x: x.sum(0),
    "Mean": lambda x: x.mean(0),
    "Max": lambda x: x.clamp(min=0).amax(0),
    "MaxNorm": maximum_on_the_sphere,
    "UnboundedMax": lambda x: x.amax(0),
    "MeanMax": mean_and_max,
    "WeightedMean": lambda x: weighted_mean(x[:, : WIDTH // 2], F.softplus(x[:, WIDTH // 2 :])),
    "Softmax": lambda x: weighted_mean(x, (x / 0.1).softmax(0)),
    "WeightedSoftmax": lambda x: weighted_mean(x[:, : WIDTH // 2], (x[:, WIDTH // 2 :] / 0.1).softmax(0)),
    "Gaussian": product_of_gaussians,
}


@all_aggregators
@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0])
def test_readout_is_the_formula(name, scale):
    x = scale * th.randn(7, WIDTH, dtype=th.float64, generator=th.Generator().manual_seed(0))
    aggregator = build(name)
    readout = aggregator.readout(fold(aggregator, x))
    th.testing.assert_close(readout, FORMULAS[name](x), rtol=1e-3 if scale == 5.0 else 1e-5, atol=1e-6)


def test_norm_of_the_maximum_has_no_gradient():
    x = th.tensor([[3.0, 4.0]], requires_grad=True)
    aggregator = make_aggregator("MaxNorm", 2)
    aggregator.readout(fold(aggregator, x)).sum().backward()
    th.testing.assert_close(x.grad, th.full((1, 2), 1 / 5.0))


@pytest.mark.parametrize("aggregator_class", [Softmax, WeightedSoftmax])
def test_temperature_is_learned_and_positive(aggregator_class):
    x = th.randn(5, WIDTH, dtype=th.float64)
    aggregator = aggregator_class(WIDTH, temperature=2.0).double()
    aggregator.readout(fold(aggregator, x)).square().sum().backward()
    value, logit = (x, x) if aggregator_class is Softmax else x.chunk(2, dim=1)
    temperature = th.tensor(2.0, dtype=th.float64, requires_grad=True)
    weighted_mean(value, (logit / temperature).softmax(0)).square().sum().backward()
    th.testing.assert_close(aggregator.log_temperature.grad, temperature.grad * 2.0)
    with pytest.raises(ValueError, match="temperature=0.*positive"):
        aggregator_class(WIDTH, temperature=0.0)


@all_aggregators
def test_parts_cover_the_state(name):
    aggregator = build(name)
    assert aggregator.lift(th.zeros(2, 3, WIDTH).double()).shape == (2, 3, aggregator.state_dim)
    assert aggregator.state_dim == sum(width for _, width in aggregator.parts)


@halving_aggregators
def test_odd_widths_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} reads two halves.*odd width 5.*even"):
        make_aggregator(name, 5)


@all_aggregators
def test_widths_below_one_are_refused(name):
    with pytest.raises(ValueError, match="input_dim=0, wanted at least 1"):
        make_aggregator(name, 0)


@pytest.mark.parametrize(("wrong", "nearest"), [("max", "Max"), ("Softmx", "Softmax"), ("gausian", "Gaussian")])
def test_unknown_name_proposes_the_nearest(wrong, nearest):
    with pytest.raises(ValueError, match=f"Unknown aggregator '{wrong}'.*Did you mean '{nearest}'"):
        make_aggregator(wrong, WIDTH)


def test_unknown_name_lists_the_choices_and_proposes_nothing_far_fetched():
    message = str(unknown_name("fruit", "zzz", ["pear", "apple"]))
    assert message == "Unknown fruit 'zzz'. Choose one of 'apple', 'pear'."


def test_a_class_of_ones_own_is_built_as_it_is():
    class Mine(Sum):
        pass

    assert type(make_aggregator(Mine, 3)) is Mine
