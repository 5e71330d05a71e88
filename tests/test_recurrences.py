"""The linear recurrence against its loop, and the algebra that its logarithmic scan rests on."""

import math

import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.recurrences import (
    Stretch,
    _LinearRecurrence,
    _solve_by_doubling,
    _solve_in_blocks,
    compose,
    linear_recurrence,
    running_max,
    running_softmax,
    running_sum,
)

B, S = 3, 2
few_examples = settings(max_examples=50, deadline=None)


def loop(x, initial, resets, decay):
    """The definition."""
    states, state = [], initial
    for t in range(len(x)):
        now = decay[t] if decay.dim() == 3 else decay
        state = now * th.where(resets[t, :, None], 0.0, state) + x[t]
        states.append(state)
    return th.stack(states)


def make(n_steps, dtype, is_constant, seed=0):
    generator = th.Generator().manual_seed(seed)

    def randn(*shape):
        return th.randn(*shape, dtype=dtype, generator=generator)

    decay = 0.5 * randn(S) if is_constant else 0.5 * randn(n_steps, B, S)
    resets = th.rand(n_steps, B, generator=generator) < 0.2
    return [randn(n_steps, B, S).requires_grad_(), randn(B, S).requires_grad_(), resets, decay.requires_grad_()]


def by_doubling(x, initial, resets, decay):
    """What other devices than a CPU run."""
    decay = decay if decay.dim() == 3 else decay[None, None]
    return _LinearRecurrence.apply(x, initial, resets, decay, _solve_by_doubling)


@pytest.mark.parametrize("solve", [linear_recurrence, by_doubling])
@pytest.mark.parametrize("is_constant", [False, True])
@pytest.mark.parametrize("dtype", [th.float64, th.complex128])
@pytest.mark.parametrize("n_steps", [1, 2, 7, 12, 31, 36])
def test_value_and_gradient_are_the_loops(solve, is_constant, dtype, n_steps):
    arguments = make(n_steps, dtype, is_constant)
    weight = th.randn(n_steps, B, S, dtype=dtype)
    leaves = [arguments[0], arguments[1], arguments[3]]
    results = [way(*arguments) for way in (solve, loop)]
    th.testing.assert_close(results[0], results[1])
    gradients = [th.autograd.grad((weight * result).real.sum(), leaves) for result in results]
    th.testing.assert_close(gradients[0], gradients[1])


@few_examples
@given(
    n_steps=st.integers(1, 45),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([th.float64, th.complex128]),
    is_constant=st.booleans(),
    solve=st.sampled_from([linear_recurrence, by_doubling]),
)
def test_any_length_is_the_loop(n_steps, seed, dtype, is_constant, solve):
    x, initial, resets, decay = make(n_steps, dtype, is_constant, seed)
    leaves, weight = (x, initial, decay), make(n_steps, dtype, False, seed + 1)[0].detach()
    results = [way(x, initial, resets, decay) for way in (solve, loop)]
    gradients = [th.autograd.grad((weight * result).real.sum(), leaves) for result in results]
    th.testing.assert_close((results[0], *gradients[0]), (results[1], *gradients[1]))


@pytest.mark.parametrize("solve", [linear_recurrence, by_doubling])
@pytest.mark.parametrize("dtype", [th.float64, th.complex128])
def test_gradient_is_the_difference_quotient(solve, dtype):
    """The twin of the loop's: autograd's rule for complex numbers is not taken from the loop here."""
    x, initial, resets, decay = make(6, dtype, True)
    assert th.autograd.gradcheck(lambda *leaves: solve(leaves[0], leaves[1], resets, leaves[2]), (x, initial, decay))


@pytest.mark.parametrize("solve", [linear_recurrence, by_doubling])
def test_two_stretches_with_the_state_carried_equal_one(solve):
    x, initial, resets, decay = make(17, th.complex128, False)
    leaves, whole = (x, initial, decay), solve(x, initial, resets, decay)
    for cut in (1, 5, 16):
        start = solve(x[:cut], initial, resets[:cut], decay[:cut])
        end = solve(x[cut:], start[-1], resets[cut:], decay[cut:])
        results = (th.cat((start, end)), whole)
        gradients = [th.autograd.grad(r.abs().square().sum(), leaves, retain_graph=True) for r in results]
        th.testing.assert_close((results[0], *gradients[0]), (results[1], *gradients[1]))


@few_examples
@given(n_steps=st.integers(1, 40), seed=st.integers(0, 1000))
def test_both_solvers_agree_in_both_directions(n_steps, seed):
    x, initial, resets, decay = (part.detach() for part in make(n_steps, th.float64, False, seed))
    for backwards in (False, True):
        results = [solve(x, decay, initial, resets, backwards) for solve in (_solve_in_blocks, _solve_by_doubling)]
        th.testing.assert_close(*results)


@pytest.mark.parametrize("solve", [linear_recurrence, by_doubling])
@pytest.mark.parametrize("dtype", [th.float64, th.complex128])
def test_nothing_crosses_a_start(solve, dtype):
    x, initial, resets, decay = make(10, dtype, False)
    resets[:] = False
    resets[6] = True
    states = solve(x, initial, resets, decay)[6:]
    x_gradient, initial_gradient, decay_gradient = th.autograd.grad(states.abs().sum(), (x, initial, decay))
    assert th.count_nonzero(x_gradient[:6]) == th.count_nonzero(initial_gradient) == 0
    # The decay of a trial's first step has nothing to act on.
    assert th.count_nonzero(decay_gradient[:7]) == 0
    assert th.count_nonzero(x_gradient[6:]) == 4 * B * S and th.count_nonzero(decay_gradient[7:]) == 3 * B * S
    other = th.cat((th.randn_like(x[:6]), x[6:]))
    assert th.equal(solve(other, initial + 1, resets, decay)[6:], states)


# Each takes x, initial state, resets and decay.
RECURRENCES = {
    "linear": linear_recurrence,
    "linear-constant": lambda x, initial, resets, decay: linear_recurrence(x, initial, resets, decay[0, 0]),
    "linear-by-doubling": by_doubling,
    "sum": lambda x, initial, resets, decay: running_sum(x, initial, resets),
    "max": lambda x, initial, resets, decay: running_max(x, initial, resets),
    "softmax": lambda x, initial, resets, decay: running_softmax(
        th.cat((x, th.ones_like(x), x), -1), th.cat((initial, th.ones_like(initial), initial), -1), resets
    ),
}


@pytest.mark.parametrize(
    ("recurrence", "where"),
    [
        *((name, where) for name in RECURRENCES for where in ("inputs", "memory")),
        ("linear", "decays"),
        ("linear-by-doubling", "decays"),
    ],
)
@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("n_steps", [12, 13])
def test_what_is_not_finite_stays_in_its_trial(recurrence, number, n_steps, where):
    """Inputs and decays of a trial in the middle, and the memory of a trial that is over."""
    run = RECURRENCES[recurrence]
    x, initial, resets, decay = make(n_steps, th.float64, False)
    resets[:] = False
    resets[3] = resets[9] = resets[0, 2] = True
    is_whole = th.tensor([True] * 3 + [False] * 6 + [True] * (n_steps - 9))

    def of_whole_trials(x, initial, decay):
        leaves = [leaf.detach().clone().requires_grad_() for leaf in (x, initial, decay)]
        states = run(leaves[0], leaves[1], resets, leaves[2])[is_whole]
        gradients = th.autograd.grad(states.square().sum(), leaves, materialize_grads=True)
        if recurrence == "linear-constant":
            # All trials have that decay in common.
            gradients = (*gradients[:2], th.zeros_like(decay))
        return states, gradients[0][is_whole], gradients[1], gradients[2][is_whole]

    expected = of_whole_trials(x, initial, decay)
    with th.no_grad():
        if where == "inputs":
            x[5, 0] = x[8, 1] = number
        elif where == "memory":
            initial[2] = number
        else:
            decay[6, 2] = decay[3, 1] = number
    th.testing.assert_close(of_whole_trials(x, initial, decay), expected)


@pytest.mark.parametrize("solve", [linear_recurrence, by_doubling])
def test_the_first_decay_does_not_reach_the_last_step(solve):
    x, initial, resets, decay = make(6, th.float64, False)
    resets[:] = False
    resets[4] = True
    with th.no_grad():
        decay[0] = math.nan
    (gradient,) = th.autograd.grad(solve(x, initial, resets, decay)[4:].sum(), x)
    th.testing.assert_close(gradient[4:], th.stack((1 + decay[5], th.ones_like(decay[5]))))


def test_no_steps_are_refused():
    for name in ("linear", "sum", "max", "softmax"):
        with pytest.raises(ValueError, match="T = 0 steps, wanted at least one"):
            RECURRENCES[name](th.zeros(0, B, S), th.zeros(B, S), th.zeros(0, B, dtype=th.bool), th.zeros(0, B, S))


def test_logarithmic_scan_takes_logarithmically_many_operations():
    """Twice the steps, one more level: the number of operations grows by a constant."""

    def count(n_steps):
        x, initial, resets, decay = make(n_steps, th.float64, False)
        with th.profiler.profile(activities=[th.profiler.ProfilerActivity.CPU]) as profile, th.no_grad():
            _solve_by_doubling(x, decay, initial, resets)
        return sum(event.count for event in profile.key_averages() if event.key == "aten::addcmul")

    assert [count(n_steps) for n_steps in (64, 128, 256)] == [13, 15, 17]


def stretches(draw_decay, draw_offset, has_reset):
    return Stretch(
        th.tensor(draw_decay, dtype=th.float64), th.tensor(draw_offset, dtype=th.float64), th.tensor(has_reset)
    )


NUMBERS = st.floats(-2, 2, allow_subnormal=False)
STRETCHES = st.builds(stretches, NUMBERS, NUMBERS, st.booleans())


@few_examples
@given(first=STRETCHES, second=STRETCHES, third=STRETCHES, state=NUMBERS)
def test_composition_is_associative(first, second, third, state):
    left = compose(compose(first, second), third)
    right = compose(first, compose(second, third))
    assert left.has_reset == right.has_reset
    th.testing.assert_close(left[:2], right[:2])
    state = th.tensor(state, dtype=th.float64)
    th.testing.assert_close(left.after(state), right.after(state))
    one_by_one = third.after(second.after(first.after(state)))
    th.testing.assert_close(left.after(state), one_by_one)


def test_composition_is_not_commutative():
    first, second = stretches(0.5, 1.0, False), stretches(2.0, 0.0, False)
    assert compose(first, second).offset != compose(second, first).offset
