"""One look for all figures: that of the adaptation curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sb3_hyper.analysis.result import AnalysisResult
from sb3_hyper.plotting import COLORS, GRID_COLOR, MUTED_COLOR, TEXT_COLOR

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LETTERS_PER_INCH = 13
_MARKER_SCALES = {"*": 1.6, "P": 1.2, "X": 1.2, "^": 1.1, "v": 1.1}
"""Markers of one size do not look equally large."""
LINE_STYLES = ("-", "--", ":", "-.")


class Look(NamedTuple):
    """
    What tells a line from the others.

    :param color: colour
    :param line_style: style of the line
    :param marker: what its points are marked with
    """

    color: str
    line_style: str
    marker: str


def look_of(index: int) -> Look:
    """
    How the lines of a figure are told apart: by colour and marker, and where colours come again by style as well.

    :param index: the line's number, from 0
    :return: its look; 32 lines differ in colour or style
    """
    n_cycles = index // len(COLORS)
    marker = MARKERS[(index + n_cycles) % len(MARKERS)]
    return Look(COLORS[index % len(COLORS)], LINE_STYLES[n_cycles % len(LINE_STYLES)], marker)


def make_figure(width: float, height: float) -> Figure:
    """
    Make an empty figure with an Agg canvas.

    :param width: inches
    :param height: inches
    :return: the figure
    """
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def check_results(results: Sequence[AnalysisResult]) -> None:
    """Raise ValueError where there is nothing to draw."""
    if not results:
        raise ValueError("There is nothing to draw: wanted at least one result.")


def dress(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """
    Give axes their title, labels and grid.

    :param axes: the axes
    :param title: stands on the left
    :param x_label: what runs to the right
    :param y_label: what runs upwards
    """
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=TEXT_COLOR, pad=10)
    axes.set_xlabel(x_label, color=TEXT_COLOR, fontsize=9.5)
    axes.set_ylabel(y_label, color=TEXT_COLOR, fontsize=9.5)
    axes.grid(axis="y", color=GRID_COLOR, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT_COLOR, labelsize=9, length=0, which="both")
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(MUTED_COLOR)


def draw_seeds(
    axes: Axes,
    x: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    index: int,
    label: str | None = None,
    with_markers: bool = True,
) -> None:
    """
    Draw the mean over seeds as a line, with a band from the smallest to the largest.

    A logarithmic axis has no place for 0: where the mean is 0 the line has a gap, where the smallest is the band has.

    :param axes: the axes, whose scale is that of the finished figure
    :param x: ``(S,)``
    :param values: ``(n_seeds, S)``
    :param index: picks the look
    :param label: for the legend
    :param with_markers: whether the points are marked
    """
    look, mean, low, high = look_of(index), values.mean(axis=0), values.min(axis=0), values.max(axis=0)
    if axes.get_yscale() == "log":
        mean, low = np.where(mean > 0, mean, np.nan), np.where(low > 0, low, np.nan)
    # Thinner from line to line, so that those below can be seen where they coincide.
    width = max(1.4, 2.6 - 0.3 * index) * (1.0 if with_markers else 0.75)
    size = (4.0 + width) * _MARKER_SCALES.get(look.marker, 1.0)
    axes.plot(
        x, mean, color=look.color, lw=width, ls=look.line_style, zorder=4, label=label,
        marker=look.marker if with_markers else None, ms=size, markeredgecolor="white", markeredgewidth=0.5,
    )  # fmt: skip
    if not with_markers:
        # Between two gaps there is no line.
        axes.plot(x, np.where(_is_alone(mean), mean, np.nan), ".", color=look.color, ms=2 * width, zorder=4)
    axes.fill_between(x, low, high, color=look.color, alpha=0.16, linewidth=0, zorder=3)


def _is_alone(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which values stand between two that are missing."""
    is_missing = np.isnan(np.concatenate(([np.nan], values, [np.nan])))
    alone: npt.NDArray[np.bool_] = is_missing[:-2] & is_missing[2:]
    return alone


def add_legend(figure: Figure, axes: Axes, n_columns: int, note: str = "") -> None:
    """
    Name the lines of these axes below the whole figure.

    :param figure: the figure
    :param axes: one of its axes, whose lines have labels
    :param n_columns: names side by side, at most
    :param note: what else is to be said, above the names
    """
    handles, labels = axes.get_legend_handles_labels()
    # A name takes about its letters and five more.
    fitting = int(figure.get_figwidth() * _LETTERS_PER_INCH / (max(map(len, labels)) + 5))
    n_rows = -(-len(labels) // max(1, min(n_columns, fitting)))
    columns = -(-len(labels) // n_rows)
    # Legends fill columns first; names shall be read row by row.
    order = [row * columns + column for column in range(columns) for row in range(n_rows)]
    order = [place for place in order if place < len(labels)]
    legend = figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", ncols=columns,
        frameon=False, fontsize=9.5, labelcolor=TEXT_COLOR, handlelength=2.8,
    )  # fmt: skip
    if note:
        legend.set_title(note, FontProperties(size=9))
        legend.get_title().set(color=MUTED_COLOR, multialignment="center")
