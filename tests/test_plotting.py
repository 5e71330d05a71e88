"""Adaptation curves: what is drawn, not how it looks."""

import subprocess
import sys

import numpy as np
import pytest

from sb3_hyper.adaptation import AdaptationResult
from sb3_hyper.plotting import adaptation_curve, save_adaptation_curve, spread

REFERENCES = {"random": 2.0, "no_memory": 2.0, "good": 16.0}


def make(policy="SplAggerPolicy", environment="TMazeLS-v0", n_episodes=4, **settings):
    returns = np.random.default_rng(0).normal(3, 1, (50, n_episodes))
    return AdaptationResult(environment, policy, returns, True, 0, **settings)


def test_means_bands_and_references_are_drawn():
    result = make(reference_returns=REFERENCES)
    axes = adaptation_curve(result).axes[0]
    curve, *references = axes.lines
    np.testing.assert_allclose(curve.get_xydata(), [[k, e.mean] for k, e in enumerate(result.episodes, start=1)])
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == min(e.low for e in result.episodes)
    assert band[:, 1].max() == max(e.high for e in result.episodes)
    assert [line.get_ydata()[0] for line in references] == [0.5, 4.0]
    texts = [text.get_text() for text in axes.texts]
    assert any(text.startswith("50 trials") for text in texts)
    assert {"random, no memory: mean 0.50", "good: mean 4.00"} <= set(texts)
    assert axes.get_title(loc="left") == "TMazeLS-v0, SplAggerPolicy"
    assert axes.get_xlabel() and axes.get_ylabel() and axes.get_xticks().tolist() == [1, 2, 3, 4]


def test_several_results_get_a_legend_and_colours_of_their_own():
    axes = adaptation_curve(make("SplAggerPolicy"), make("RNNPolicy")).axes[0]
    assert [text.get_text().split(",")[0] for text in axes.get_legend().get_texts()] == ["SplAggerPolicy", "RNNPolicy"]
    assert len({line.get_color() for line in axes.lines}) == 2
    assert axes.get_title(loc="left") == "TMazeLS-v0"


@pytest.mark.parametrize("results", [(), (make(), make(environment="GridNavi-v0"))])
def test_results_of_one_environment_are_wanted(results):
    with pytest.raises(ValueError, match="results of one environment"):
        adaptation_curve(*results)


@pytest.mark.parametrize("n_episodes", [1, 2, 20])
def test_a_file_is_written(tmp_path, n_episodes):
    save_adaptation_curve(tmp_path / "curve.png", make(n_episodes=n_episodes))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_pyplot_is_left_alone():
    code = "import sys, sb3_hyper.plotting; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_labels_keep_their_distance_and_order():
    assert spread([0.1, 0.5], 0.2) == [0.1, 0.5]
    assert spread([0.1, 0.15, 0.2, 0.9], 0.2) == pytest.approx([0.1, 0.3, 0.5, 0.9])
    assert spread([], 0.2) == []
