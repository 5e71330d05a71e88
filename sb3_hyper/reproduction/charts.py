"""Learning curves and adaptation curves of all methods in one environment, with both intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sb3_hyper.bootstrap import CONFIDENCES, IntervalEstimate
from sb3_hyper.plotting import COLORS, MUTED_COLOR, TEXT_COLOR, draw_references, dress_axes
from sb3_hyper.reproduction.results import Cell

Line: TypeAlias = tuple[Sequence[float], Sequence[IntervalEstimate]]
"""Places on the horizontal axis, and what was found there."""

_OPACITIES = dict(zip(CONFIDENCES, (0.3, 0.12), strict=True))
_WIDTHS = dict(zip(CONFIDENCES, (4.5, 1.5), strict=True))
_INTERVALS = " and ".join(f"{confidence:.0%}" for confidence in CONFIDENCES)


def learning_curves(cells: Sequence[Cell]) -> Figure:
    """
    Draw returns per trial against frames.

    :param cells: the methods' results in one environment
    :return: a figure with an Agg canvas
    """

    def line(cell: Cell) -> Line:
        return [frames / 1e6 for frames in cell.curve.frames], cell.curve.estimates

    figure, axes = _start(cells, f"while exploring; IQM over seeds with {_INTERVALS} intervals over seeds")
    axes.set_xlabel("million frames", color=TEXT_COLOR)
    axes.set_ylabel("return per trial", color=TEXT_COLOR)
    _draw(axes, cells, line, marker="")
    axes.set_xlim(0, max(cell.frames for cell in cells) / 1e6)
    # Of a short training the labels are long.
    axes.locator_params(axis="x", nbins=6)
    draw_references(axes, cells[0].statistics.reference_returns, 1)
    return figure


def adaptation_curves(cells: Sequence[Cell]) -> Figure:
    """
    Draw mean returns per episode of the trial, on the test trials.

    Not interquartile means: where an episode is won or lost, those are perfect as soon as three in four are won.

    :param cells: the methods' results in one environment
    :return: a figure with an Agg canvas
    """
    n_episodes = cells[0].statistics.n_episodes

    def line(cell: Cell) -> Line:
        # Beside each other: intervals of methods that do alike would hide each other.
        shift = 0.06 * (cells.index(cell) - (len(cells) - 1) / 2)
        return [k + 1 + shift for k in range(n_episodes)], cell.statistics.estimates["mean"][:-1]

    subtitle = f"{cells[0].statistics.n_tasks} test trials; mean with {_INTERVALS} intervals over seeds and trials"
    figure, axes = _start(cells, subtitle)
    axes.set_xlabel("episode of the trial", color=TEXT_COLOR)
    axes.set_ylabel("return of the episode", color=TEXT_COLOR)
    _draw(axes, cells, line, marker="o")
    axes.set_xticks(range(1, n_episodes + 1))
    axes.set_xlim(0.6, n_episodes + 0.4)
    draw_references(axes, cells[0].statistics.reference_returns, n_episodes)
    return figure


def _start(cells: Sequence[Cell], subtitle: str) -> tuple[Figure, Axes]:
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(7.6, 4.6), dpi=130, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(cells[0].environment, loc="left", fontsize=13, fontweight="bold", color=TEXT_COLOR, pad=24)
    axes.text(0, 1.035, subtitle, transform=axes.transAxes, fontsize=9.5, color=MUTED_COLOR)
    dress_axes(axes)
    return figure, axes


def _draw(axes: Axes, cells: Sequence[Cell], line: Callable[[Cell], Line], marker: str) -> None:
    """Bands along a curve of bins; bars at the marks of episodes."""
    for cell, color in zip(cells, cycle(COLORS), strict=False):
        x, estimates = line(cell)
        n_seeds = len(cell.folders)
        label = f"{cell.method.label} ({n_seeds} seed{'s' if n_seeds > 1 else ''})"
        axes.plot(x, [one.value for one in estimates], color=color, lw=1.8, marker=marker, zorder=4, label=label)
        for confidence in CONFIDENCES:
            low, high = (
                [one.intervals[confidence][0] for one in estimates],
                [one.intervals[confidence][1] for one in estimates],
            )
            if marker:
                axes.vlines(x, low, high, color=color, linewidth=_WIDTHS[confidence], alpha=0.6, zorder=3)
            else:
                axes.fill_between(x, low, high, color=color, alpha=_OPACITIES[confidence], linewidth=0, zorder=3)
    axes.legend(framealpha=0.9, edgecolor="none", fontsize=9, labelcolor=TEXT_COLOR, loc="best")
