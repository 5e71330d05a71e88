"""Bootstrap over runs and tasks: against rliable, against a loop, and how often the intervals hold the truth."""

import numpy as np
import pytest

from sb3_hyper.aggregate_metrics import METRICS, interquartile_mean, mean
from sb3_hyper.bootstrap import CONFIDENCES, RESAMPLINGS, bootstrap, draw_crossed, draw_stratified, estimate

SCORES = np.random.default_rng(3).gamma(2.0, 1.0, size=(4, 10)).round(2)
RLIABLE = {
    "mean": (2.1515, {0.95: (1.692, 2.65525), 0.68: (1.908, 2.39625)}),
    "iqm": (1.9, {0.95: (1.451, 2.4205125), 0.68: (1.665, 2.1555)}),
}
"""StratifiedBootstrap(SCORES, task_bootstrap=True) of rliable 1.2.0, 50,000 resamples, method "percentile"."""


@pytest.mark.parametrize("name", RLIABLE)
def test_stratified_intervals_are_rliables(name):
    value, intervals = RLIABLE[name]
    (ours,) = estimate(SCORES[None], METRICS[name], "stratified")
    assert ours.value == pytest.approx(value) and set(ours.intervals) == set(CONFIDENCES)
    for confidence, (low, high) in intervals.items():
        assert ours.intervals[confidence] == pytest.approx((low, high), abs=0.06 * (high - low))


@pytest.mark.parametrize("name", RESAMPLINGS)
def test_resamples_are_those_of_a_loop(name):
    n_runs, n_tasks = SCORES.shape
    random, values = np.random.default_rng(0), []
    for _ in range(20):
        rows, columns = RESAMPLINGS[name](random, n_runs, n_tasks)
        run_of = np.broadcast_to(rows, SCORES.shape)
        values.append(sum(SCORES[run_of[i, j], columns[0, j]] for i in range(n_runs) for j in range(n_tasks)) / 40)
    np.testing.assert_allclose(bootstrap(SCORES[None], mean, name, 20)[:, 0], values)


def test_whole_runs_are_drawn_or_runs_for_each_task():
    crossed, stratified = (draw(np.random.default_rng(0), 5, 30)[0] for draw in (draw_crossed, draw_stratified))
    assert crossed.shape == (5, 1) and stratified.shape == (5, 30)
    assert (stratified != stratified[:, :1]).any()


def test_columns_are_drawn_together():
    # Two episodes that cancel out: their sum is certain, though neither is.
    scores = np.random.default_rng(0).normal(size=(3, 20))
    both, sums = np.stack([scores, -scores]), np.zeros((1, 3, 20))
    resampled = bootstrap(np.concatenate([both, sums]), mean, n_resamples=50)
    np.testing.assert_allclose(resampled[:, 0], -resampled[:, 1], atol=1e-12)
    assert resampled[:, 0].std() > 0.01


def test_the_order_of_runs_hardly_matters_and_the_same_scores_give_the_same_interval():
    first, again, other = (estimate(scores[None], interquartile_mean)[0] for scores in (SCORES, SCORES, SCORES[::-1]))
    assert first == again
    for confidence in CONFIDENCES:
        assert other.intervals[confidence] == pytest.approx(first.intervals[confidence], abs=0.1)


def share_covered(name, run_std, n_runs, n_tasks, n_experiments=150):
    """How often the 95 % and 68 % intervals of a mean hold it; returns are run + task + noise."""
    random, held = np.random.default_rng(1), []
    for _ in range(n_experiments):
        runs, tasks = run_std * random.normal(size=(n_runs, 1)), random.normal(size=(1, n_tasks))
        resampled = bootstrap((runs + tasks + random.normal(size=(n_runs, n_tasks)))[None], mean, name, 200)
        bounds = np.percentile(resampled[:, 0], [2.5, 16, 84, 97.5])
        held.append((bounds[0] <= 0 <= bounds[3], bounds[1] <= 0 <= bounds[2]))
    return np.mean(held, axis=0)


@pytest.mark.parametrize(("run_std", "n_runs"), [(0.0, 1), (1.0, 10), (0.3, 10)])
def test_crossed_intervals_hold_the_truth_as_often_as_they_say(run_std, n_runs):
    of_95, of_68 = share_covered("crossed", run_std, n_runs, n_tasks=25)
    # Three standard errors of 150 experiments are 5 and 11 points; ten runs cost a few more.
    assert 0.86 <= of_95 <= 1.0 and 0.55 <= of_68 <= 0.82


def test_stratified_intervals_are_too_narrow_where_a_run_shares_its_network():
    assert share_covered("stratified", 2.0, 10, n_tasks=25)[0] < 0.7 < share_covered("crossed", 2.0, 10, n_tasks=25)[0]


def test_unknown_resamplings_are_refused():
    with pytest.raises(
        ValueError,
        match=r"Unknown resampling 'strata'. Did you mean 'stratified'\? Choose one of 'crossed', 'stratified'",
    ):
        bootstrap(SCORES[None], mean, "strata")
