"""The figures of Beck et al. 2024 (SplAgger, section 6), to compare with."""

from __future__ import annotations

from typing import NamedTuple

from sb3_hyper.analysis.gradients import GradientNorms
from sb3_hyper.analysis.permutations import PermutationDistances
from sb3_hyper.analysis.result import Array, Steps, format_row

STEPS = (0, 1, 10, 50, 99)

FIRST_INPUT = {
    "RNNHNPolicy": (0.42, 0.21, 2.4e-3, 3.6e-11, 1.7e-20),
    "AMRLPolicy": (0.42, 0.48, 0.64, 0.64, 0.64),
    "SplAggerPolicy": (0.36, 0.25, 0.11, 0.042, 0.026),
}
"""Norm of d o_t / d input_0."""

PARAMETERS = {
    "RNNHNPolicy": (11.0, 13.0, 13.0, 14.0, 13.0),
    "AMRLPolicy": (11.0, 14.0, 40.0, 137.0, 248.0),
    "SplAggerPolicy": (10.0, 12.0, 14.5, 17.5, 18.3),
}
"""Norm of d o_t / d parameters."""

PERMUTATION = {
    "RNNHNPolicy": (0.0, 0.2, 0.96, 1.2, 1.2),
    "SplAggerPolicy": (0.0, 0.2, 0.66, 0.58, 0.60),
    "AMRLPolicy": (0.0, 0.2, 0.66, 0.58, 0.60),
    "MaxPolicy": (0.0, 0.0, 0.0, 0.0, 0.0),
}
"""Distance of normalised outputs under a permutation of the prefix."""


class Comparison(NamedTuple):
    """
    One published row and ours.

    :param quantity: what is measured
    :param name: the policy
    :param published: at ``STEPS``
    :param measured: at ``STEPS``, mean over seeds
    :param deviation: at ``STEPS``, standard deviation between seeds
    """

    quantity: str
    name: str
    published: tuple[float, ...]
    measured: tuple[float, ...]
    deviation: tuple[float, ...]


def compare_gradients(results: list[GradientNorms]) -> list[Comparison]:
    """
    Put our gradients beside the published ones.

    :param results: at steps that include ``STEPS``
    :return: a comparison for each published row
    """
    rows = []
    for quantity, table in (("d o_t / d input 0", FIRST_INPUT), ("d o_t / d parameters", PARAMETERS)):
        for result in results:
            measured = result.first_input if table is FIRST_INPUT else result.parameters
            if result.name in table:
                rows.append(Comparison(quantity, result.name, table[result.name], *_at_steps(measured, result.steps)))
    return rows


def compare_permutations(results: list[PermutationDistances]) -> list[Comparison]:
    """
    Put our permutation distances beside the published ones.

    :param results: at steps that include ``STEPS``
    :return: a comparison for each published row
    """
    return [
        Comparison(
            "permutation distance", result.name, PERMUTATION[result.name], *_at_steps(result.prefix, result.steps)
        )
        for result in results
        if result.name in PERMUTATION
    ]


def _at_steps(values: Array, steps: Steps) -> tuple[tuple[float, ...], tuple[float, ...]]:
    chosen = values[:, [steps.tolist().index(t) for t in STEPS]]
    return tuple(chosen.mean(axis=0).tolist()), tuple(chosen.std(axis=0).tolist())


def comparison_table(rows: list[Comparison]) -> str:
    """
    Lay out published and measured rows under each other.

    :param rows: the comparisons
    :return: lines without a final line break
    """
    lines = [format_row("t =", STEPS)]
    for quantity, name, published, measured, deviation in rows:
        lines += [f"{quantity}, {name}", format_row("  published", published)]
        lines += [format_row("  measured", measured), format_row("  deviation between seeds", deviation)]
    return "\n".join(lines)
