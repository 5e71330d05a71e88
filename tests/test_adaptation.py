"""What is made of returns: means, intervals, text and JSON."""

import json

import numpy as np
import pytest
from scipy.stats import bootstrap

from sb3_hyper.adaptation import AdaptationResult


@pytest.fixture
def returns():
    return np.random.default_rng(1).gamma(2.0, [[1.0, 3.0, 5.0]], size=(60, 3))


def make(returns, **settings):
    return AdaptationResult("TMazeLS-v0", "SplAggerPolicy", np.asarray(returns, float), True, 3, **settings)


@pytest.mark.parametrize("confidence", [0.68, 0.95])
def test_intervals_are_scipys(returns, confidence):
    result = make(returns, confidence=confidence)
    samples = [*returns.T, returns.sum(axis=1)]
    for estimate, sample in zip([*result.episodes, result.trial], samples, strict=True):
        expected = bootstrap(
            (sample,), np.mean, confidence_level=confidence, method="percentile", n_resamples=20_000, rng=0
        ).confidence_interval
        width = expected.high - expected.low
        assert estimate.mean == pytest.approx(sample.mean())
        assert estimate.low == pytest.approx(expected.low, abs=0.06 * width)
        assert estimate.high == pytest.approx(expected.high, abs=0.06 * width)


def test_trials_are_resampled_whole():
    # The episodes of a trial cancel out: its return is certain, though each episode's is not.
    sign = np.random.default_rng(0).choice([-1.0, 1.0], size=(50, 1))
    result = make(np.hstack((sign, -sign)))
    assert result.trial == (0.0, 0.0, 0.0)
    assert result.episodes[0].high - result.episodes[0].low > 0.3


def test_the_same_returns_give_the_same_interval(returns):
    assert make(returns).trial == make(returns).trial


def test_json_holds_everything(returns):
    result = make(returns, reference_returns={"random": 2.0})
    read = json.loads(result.to_json())
    assert AdaptationResult(
        read["environment"], read["policy"], np.array(read["returns"]), read["deterministic"], read["seed"]
    ).episodes == [tuple(estimate.values()) for estimate in read["episodes"]]
    assert (read["n_trials"], read["n_episodes"], read["confidence"]) == (60, 3, 0.95)
    assert read["trial"] == result.trial._asdict() and read["reference_returns"] == {"random": 2.0}


def test_the_table_shows_means_intervals_and_references():
    result = make([[1.0, 3.0], [1.0, 3.0]], reference_returns={"no_memory": 2.0})
    assert result.table().splitlines() == [
        "TMazeLS-v0, SplAggerPolicy: 2 trials, likeliest actions",
        "",
        "episode      mean return   95% interval",
        "1                   1.00   [1.00, 1.00]",
        "2                   3.00   [3.00, 3.00]",
        "trial               4.00   [4.00, 4.00]",
        "",
        "known, per trial",
        "no memory           2.00",
    ]


def test_one_episode_is_the_trial():
    assert [line.split()[0] for line in make([[1.0], [2.0]]).table().splitlines()[2:]] == ["episode", "trial"]


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (4,)])
def test_empty_tables_are_refused(shape):
    with pytest.raises(ValueError, match="wanted \\(n_trials, n_episodes\\)"):
        make(np.zeros(shape))


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_impossible_confidences_are_refused(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        make([[1.0]], confidence=confidence)
