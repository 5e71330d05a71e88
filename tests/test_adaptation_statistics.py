"""Statistics over runs x tasks x episodes: numbers by hand, the table, files, and what does not belong together."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.adaptation_statistics import AdaptationStatistics
from sb3_hyper.aggregate_metrics import METRICS

REFERENCES = {"random": 2.0, "good": 12.0}


def make(returns, runs=None, **changes):
    returns = np.asarray(returns, float)
    names = tuple(f"run {i}" for i in range(len(returns))) if runs is None else runs
    tasks = tuple((float(i % 2),) for i in range(returns.shape[1]))
    known = {"tasks": tasks, "distribution": "Toy()", "deterministic": True, "seed": 0, **changes}
    return AdaptationStatistics("Toy-v0", "RNNPolicy", names, returns, **known)


def values(result, name):
    return [one.value for one in result.estimates[name]]


def test_by_hand():
    # Two runs, four tasks, two episodes.
    first = [[0, 4], [2, 6], [4, 4], [2, 2]]
    second = [[6, 8], [8, 8], [2, 6], [0, 2]]
    result = make([first, second], reference_returns=REFERENCES)
    assert (result.n_runs, result.n_tasks, result.n_episodes) == (2, 4, 2)
    # In order: 0 0 | 2 2 2 4 | 6 8, then 2 2 | 4 4 6 6 | 8 8, then 2 4 | 4 8 8 8 | 14 16.
    assert values(result, "mean") == [3.0, 5.0, 8.0]
    assert values(result, "iqm") == [2.5, 5.0, 7.0]
    assert values(result, "bottom_quintile") == [0.0, 2.0, 3.0]
    # Runs' means per trial 6 and 10, of which 0.4 and 0.8 of the way; doubled episodes 4 and 8, then 8 and 12.
    assert values(result, "optimality_gap") == pytest.approx([(0.8 + 0.4) / 2, (0.4 + 0.0) / 2, (0.6 + 0.2) / 2])


def test_intervals_hold_the_value_and_nest():
    result = make(np.random.default_rng(0).normal(size=(4, 30, 3)), reference_returns=REFERENCES)
    assert set(result.estimates) == set(METRICS)
    for estimates in result.estimates.values():
        assert len(estimates) == 4
        for value, intervals in estimates:
            (low_95, high_95), (low_68, high_68) = intervals[0.95], intervals[0.68]
            assert low_95 < low_68 <= value <= high_68 < high_95


def test_one_bad_seed_widens_the_interval_unless_runs_are_drawn_for_each_task():
    returns = np.full((3, 100, 1), 16.0)
    returns[0] = 2.0
    crossed, stratified = (make(returns, resampling=name).estimates["mean"][-1] for name in ("crossed", "stratified"))
    assert crossed.intervals[0.95] == pytest.approx((2.0, 16.0), abs=5.0)
    assert stratified.intervals[0.95] == pytest.approx((11.3, 11.3), abs=1.0)


def test_no_gap_without_a_scale_and_successes_where_there_are_some():
    returns = np.zeros((2, 3, 2))
    assert "optimality_gap" not in make(returns).estimates and "success_rate" not in make(returns).estimates
    successes = returns.copy()
    successes[:, :, 1] = [[1, 1, 0], [1, 0, 0]]
    assert values(make(returns, successes=successes), "success_rate") == [0.0, 0.5, 0.25]


def test_trials_of_one_task():
    returns = np.arange(8.0).reshape(1, 4, 2)
    by_task = make(returns).by_task()
    assert list(by_task) == [(0.0,), (1.0,)]
    np.testing.assert_array_equal(by_task[1.0,], returns[:, [1, 3]])
    assert make(returns, tasks=()).by_task() == {}


def test_the_table():
    result = make(np.full((2, 4, 2), 6.0), reference_returns=REFERENCES)
    certain = "   [6.00, 6.00]           [6.00, 6.00]"
    lines = result.table().splitlines()
    assert lines[:7] == [
        "Toy-v0, RNNPolicy: 2 runs x 4 trials, likeliest actions",
        "",
        "episode          value   68% interval           95% interval",
        "mean",
        "  1               6.00" + certain,
        "  2               6.00" + certain,
        "  trial          12.00   [12.00, 12.00]         [12.00, 12.00]",
    ]
    assert [line for line in lines if line and not line.startswith(" ")][2:] == [
        "mean",
        "IQM",
        "bottom quintile",
        "optimality gap, from good (0) to random (1)",
        "task                      trials   mean return",
        "0                              2         12.00",
        "1                              2         12.00",
        "known, per trial, over all tasks",
        "random                      2.00",
        "good                       12.00",
    ]
    assert "1 run x 1 trial, sampled actions" in make([[[1.0]]], deterministic=False).table()
    assert "  1 " not in make([[[1.0]]]).table() and "task  " not in make([[[1.0, 2.0]]]).table()


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_what_is_saved_is_loaded(tmp_path_factory, n_runs, n_tasks, n_episodes, with_successes):
    returns = np.random.default_rng(0).normal(size=(n_runs, n_tasks, n_episodes))
    successes = (returns > 0).astype(float) if with_successes else None
    result = make(returns, reference_returns=REFERENCES, successes=successes, resampling="stratified")
    path = tmp_path_factory.mktemp("statistics") / "new" / "result.json"
    result.save(path)
    loaded = AdaptationStatistics.load(path)
    assert loaded.to_json() == result.to_json() and loaded.table() == result.table()
    np.testing.assert_array_equal(loaded.returns, returns)
    written = json.loads(path.read_text())["metrics"]
    for name, estimates in result.estimates.items():
        assert [row["value"] for row in (*written[name]["episodes"], written[name]["trial"])] == values(result, name)
        assert tuple(written[name]["trial"]["95%"]) == estimates[-1].intervals[0.95]


@pytest.mark.parametrize("text", ["{", "[]", '{"environment": "Toy-v0"}'])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError, match=r"not what AdaptationStatistics.save writes.*Wanted a JSON object with"):
        AdaptationStatistics.load(tmp_path / "other.json")


def test_runs_are_joined():
    random = np.random.default_rng(0)
    parts = [make(random.normal(size=(n, 5, 2)), runs=tuple(f"{n}.{i}" for i in range(n))) for n in (1, 2)]
    joined = AdaptationStatistics.join(parts)
    assert joined.runs == ("1.0", "2.0", "2.1")
    np.testing.assert_array_equal(joined.returns, np.concatenate([part.returns for part in parts]))
    assert AdaptationStatistics.join([joined]).table() == joined.table()
    with_successes = [replace(part, successes=np.ones_like(part.returns)) for part in parts]
    assert AdaptationStatistics.join(with_successes).successes.shape == (3, 5, 2)
    assert AdaptationStatistics.join([parts[0], with_successes[1]]).successes is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"environment": "Other-v0"}, "differ in their environment: 'Toy-v0' and 'Other-v0'"),
        ({"policy": "RNNHNPolicy"}, "differ in their policy"),
        ({"distribution": "Toy(size=3)"}, "differ in their distribution"),
        ({"tasks": ((0.0,), (2.0,))}, "differ in their tasks"),
        ({"seed": 1}, "differ in their seed"),
        ({"deterministic": False}, "differ in their deterministic"),
        ({"returns": np.zeros((1, 2, 3))}, "different numbers"),
        ({"runs": ("run 0",)}, "Runs run 0 are there twice"),
    ],
)
def test_what_does_not_belong_together_is_not_joined(change, message):
    first = make(np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match=message):
        AdaptationStatistics.join([first, replace(first, **{"runs": ("another",), **change})])


def test_what_is_no_result_is_refused():
    with pytest.raises(ValueError, match="at least one result"):
        AdaptationStatistics.join([])
    for shape in ((2, 3), (0, 2, 2), (2, 2, 0)):
        with pytest.raises(ValueError, match=r"wanted \(runs, tasks, episodes\)"):
            make(np.zeros(shape), tasks=())
    with pytest.raises(ValueError, match="not finite"):
        make([[[np.nan]]])
    with pytest.raises(ValueError, match="Got 1 names of runs and 2 tasks for returns of shape"):
        make(np.zeros((2, 2, 1)), runs=("one",))
    with pytest.raises(ValueError, match="Got 2 names of runs and 1 tasks"):
        make(np.zeros((2, 2, 1)), tasks=((1.0,),))
    with pytest.raises(ValueError, match="successes has the shape"):
        make(np.zeros((2, 2, 1)), successes=np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="Unknown resampling 'bca'"):
        make(np.zeros((1, 1, 1)), resampling="bca")
