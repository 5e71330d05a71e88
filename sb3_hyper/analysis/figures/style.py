"""One look for all figures: that of the adaptation curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sb3_hyper.analysis.result import AnalysisResult
from sb3_hyper.plotting import COLORS, GRID_COLOR, MUTED_COLOR, TEXT_COLOR

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


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

    :param axes: the axes
    :param x: ``(S,)``
    :param values: ``(n_seeds, S)``
    :param index: picks colour and marker
    :param label: for the legend
    :param with_markers: whether the points are marked
    """
    color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)] if with_markers else None
    # Thinner from line to line, so that those below can be seen where they coincide.
    width = max(1.2, 2.8 - 0.4 * index)
    axes.plot(
        x, values.mean(axis=0), color=color, lw=width, zorder=4, label=label, marker=marker,
        markersize=3.4 + width, markeredgecolor="white", markeredgewidth=0.5,
    )  # fmt: skip
    axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.16, linewidth=0, zorder=3)


def add_legend(figure: Figure, axes: Axes, n_columns: int) -> None:
    """
    Name the lines of these axes below the whole figure.

    :param figure: the figure
    :param axes: one of its axes, whose lines have labels
    :param n_columns: names side by side, at most
    """
    handles, labels = axes.get_legend_handles_labels()
    columns = min(n_columns, len(labels))
    n_rows = -(-len(labels) // columns)
    # Legends fill columns first; names shall be read row by row.
    order = [row * columns + column for column in range(columns) for row in range(n_rows)]
    order = [place for place in order if place < len(labels)]
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", ncols=columns,
        frameon=False, fontsize=9.5, labelcolor=TEXT_COLOR,
    )  # fmt: skip
