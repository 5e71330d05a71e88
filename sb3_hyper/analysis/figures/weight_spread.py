"""Generated networks as points, coloured by their tasks, and their spectrum."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sb3_hyper.analysis.figures.style import MARKERS, dress, look_of, make_figure
from sb3_hyper.analysis.weight_spread import WeightSpread
from sb3_hyper.plotting import COLORS, MUTED_COLOR, TEXT_COLOR

_N_COMPONENTS = 10
_MOST_CLASSES = 8
_SMALLEST_SHARE = 1e-4

RGB = npt.NDArray[np.float64]


def weight_spread_figure(result: WeightSpread) -> Figure:
    """
    Draw the first two principal components for each chosen step, and the share of each component in the variance.

    Up to eight different tasks get a colour and a marker each; other tasks are coloured by their first two numbers.

    :param result: the spread
    :return: the figure; all panels of components share their scale
    """
    n_steps = len(result.steps)
    figure = make_figure(3.1 * (n_steps + 1) + 0.6, 4.0)
    *panels, spectrum = figure.subplots(1, n_steps + 1)
    # Where nothing is spread, any scale will do.
    bound = 1.12 * float(np.abs(result.scores).max()) or 1.0
    for index, (axes, share) in enumerate(zip(panels, result.explained(), strict=True)):
        _draw_points(axes, result, index)
        labels = (f"component {i + 1} ({value:.0%})" for i, value in enumerate(share[:2]))
        dress(axes, _step_name(result.steps[index]), *labels)
        axes.set(xlim=(-bound, bound), ylim=(-bound, bound), box_aspect=1)
    _explain_tasks(panels[0], result.tasks)
    _draw_spectrum(spectrum, result)
    figure.suptitle(
        f"Generated base networks, {result.environment}, {result.policy}: {len(result.tasks)} trials, "
        f"mean return {result.mean_return:.2f}",
        x=0.01, ha="left", fontsize=12, fontweight="bold", color=TEXT_COLOR,
    )  # fmt: skip
    return figure


def _step_name(step: int) -> str:
    return "last step" if step < 0 else f"step {step}"


def _draw_spectrum(axes: Axes, result: WeightSpread) -> None:
    for index, shares in enumerate(result.explained()):
        look, shown = look_of(index), np.where(shares > 0, shares, np.nan)[:_N_COMPONENTS]
        axes.plot(
            np.arange(1, len(shown) + 1), shown, color=look.color, ls=look.line_style, marker="o", ms=5, lw=1.8,
            markeredgecolor="white", label=_step_name(result.steps[index]),
        )  # fmt: skip
    dress(axes, "spectrum", "component", "share of the variance")
    axes.set_yscale("log")
    axes.set(ylim=(_SMALLEST_SHARE, 1.5), box_aspect=1)
    axes.legend(frameon=False, fontsize=9, labelcolor=TEXT_COLOR)


def _draw_points(axes: Axes, result: WeightSpread, index: int) -> None:
    x, y = result.scores[index].T
    axes.axhline(0, color=MUTED_COLOR, lw=0.6, zorder=1)
    axes.axvline(0, color=MUTED_COLOR, lw=0.6, zorder=1)
    classes = np.unique(result.tasks, axis=0)
    if len(classes) > _MOST_CLASSES:
        colors = task_colors(result.tasks, result.tasks)
        axes.scatter(x, y, c=colors, s=26, edgecolors="white", linewidths=0.4, zorder=3)
        return
    for number, task in enumerate(classes):
        is_of_task = (result.tasks == task).all(axis=1)
        label = ", ".join(f"{value:g}" for value in task)
        axes.scatter(
            x[is_of_task], y[is_of_task], color=COLORS[number], marker=MARKERS[number], s=30, edgecolors="white",
            linewidths=0.4, zorder=3, label=label,
        )  # fmt: skip


def task_colors(tasks: npt.NDArray[np.float64], all_tasks: npt.NDArray[np.float64]) -> RGB:
    """
    Colours of tasks by their first two numbers, mixed between four corners; a second number is not needed.

    :param tasks: ``(N, task_dim)``
    :param all_tasks: ``(M, task_dim)`` what the corners are the range of
    :return: ``(N, 3)``
    """
    low, high = all_tasks.min(axis=0), all_tasks.max(axis=0)
    place = (tasks - low) / np.where(high > low, high - low, 1.0)
    u = place[:, :1]
    v = place[:, 1:2] if place.shape[1] > 1 else np.zeros_like(u)
    corners = np.array([[0.10, 0.30, 0.78], [0.86, 0.16, 0.36], [0.08, 0.66, 0.48], [0.99, 0.78, 0.12]])
    colors: RGB = (
        (1 - u) * (1 - v) * corners[0] + u * (1 - v) * corners[1] + (1 - u) * v * corners[2] + u * v * corners[3]
    )
    return colors


def _explain_tasks(axes: Axes, tasks: npt.NDArray[np.float64]) -> None:
    """The key to the colours, inside the first panel."""
    classes = np.unique(tasks, axis=0)
    if len(classes) <= _MOST_CLASSES:
        axes.legend(title="task", frameon=True, framealpha=0.85, edgecolor="none", fontsize=9, labelcolor=TEXT_COLOR)
        return
    key = axes.inset_axes((0.7, 0.64, 0.28, 0.28))
    rows = np.column_stack((classes, np.zeros(len(classes))))[:, :2]
    key.scatter(rows[:, 0], rows[:, 1], c=task_colors(classes, tasks), marker="s", s=26, linewidths=0)
    key.set_title("task", fontsize=8, color=TEXT_COLOR, pad=2)
    key.set_xticks(np.unique(rows[[0, -1], 0]))
    key.set_yticks([rows[:, 1].min(), rows[:, 1].max()])
    key.tick_params(labelsize=6, length=0, pad=1, colors=MUTED_COLOR)
    key.margins(0.15)
    for spine in key.spines.values():
        spine.set_color(MUTED_COLOR)
        spine.set_linewidth(0.6)
