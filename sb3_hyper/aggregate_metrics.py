"""What one number says about many runs and tasks: mean, interquartile mean, optimality gap, bottom quintile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Scores: TypeAlias = npt.NDArray[np.float64]
"""``(..., runs, tasks)``"""
Metric: TypeAlias = Callable[[Scores], Scores]
"""``(..., runs, tasks) -> (...)``"""


def mean(scores: Scores) -> Scores:
    """
    Average over all runs and tasks.

    :param scores: ``(..., runs, tasks)``
    :return: ``(...)``
    """
    return np.asarray(scores.mean(axis=(-2, -1)))


def interquartile_mean(scores: Scores) -> Scores:
    """
    Average the middle half of all R * N scores (Agarwal et al. 2021, "Deep RL at the Edge of the Statistical
    Precipice", section 4.3).

    A quarter of the scores, rounded down, is left out at either end, as in ``scipy.stats.trim_mean`` and rliable.

    :param scores: ``(..., runs, tasks)``
    :return: ``(...)``
    """
    ordered = _in_order(scores)
    n_cut = ordered.shape[-1] // 4
    return np.asarray(ordered[..., n_cut : ordered.shape[-1] - n_cut].mean(axis=-1))


def bottom_quintile(scores: Scores) -> Scores:
    """
    Average the lowest fifth of all R * N scores, rounded up: what happens where it goes wrong.

    :param scores: ``(..., runs, tasks)``
    :return: ``(...)``
    """
    ordered = _in_order(scores)
    return np.asarray(ordered[..., : -(-ordered.shape[-1] // 5)].mean(axis=-1))


def optimality_gap(scores: Scores) -> Scores:
    r"""
    Say by how much runs fall short of the best known policy, in shares of its lead over the random one.

    :math:`\frac{1}{R} \sum_r \max(0, 1 - \frac{1}{N} \sum_n x_{rn})` of normalised scores: Agarwal et al. 2021, section
    4.3, with :math:`\gamma = 1`. What is a "task" there, with a reference point of its own, is a whole task
    distribution here, so scores are averaged over its tasks before they are clipped. Else the best policy had a gap
    itself, as it gets less than its mean on half of the tasks.

    :param scores: ``(..., runs, tasks)`` of :func:`normalize`
    :return: ``(...)`` at least 0
    """
    return np.asarray(np.maximum(1.0 - scores.mean(axis=-1), 0.0).mean(axis=-1))


METRICS: dict[str, Metric] = {
    "mean": mean,
    "iqm": interquartile_mean,
    "bottom_quintile": bottom_quintile,
    "optimality_gap": optimality_gap,
}
"""Name -> metric."""
OF_NORMALIZED_SCORES = frozenset({"optimality_gap"})
"""Metrics that are given scores between the random policy's 0 and the best one's 1."""


def _in_order(scores: Scores) -> Scores:
    # (..., R, N) -> (..., R * N)
    return np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)


def best_reference(reference_returns: Mapping[str, float]) -> str | None:
    """
    Choose the reference point that counts as 1.

    :param reference_returns: mean returns per trial of known policies
    :return: "good", the best known policy that is not told the task; where it is not listed, the name of the largest
        return; None where nothing is known to be better than "random"
    """
    others = {name: value for name, value in reference_returns.items() if name != "random"}
    if "random" not in reference_returns or not others:
        return None
    name = "good" if "good" in others else max(others, key=others.__getitem__)
    return name if others[name] > reference_returns["random"] else None


def normalize(returns: Scores, reference_returns: Mapping[str, float]) -> Scores | None:
    r"""
    Put returns on the scale of the reference points: 0 is the random policy's, 1 the best known one's.

    :math:`\frac{x - x_\text{random}}{x_\text{best} - x_\text{random}}`

    :param returns: returns per trial, any shape
    :param reference_returns: mean returns per trial of known policies
    :return: scores of the same shape; None where :func:`best_reference` finds none
    """
    best = best_reference(reference_returns)
    if best is None:
        return None
    random = reference_returns["random"]
    return (returns - random) / (reference_returns[best] - random)
