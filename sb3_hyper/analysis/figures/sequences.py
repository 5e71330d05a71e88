"""Gradients and permutation distances along a sequence."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from sb3_hyper.analysis.figures.style import add_legend, check_results, draw_seeds, dress, make_figure
from sb3_hyper.analysis.gradients import GradientNorms
from sb3_hyper.analysis.permutations import PermutationDistances

_LOWEST = 1e-6
"""Where the axis of the input gradients ends: below, a gradient is lost."""


def gradient_figure(*results: GradientNorms) -> Figure:
    """
    Draw three panels: input 0's gradient over t, the parameters' over t, and all inputs' at the last chosen t.

    :param results: one for each network
    :return: the figure; lines are means over seeds, bands reach from the smallest to the largest
    :raises ValueError: when there is none
    """
    check_results(results)
    figure = make_figure(12.4, 4.6)
    first, parameters, profile = figure.subplots(1, 3)
    for axes in (first, parameters, profile):
        axes.set_yscale("log")
    for index, result in enumerate(results):
        draw_seeds(first, result.steps, result.first_input, index, result.name)
        draw_seeds(parameters, result.steps, result.parameters, index)
        _draw_profile(profile, result, index)
    dress(first, "Gradient to the first input", "step t", "‖∂ oₜ / ∂ input₀‖")
    dress(parameters, "Gradient to the parameters", "step t", "‖∂ oₜ / ∂ parameters‖")
    lasts = {int(result.steps.max()) for result in results}
    at = f"t = {lasts.pop()}" if len(lasts) == 1 else "each line's last t"
    dress(profile, f"Gradient to every input, {at}", "step s of the input", "‖∂ oₜ / ∂ inputₛ‖")
    for axes in (first, parameters, profile):
        axes.set_xlim(left=-1)
    parameters.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    parameters.yaxis.set_major_formatter("{x:g}")
    parameters.yaxis.set_minor_formatter(NullFormatter())
    top = max(axes.get_ylim()[1] for axes in (first, profile))
    for axes in (first, profile):
        axes.set_ylim(_LOWEST, max(top, 10 * _LOWEST))
    add_legend(figure, first, 6, _notes(results))
    return figure


def _notes(results: tuple[GradientNorms, ...]) -> str:
    """What the axes do not show: values at the last t that lie below the first panel's, and what a gap stands for."""
    lasts = [(result, int(result.steps.argmax())) for result in results]
    values = {(result.name, result.steps[last]): result.first_input[:, last].mean() for result, last in lasts}
    lost = [f"{name} {value:.0e} at t = {t}" for (name, t), value in values.items() if 0 < value < _LOWEST]
    notes = [f"gradients to the first input below the axis: {', '.join(lost)}"] if lost else []
    shown = [result.first_input for result in results]
    shown += [result.inputs[:, last, : result.steps[last] + 1] for result, last in lasts]
    if any((norms == 0).any() for norms in shown):
        notes.append("where a line has a gap its gradient is 0, where a band has one that of a seed is")
    return "\n".join(line for note in notes for line in wrap(note, 150))


def _draw_profile(axes: Axes, result: GradientNorms, index: int) -> None:
    last = int(result.steps.argmax())
    t = int(result.steps[last])
    draw_seeds(axes, np.arange(t + 1), result.inputs[:, last, : t + 1], index, with_markers=False)


def permutation_figure(*results: PermutationDistances) -> Figure:
    """
    Draw two panels: the distance when the current transition takes part in the permutation, and when it stays.

    :param results: one for each network
    :return: the figure; lines are means over seeds, bands reach from the smallest to the largest
    :raises ValueError: when there is none
    """
    check_results(results)
    figure = make_figure(9.6, 4.2)
    prefix, past = figure.subplots(1, 2, sharey=True)
    for index, result in enumerate(results):
        draw_seeds(prefix, result.steps, result.prefix, index, result.name)
        draw_seeds(past, result.steps, result.past, index)
    dress(prefix, "Transitions 0 … t permuted", "step t", "distance of the normalised latents")
    dress(past, "Transitions 0 … t − 1 permuted", "step t", "")
    prefix.set_ylim(bottom=-0.03)
    add_legend(figure, prefix, 5)
    return figure
