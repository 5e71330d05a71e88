"""Learning curves on monitor files whose numbers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_hyper.reproduction.curves import MOST_BINS, learning_curve, mean_returns, read_trials


def write_run(folder, *environments):
    """``environments``: for each, the (return, length) of its trials."""
    folder.mkdir(parents=True)
    for number, trials in enumerate(environments):
        lines = ['#{"t_start": 1.5}', "r,l,t,is_success", *(f"{r},{length},0.5,True" for r, length in trials)]
        (folder / f"{number}.monitor.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_trial_ends_after_its_environments_steps_times_their_number(tmp_path):
    run = write_run(tmp_path / "run", [(1, 10), (2, 20)], [(3, 15)])
    assert read_trials(run).tolist() == [[20, 1], [60, 2], [30, 3]]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no monitor files"):
        read_trials(tmp_path / "empty")


@given(
    st.lists(st.tuples(st.integers(1, 1100), st.integers(-9, 9)), min_size=1, max_size=30),
    st.integers(1, 7),
)
def test_bins_are_those_of_a_loop(trials, n_bins):
    edges = np.linspace(0, 1000, n_bins + 1)
    bins = [[] for _ in range(n_bins)]
    for end, value in trials:
        place = next((k for k in range(n_bins) if end <= edges[k + 1]), n_bins - 1)
        bins[place].append(value)
    twin = [np.mean(values) if values else np.nan for values in bins]
    np.testing.assert_allclose(mean_returns(np.array(trials, float), edges), twin)


def test_a_curve_over_seeds(tmp_path):
    runs = [
        write_run(tmp_path / str(seed), [(seed, 50), (seed + 6, 50)], [(seed, 50), (seed, 50)]) for seed in (0, 1, 5)
    ]
    curve = learning_curve(runs, frames=200)
    assert curve.frames == (50, 150)
    assert [one.value for one in curve.estimates] == pytest.approx([2, 5])
    assert curve.estimates[0].intervals[0.95] == (0, 5)
    low, high = curve.estimates[0].intervals[0.68]
    assert 0 < low < 2 < high < 5


def test_a_bin_without_trials_of_some_seed_is_left_out(tmp_path):
    regular = write_run(tmp_path / "regular", [(1, 25)] * 4)
    late = write_run(tmp_path / "late", [(1, 60), (1, 10), (1, 20), (1, 10)])
    assert learning_curve([regular, late], frames=100).frames == (62.5, 87.5)


def test_many_trials_make_no_more_bins(tmp_path):
    run = write_run(tmp_path / "run", [(k, 2) for k in range(500)])
    curve = learning_curve([run], frames=1000)
    assert len(curve.frames) == MOST_BINS
    assert [one.value for one in curve.estimates] == sorted(one.value for one in curve.estimates)
    assert curve.estimates[3].intervals[0.95] == (curve.estimates[3].value,) * 2
