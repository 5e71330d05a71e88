"""Learning curves from monitor files: return per trial against frames, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sb3_hyper.aggregate_metrics import METRICS
from sb3_hyper.bootstrap import IntervalEstimate, estimate

MOST_BINS = 40


@dataclass(frozen=True)
class LearningCurve:
    """
    Returns per trial while a method learned.

    :param frames: middle of each bin
    :param estimates: for each bin, the interquartile mean over seeds (of fewer than four: the mean) of the seeds' mean
        returns, with intervals over seeds
    """

    frames: tuple[float, ...]
    estimates: tuple[IntervalEstimate, ...]


def read_trials(run: Path) -> npt.NDArray[np.float64]:
    """
    Read when the trials of a run ended, and what they returned.

    The environments of a run step together: a trial's end is its own environment's steps times their number.

    :param run: RL-Zoo's folder of the run
    :return: ``(n_trials, 2)`` frames of the run and return per trial, environment by environment
    :raises FileNotFoundError: when there are no monitor files
    """
    files = sorted(run.glob("*.monitor.csv"))
    if not files:
        raise FileNotFoundError(f"{run} has no monitor files (*.monitor.csv), from which learning curves are drawn.")
    # A comment of JSON, then "r,l,t,...".
    rows = [np.loadtxt(file, delimiter=",", skiprows=2, usecols=(0, 1), ndmin=2) for file in files]
    return np.concatenate(
        [np.stack([steps.cumsum() * len(files), returns], axis=1) for returns, steps in map(np.transpose, rows)]
    )


def mean_returns(trials: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """
    Average the trials that end in each bin.

    :param trials: ``(n_trials, 2)`` of :func:`read_trials`
    :param edges: ``(n_bins + 1,)`` frames; trials after the last edge count as in the last bin
    :return: ``(n_bins,)``, NaN where no trial ended
    """
    n_bins = len(edges) - 1
    index = np.clip(np.digitize(trials[:, 0], edges[1:-1], right=True), 0, n_bins - 1)
    sums = np.bincount(index, trials[:, 1], n_bins)
    counts = np.bincount(index, minlength=n_bins)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def learning_curve(runs: Sequence[Path], frames: int) -> LearningCurve:
    """
    Draw up the learning curve of one method from its seeds.

    :param runs: RL-Zoo's folders of the runs, one for each seed
    :param frames: frames of a run
    :return: the curve, without bins in which some seed ended no trial
    :raises FileNotFoundError: when a run has no monitor files
    """
    trials = [read_trials(run) for run in runs]
    # Trials end at the same time in all environments: a bin must hold at least one round of them.
    n_bins = max(1, min(MOST_BINS, *(len(np.unique(one[:, 0])) for one in trials)))
    edges = np.linspace(0, frames, n_bins + 1)
    # (n_bins, seeds)
    returns = np.stack([mean_returns(one, edges) for one in trials], axis=1)
    known = ~np.isnan(returns).any(axis=1)
    if not known.any():
        return LearningCurve((), ())
    estimates = estimate(returns[known][..., None], METRICS["iqm"])
    return LearningCurve(tuple(((edges[1:] + edges[:-1]) / 2)[known].tolist()), tuple(estimates))
