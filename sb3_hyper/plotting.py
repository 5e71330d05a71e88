"""Adaptation curves: return by episode of the trial, as figures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from os import PathLike

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sb3_hyper.adaptation import AdaptationResult

COLORS = ("#1f5fa8", "#c8553d", "#2e8b57", "#8a5aa8", "#b8860b", "#4a4a4a", "#2b9eb3", "#b0477f")
MUTED_COLOR, TEXT_COLOR, GRID_COLOR = "#8a8f98", "#3a3f47", "#e6e8eb"
_LINE_STYLES = {"random": ":", "no_memory": "--", "unordered_memory": "-."}
_LABEL_HEIGHT = 0.055
"""Height of a label, as a share of the axis."""


def adaptation_curve(*results: AdaptationResult) -> Figure:
    """
    Draw the mean return of each episode of the trial, with its interval and the returns of known policies.

    Known policies are drawn at their mean per episode, a K-th of their return per trial.

    :param results: one result, or several of the same environment to compare
    :return: a figure with an Agg canvas; no state of ``pyplot`` is touched
    :raises ValueError: when there is no result, or they are of different environments
    """
    if len({result.environment for result in results}) != 1:
        given = sorted({result.environment for result in results})
        raise ValueError(
            f"Wanted results of one environment, got {given or 'none'}. Draw one figure for each environment."
        )
    figure = Figure(
        figsize=(7.2, 4.4), dpi=160, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for result, color in zip(results, cycle(COLORS), strict=False):
        _draw_curve(axes, result, color)
    _dress(axes, results)
    draw_references(axes, results[0].reference_returns, results[0].n_episodes)
    return figure


def save_adaptation_curve(path: str | PathLike[str], *results: AdaptationResult) -> None:
    """
    Draw :func:`adaptation_curve` into a file.

    :param path: the file; its suffix is the format
    :param results: one result, or several of the same environment
    """
    adaptation_curve(*results).savefig(path)


def _draw_curve(axes: Axes, result: AdaptationResult, color: str) -> None:
    mean, low, high = zip(*result.episodes, strict=True)
    x = range(1, result.n_episodes + 1)
    label = f"{result.policy}, {_trial_return(result)}"
    axes.plot(x, mean, color=color, lw=2.2, marker="o", markersize=7, markeredgecolor="white", zorder=4, label=label)
    if result.n_episodes > 1:
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0, zorder=3)
    else:
        axes.vlines(x, low, high, color=color, linewidth=2.2, zorder=3)


def _trial_return(result: AdaptationResult) -> str:
    return f"{result.trial.mean:.2f} [{result.trial.low:.2f}, {result.trial.high:.2f}] per trial"


def _dress(axes: Axes, results: tuple[AdaptationResult, ...]) -> None:
    first, n_episodes = results[0], max(result.n_episodes for result in results)
    title, subtitle = first.environment, f"{' / '.join(sorted({str(result.n_trials) for result in results}))} trials"
    if len(results) == 1:
        title, subtitle = f"{title}, {first.policy}", f"{subtitle}, {_trial_return(first)}"
    else:
        axes.legend(framealpha=0.9, edgecolor="none", fontsize=9.5, labelcolor=TEXT_COLOR, loc="best")
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=TEXT_COLOR, pad=24)
    subtitle = f"{subtitle}; {first.confidence:.0%} bootstrap intervals"
    axes.text(0, 1.035, subtitle, transform=axes.transAxes, fontsize=9.5, color=MUTED_COLOR)
    axes.set_xlabel("episode of the trial", color=TEXT_COLOR)
    axes.set_ylabel("mean return of the episode", color=TEXT_COLOR)
    axes.set_xticks(range(1, n_episodes + 1))
    axes.set_xlim(0.75, n_episodes + 0.25)
    dress_axes(axes)


def dress_axes(axes: Axes) -> None:
    """
    Give axes the look of our figures: horizontal grid lines, no frame.

    :param axes: the axes
    """
    axes.margins(y=0.08)
    axes.grid(axis="y", color=GRID_COLOR, linewidth=0.8)
    axes.tick_params(colors=TEXT_COLOR, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(MUTED_COLOR)


def draw_references(axes: Axes, reference_returns: Mapping[str, float], n_episodes: int) -> None:
    """
    Draw the returns of known policies as lines across the axes; their names stand beside them, outside on the right.

    :param axes: the axes, with everything else drawn
    :param reference_returns: mean returns per trial
    :param n_episodes: episodes of a trial, which share its return evenly
    """
    names_of: dict[float, list[str]] = {}
    for name, value in sorted(reference_returns.items(), key=lambda item: item[1]):
        names_of.setdefault(value / n_episodes, []).append(name)
    for level, names in names_of.items():
        axes.axhline(level, color=MUTED_COLOR, lw=1.2, linestyle=_LINE_STYLES.get(names[-1], (0, (8, 3))), zorder=2)
    low, high = axes.get_ylim()
    places = spread([(level - low) / (high - low) for level in names_of], _LABEL_HEIGHT)
    for (level, names), place in zip(names_of.items(), places, strict=True):
        text = f"{', '.join(names).replace('_', ' ')}: mean {level:.2f}"
        axes.text(1.015, place, text, transform=axes.transAxes, va="center", fontsize=9, color=TEXT_COLOR)


def spread(places: list[float], gap: float) -> list[float]:
    """
    Move ascending places upwards until neighbours are ``gap`` apart.

    :param places: ascending
    :param gap: smallest distance
    :return: the new places, ascending
    """
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    return moved
