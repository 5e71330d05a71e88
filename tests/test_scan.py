"""The fast scans against the loop that defines them, in value and gradient."""

import pytest
import torch as th

from sb3_hyper.aggregators import AGGREGATORS, Aggregator, make_aggregator
from sb3_hyper.recurrences import running_max, running_softmax, running_sum
from sb3_hyper.scan import _scan_with_flags, scan, scan_reference, straight_through

WIDTH, N_SEQUENCES = 4, 3
LENGTHS = [1, 2, 5, 36, 37]
RESETS = ["none", "first", "last", "random", "all"]


class ProbabilisticSum(Aggregator):
    """A monoid of a user: a + b - a b, elementwise, with 0 as its identity; it names no fast recurrence."""

    def __init__(self, input_dim):
        super().__init__(input_dim)
        self.parts = (("associative", input_dim),)

    def lift(self, encoding):
        return encoding.sigmoid()

    def combine(self, first, second):
        return first + second - first * second

    def readout(self, state):
        return state


every_aggregator = pytest.mark.parametrize("aggregator", [*AGGREGATORS, ProbabilisticSum], ids=str)


def make_resets(kind, n_steps, n_sequences=N_SEQUENCES):
    resets = th.full((n_steps, n_sequences), kind == "all")
    if kind == "random":
        resets = th.rand(n_steps, n_sequences) < 0.3
    elif kind in ("first", "last"):
        resets[0 if kind == "first" else -1, :2] = True
    return resets


def make_inputs(aggregator, n_steps, kind, rounded=False, scale=1.0):
    """Encodings, a carried state that two of three sequences have, and resets."""
    monoid = make_aggregator(aggregator, WIDTH).double()
    x = scale * th.randn(n_steps + 2, N_SEQUENCES, WIDTH, dtype=th.float64)
    x = x.round() if rounded else x
    first, second = monoid.lift(x[:2]).detach()
    state = monoid.combine(first, second)
    state[0] = 0.0
    return monoid, x[2:].requires_grad_(), state.requires_grad_(), make_resets(kind, n_steps)


def run(scan_function, monoid, x, state, resets):
    """Readouts, the last state's readout (what is carried on), and gradients of a random projection of both."""
    states = scan_function(monoid, monoid.lift(x), state, resets)
    readout = monoid.readout(states)
    projection = th.randn(readout.shape, dtype=x.dtype, generator=th.Generator().manual_seed(1))
    leaves = (x, state, *monoid.parameters())
    gradients = th.autograd.grad((readout * projection).sum(), leaves, allow_unused=True)
    return readout, states, *(th.zeros(()) if g is None else g for g in gradients)


@every_aggregator
@pytest.mark.parametrize("n_steps", LENGTHS)
@pytest.mark.parametrize("fast", [scan, _scan_with_flags])
def test_scan_equals_the_loop(aggregator, n_steps, fast):
    th.manual_seed(0)
    for kind in RESETS:
        for rounded in (False, True):
            inputs = make_inputs(aggregator, n_steps, kind, rounded)
            th.testing.assert_close(run(fast, *inputs), run(scan_reference, *inputs), msg=lambda m, k=kind: f"{k}: {m}")


@every_aggregator
@pytest.mark.parametrize("kind", RESETS)
@pytest.mark.parametrize("fast", [scan, _scan_with_flags])
def test_extreme_encodings(aggregator, kind, fast):
    """Encodings of 1e4 and -1e4: within a trial, on both sides of its start, and in the carried state."""
    th.manual_seed(0)
    monoid, x, _, resets = make_inputs(aggregator, 12, kind)
    x = (1e4 * x.sign()).detach().requires_grad_()
    state = monoid.lift(th.full_like(x[0], 1e4)).detach().requires_grad_()
    inputs = (monoid, x, state, resets)
    th.testing.assert_close(run(fast, *inputs), run(scan_reference, *inputs), rtol=1e-6, atol=1e-5)
    single = [tensor.detach().float().requires_grad_() for tensor in (x, state)]
    assert all(result.isfinite().all() for result in run(fast, monoid.float(), *single, resets))


@every_aggregator
def test_two_scans_with_the_state_carried_equal_one(aggregator):
    monoid, x, state, resets = make_inputs(aggregator, 11, "random")
    lifted = monoid.lift(x)
    whole = scan(monoid, lifted, state, resets)
    for cut in (1, 4, 10):
        start = scan(monoid, lifted[:cut], state, resets[:cut])
        end = scan(monoid, lifted[cut:], start[-1], resets[cut:])
        readout = monoid.readout(th.cat((start, end)))
        th.testing.assert_close(readout, monoid.readout(whole))
        gradients = th.autograd.grad(readout[-1].sum(), (x, state), retain_graph=True)
        expected = th.autograd.grad(monoid.readout(whole)[-1].sum(), (x, state), retain_graph=True)
        th.testing.assert_close(gradients, expected)


@every_aggregator
@pytest.mark.parametrize("fast", [scan, _scan_with_flags])
def test_nothing_crosses_the_start_of_a_trial(aggregator, fast):
    monoid, x, state, resets = make_inputs(aggregator, 9, "none")
    resets[5] = True
    readout = monoid.readout(fast(monoid, monoid.lift(x), state, resets))
    gradient, state_gradient = th.autograd.grad(readout[5:].square().sum(), (x, state))
    assert th.count_nonzero(gradient[:5]) == 0
    assert th.count_nonzero(state_gradient) == 0
    assert th.count_nonzero(gradient[5:]) > 0
    other = x.detach().clone()
    other[:5] = 100.0 * th.randn(5, N_SEQUENCES, WIDTH)
    after = monoid.readout(fast(monoid, monoid.lift(other), state + 3.0, resets))[5:]
    assert th.equal(after, readout[5:])


@pytest.mark.parametrize("n_steps", LENGTHS)
def test_running_sum_with_decay(n_steps):
    x, decay = th.randn(2, n_steps, N_SEQUENCES, WIDTH, dtype=th.float64)
    initial, resets = th.randn(N_SEQUENCES, WIDTH, dtype=th.float64), make_resets("random", n_steps)
    expected, state = [], initial
    for t in range(n_steps):
        state = x[t] + decay[t] * th.where(resets[t, :, None], 0.0, state)
        expected.append(state)
    th.testing.assert_close(running_sum(x, initial, resets, decay), th.stack(expected))


@pytest.mark.parametrize("start", [0.0, -th.inf])
@pytest.mark.parametrize("n_steps", LENGTHS)
def test_running_max_from_its_start(n_steps, start):
    x = th.randn(n_steps, N_SEQUENCES, WIDTH, dtype=th.float64)
    initial, resets = th.full((N_SEQUENCES, WIDTH), start, dtype=th.float64), make_resets("random", n_steps)
    expected, state = [], initial
    for t in range(n_steps):
        state = th.maximum(th.where(resets[t, :, None], start, state), x[t])
        expected.append(state)
    assert th.equal(running_max(x, initial, resets, start), th.stack(expected))


def test_running_softmax_keeps_the_largest_logit_and_a_sum_of_at_least_one():
    logit = 100 * th.randn(20, 1, 2)
    x = th.cat((logit, th.ones_like(logit), th.randn(20, 1, 2)), dim=-1)
    resets = th.zeros(20, 1, dtype=th.bool)
    largest, total, _ = running_softmax(x, th.zeros(1, 6), resets).chunk(3, dim=-1)
    assert th.equal(largest, logit.cummax(dim=0).values)
    assert (total >= 1.0).all()


def test_sum_does_not_drift_over_ten_thousand_steps():
    x = th.randn(10_000, 1, WIDTH)
    resets = th.zeros(10_000, 1, dtype=th.bool)
    for name in AGGREGATORS:
        monoid = make_aggregator(name, WIDTH)
        readout = monoid.readout(scan(monoid, monoid.lift(x), monoid.identity(1), resets))
        exact = monoid.double()
        expected = exact.readout(scan(exact, exact.lift(x.double()), exact.identity(1).double(), resets))
        th.testing.assert_close(readout, expected.float(), rtol=1e-4, atol=5e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_straight_through_has_the_value_of_one_and_the_gradient_of_the_other():
    """Exact where s + (v - s).detach() has lost the digits of v."""
    value = th.rand(10_000, 1, WIDTH, requires_grad=True)
    surrogate = (1e4 + th.rand(10_000, 1, WIDTH)).cumsum(0).requires_grad_()
    result = straight_through(value, surrogate)
    assert th.equal(result, value)
    assert not th.equal(surrogate + (value - surrogate).detach(), value)
    weight = th.randn_like(result)
    value_gradient, gradient = th.autograd.grad((result * weight).sum(), (value, surrogate), allow_unused=True)
    assert value_gradient is None
    assert th.equal(gradient, weight)


def test_straight_through_refuses_shapes_that_differ():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(2, 4\)"):
        straight_through(th.zeros(2, 3), th.zeros(2, 4))


class OverwrittenMax(AGGREGATORS["Max"]):
    """A subclass with an operation of its own and its parent's ``parts``."""

    def combine(self, first, second):
        return first + second + first * second


class WithANumber(AGGREGATORS["Max"]):
    """The same, with an ``__init__`` that says nothing of ``parts``."""

    combine = OverwrittenMax.combine

    def __init__(self, input_dim):
        super().__init__(input_dim)
        self.number = 3.0


class Mixin:
    """An operation that comes from a class that is no aggregator."""

    combine = OverwrittenMax.combine


class Mixed(Mixin, AGGREGATORS["Max"]):
    """Has its operation from the mixin."""


class Child(OverwrittenMax):
    """A child of the first, with an ``__init__``."""

    def __init__(self, input_dim):
        super().__init__(input_dim)
        self.number = 3.0


@pytest.mark.parametrize("aggregator_class", [OverwrittenMax, WithANumber, Mixed, Child])
def test_a_new_operation_is_not_accumulated_as_its_parents(aggregator_class):
    aggregator, lifted, resets = aggregator_class(3), th.rand(20, 2, 3), th.rand(20, 2) < 0.2
    states = (lifted, aggregator.identity(2), resets)
    th.testing.assert_close(scan(aggregator, *states), scan_reference(aggregator, *states))


def test_parts_are_trusted_where_the_operation_is_the_one_they_describe():
    class Renamed(AGGREGATORS["Mean"]):
        """An aggregator with nothing new."""

    class Declared(OverwrittenMax):
        """A new operation that says that its parts describe it."""

        trusts_parts = True

    assert all(aggregator.trusts_parts for aggregator in (*AGGREGATORS.values(), Renamed, Declared))
    assert not Aggregator.trusts_parts
