"""Bootstrap intervals of what is measured over runs and tasks; all tasks of a run share its network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from sb3_hyper.aggregate_metrics import Metric, Scores
from sb3_hyper.errors import unknown_name

N_RESAMPLES = 2000
CONFIDENCES = (0.68, 0.95)

Indices: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
Draw: TypeAlias = Callable[[np.random.Generator, int, int], Indices]


class IntervalEstimate(NamedTuple):
    """
    A value and how sure we are of it.

    :param value: the value
    :param intervals: ``(low, high)`` by confidence
    """

    value: float
    intervals: dict[float, tuple[float, float]]


def draw_crossed(random: np.random.Generator, n_runs: int, n_tasks: int) -> Indices:
    """
    Draw whole runs, and tasks: the "pigeonhole bootstrap" (Owen 2007, Annals of Applied Statistics 1(2)).

    A run that is drawn twice is there twice on every task, since one network played them all. With one run this is
    the bootstrap over tasks.

    :param random: the generator
    :param n_runs: R
    :param n_tasks: N
    :return: rows ``(R, 1)`` and columns ``(1, N)``
    """
    return random.integers(n_runs, size=(n_runs, 1)), random.integers(n_tasks, size=(1, n_tasks))


def draw_stratified(random: np.random.Generator, n_runs: int, n_tasks: int) -> Indices:
    """
    Draw tasks, and for each of them runs of its own: Agarwal et al. 2021, section 4.2, with resampled tasks
    (rliable's ``StratifiedBootstrap(task_bootstrap=True)``).

    Right where every task was trained on for itself, as in their benchmarks. Where one network plays all tasks the
    intervals come out too narrow, as a good and a bad seed cancel out over the tasks.

    :param random: the generator
    :param n_runs: R
    :param n_tasks: N
    :return: rows ``(R, N)`` and columns ``(1, N)``
    """
    return random.integers(n_runs, size=(n_runs, n_tasks)), random.integers(n_tasks, size=(1, n_tasks))


RESAMPLINGS: dict[str, Draw] = {"crossed": draw_crossed, "stratified": draw_stratified}
"""Name -> how a resample is drawn."""


def find_resampling(name: str) -> Draw:
    """
    Look up a way to resample.

    :param name: its name
    :return: what draws rows and columns
    :raises ValueError: when there is none of that name
    """
    if name not in RESAMPLINGS:
        raise unknown_name("resampling", name, RESAMPLINGS)
    return RESAMPLINGS[name]


def bootstrap(
    scores: Scores, metric: Metric, resampling: str = "crossed", n_resamples: int = N_RESAMPLES
) -> npt.NDArray[np.float64]:
    """
    Compute a metric of resamples.

    The draws start from a fixed seed: the same scores give the same values. Columns are drawn together, as the episodes
    of a trial are correlated.

    :param scores: ``(C, R, N)``: C columns, each of R runs and N tasks
    :param metric: the metric
    :param resampling: name of a way to resample
    :param n_resamples: number of resamples
    :return: ``(n_resamples, C)``
    :raises ValueError: when there is no such resampling
    """
    draw, random = find_resampling(resampling), np.random.default_rng(0)
    _, n_runs, n_tasks = scores.shape
    drawn = (draw(random, n_runs, n_tasks) for _ in range(n_resamples))
    # (C, R, N)[:, rows, columns] -> (C, R, N)
    return np.stack([metric(scores[:, rows, columns]) for rows, columns in drawn])


def estimate(scores: Scores, metric: Metric, resampling: str = "crossed") -> list[IntervalEstimate]:
    """
    Compute a metric with its percentile intervals at 68 % and 95 %.

    :param scores: ``(C, R, N)``
    :param metric: the metric
    :param resampling: name of a way to resample
    :return: C estimates
    :raises ValueError: when there is no such resampling
    """
    values, resampled = metric(scores), bootstrap(scores, metric, resampling)
    tails = [(50 * (1 - confidence), 50 * (1 + confidence)) for confidence in CONFIDENCES]
    # (n_resamples, C) -> (confidences, 2, C)
    bounds = np.percentile(resampled, tails, axis=0)
    return [
        IntervalEstimate(
            float(value),
            {
                confidence: (float(low), float(high))
                for confidence, (low, high) in zip(CONFIDENCES, column, strict=True)
            },
        )
        for value, column in zip(values, np.moveaxis(bounds, -1, 0), strict=True)
    ]
