"""The linear recurrence against its loop, and the algebra that its logarithmic scan rests on."""

import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st

from sb3_hyper.recurrences import (
    Stretch,
    _LinearRecurrence,
    _solve_by_doubling,
    _solve_in_blocks,
    compose,
    linear_recurrence,
)

B, S = 3, 2


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


@given(n_steps=st.integers(1, 40), seed=st.integers(0, 1000))
def test_both_solvers_agree_in_both_directions(n_steps, seed):
    x, initial, resets, decay = (part.detach() for part in make(n_steps, th.float64, False, seed))
    for backwards in (False, True):
        results = [solve(x, decay, initial, resets, backwards) for solve in (_solve_in_blocks, _solve_by_doubling)]
        th.testing.assert_close(*results)


def test_nothing_crosses_a_start():
    x, initial, resets, decay = make(10, th.float64, False)
    resets[:] = False
    resets[6] = True
    loss = linear_recurrence(x, initial, resets, decay)[6:].sum()
    for gradient in th.autograd.grad(loss, (x, decay)):
        assert th.count_nonzero(gradient[:6]) == 0
    assert th.count_nonzero(th.autograd.grad(linear_recurrence(x, initial, resets, decay)[6:].sum(), initial)[0]) == 0


def stretches(draw_decay, draw_offset, has_reset):
    return Stretch(
        th.tensor(draw_decay, dtype=th.float64), th.tensor(draw_offset, dtype=th.float64), th.tensor(has_reset)
    )


NUMBERS = st.floats(-2, 2, allow_subnormal=False)
STRETCHES = st.builds(stretches, NUMBERS, NUMBERS, st.booleans())


@given(first=STRETCHES, second=STRETCHES, third=STRETCHES, state=NUMBERS)
def test_composition_is_associative(first, second, third, state):
    left = compose(compose(first, second), third)
    right = compose(first, compose(second, third))
    assert left.has_reset == right.has_reset
    state = th.tensor(state, dtype=th.float64)
    th.testing.assert_close(left.after(state), right.after(state))
    one_by_one = third.after(second.after(first.after(state)))
    th.testing.assert_close(left.after(state), one_by_one)


def test_composition_is_not_commutative():
    first, second = stretches(0.5, 1.0, False), stretches(2.0, 0.0, False)
    assert compose(first, second).offset != compose(second, first).offset
