"""Gradients and permutation distances along a sequence."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from sb3_hyper.analysis.figures.style import add_legend, check_results, draw_seeds, dress, make_figure
from sb3_hyper.analysis.gradients import GradientNorms
from sb3_hyper.analysis.permutations import PermutationDistances
from sb3_hyper.plotting import TEXT_COLOR

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
    figure = make_figure(12.4, 4.2)
    first, parameters, profile = figure.subplots(1, 3)
    for index, result in enumerate(results):
        draw_seeds(first, result.steps, result.first_input, index, result.name)
        draw_seeds(parameters, result.steps, result.parameters, index)
        _draw_profile(profile, result, index)
    dress(first, "Gradient to the first input", "step t", "‖∂ oₜ / ∂ input₀‖")
    dress(parameters, "Gradient to the parameters", "step t", "‖∂ oₜ / ∂ parameters‖")
    last = max(int(result.steps.max()) for result in results)
    dress(profile, f"Gradient to every input, t = {last}", "step s of the input", "‖∂ oₜ / ∂ inputₛ‖")
    for axes in (first, parameters, profile):
        axes.set_yscale("log")
        axes.set_xlim(left=-1)
    parameters.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    parameters.yaxis.set_major_formatter("{x:g}")
    parameters.yaxis.set_minor_formatter(NullFormatter())
    for axes in (first, profile):
        axes.set_ylim(bottom=_LOWEST)
    _say_where_lines_end(first, results)
    add_legend(figure, first, 6)
    return figure


def _say_where_lines_end(axes: Axes, results: tuple[GradientNorms, ...]) -> None:
    """Values at the last t of the lines that leave the axes at the bottom."""
    texts = []
    for result in results:
        last = int(result.steps.argmax())
        value = result.first_input[:, last].mean()
        if value < _LOWEST:
            texts.append(f"{result.name}: {value:.0e} at t = {result.steps[last]}")
    axes.text(0.97, 0.04, "\n".join(texts), transform=axes.transAxes, ha="right", fontsize=8.5, color=TEXT_COLOR)


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
    add_legend(figure, prefix, 3)
    return figure
