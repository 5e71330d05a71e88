"""Metrics on matrices that were computed by hand, against scipy, and what must not change them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import trim_mean

from sb3_hyper.aggregate_metrics import (
    METRICS,
    OF_NORMALIZED_SCORES,
    best_reference,
    bottom_quintile,
    interquartile_mean,
    mean,
    normalize,
    optimality_gap,
)
from sb3_hyper.envs import TASK_DISTRIBUTIONS

BY_HAND = np.array([[1.0, 9.0, 2.0, 3.0], [4.0, -5.0, 6.0, 20.0]])
"""In order: -5 1 | 2 3 4 6 | 9 20; the lowest two are a fifth of eight, rounded up."""
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 6))
SCORES = SHAPES.flatmap(lambda shape: arrays(float, shape, elements=st.integers(-100, 100).map(float)))


def test_by_hand():
    assert mean(BY_HAND) == 5.0
    assert interquartile_mean(BY_HAND) == (2 + 3 + 4 + 6) / 4
    assert bottom_quintile(BY_HAND) == (-5 + 1) / 2
    # The runs' means are 0.5 and 1.5: the second leaves no gap, though one of its scores is 0.9.
    assert optimality_gap(np.array([[0.2, 0.8], [0.9, 2.1]])) == pytest.approx(0.25)
    assert interquartile_mean(np.array([[7.0]])) == bottom_quintile(np.array([[7.0]])) == 7.0


@given(SCORES)
def test_against_other_implementations(scores):
    assert interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25, axis=None))
    lowest = sorted(scores.ravel().tolist())[: int(np.ceil(scores.size / 5))]
    assert bottom_quintile(scores) == pytest.approx(sum(lowest) / len(lowest))
    gaps = [max(0.0, 1 - sum(run) / len(run)) for run in scores.tolist()]
    assert optimality_gap(scores) == pytest.approx(sum(gaps) / len(gaps))


@pytest.mark.parametrize("name", METRICS)
@given(scores=SCORES, random=st.randoms(use_true_random=False))
def test_the_order_of_runs_and_tasks_does_not_matter(name, scores, random):
    rows, columns = (random.sample(range(n), n) for n in scores.shape)
    assert METRICS[name](scores[rows][:, columns]) == pytest.approx(METRICS[name](scores))


@pytest.mark.parametrize("name", sorted(METRICS.keys() - OF_NORMALIZED_SCORES))
@given(scores=SCORES, scale=st.integers(0, 50), shift=st.integers(-50, 50))
def test_another_unit_gives_the_same_number_in_that_unit(name, scores, scale, shift):
    assert METRICS[name](scale * scores + shift) == pytest.approx(scale * METRICS[name](scores) + shift)


@given(SCORES, st.integers(1, 20), st.integers(-50, 50))
def test_the_gap_does_not_depend_on_the_unit(returns, scale, shift):
    references = {"random": -3.0, "good": 40.0}
    moved = {name: scale * value + shift for name, value in references.items()}
    gaps = [optimality_gap(normalize(*pair)) for pair in ((returns, references), (scale * returns + shift, moved))]
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-9) and gaps[0] >= 0


@pytest.mark.parametrize("name", METRICS)
def test_leading_axes_are_kept_apart(name):
    scores = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    values = METRICS[name](scores)
    assert values.shape == (2, 3)
    assert values[1, 2] == METRICS[name](scores[1, 2])


def test_which_policy_counts_as_one():
    assert best_reference({"random": 2.0, "no_memory": 9.0, "good": 16.0, "knows_task": 20.0}) == "good"
    assert best_reference({"random": -4.0, "sweep": 3.0, "knows_task": 5.0}) == "knows_task"
    for unknown in ({}, {"random": 1.0}, {"good": 3.0}, {"random": 3.0, "good": 3.0}):
        assert best_reference(unknown) is None and normalize(BY_HAND, unknown) is None
    np.testing.assert_allclose(normalize(np.array([2.0, 9.0, 16.0]), {"random": 2.0, "good": 16.0}), [0.0, 0.5, 1.0])


@pytest.mark.parametrize("env_id", TASK_DISTRIBUTIONS)
def test_every_environment_that_knows_a_policy_better_than_random_has_a_scale(env_id):
    references = TASK_DISTRIBUTIONS[env_id].reference_returns
    assert (best_reference(references) is not None) == (set(references) > {"random"})
