"""The latent's gradient norm over a training."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from sb3_hyper.analysis.figures.style import check_results, dress, look_of, make_figure
from sb3_hyper.analysis.latent_gradient import LatentGradientNorms
from sb3_hyper.plotting import TEXT_COLOR

_SHARE = 20
"""A line is smoothed over this fraction of the updates."""


def latent_gradient_figure(*results: LatentGradientNorms) -> Figure:
    """
    Draw the norms over the environment steps, smoothed by a running median over a twentieth of the updates.

    :param results: one for each agent; those of the same name share colour and style
    :return: the figure
    :raises ValueError: when there is none, or one has no update
    """
    check_results(results)
    if not all(len(result.norms) for result in results):
        raise ValueError(
            "A result without updates cannot be drawn: the training ended before its first one, or was not watched."
        )
    figure = make_figure(7.2, 4.2)
    axes = figure.add_subplot()
    names = list(dict.fromkeys(result.name for result in results))
    labelled: set[str] = set()
    for result in results:
        label = None if result.name in labelled else result.name
        labelled.add(result.name)
        look, steps = look_of(names.index(result.name)), result.timesteps / 1000
        # An axis of logarithms has no place for 0.
        norms = np.where(result.norms > 0, result.norms, np.nan)
        axes.plot(steps, norms, color=look.color, lw=0.6, alpha=0.25, zorder=3)
        smooth = running_median(result.norms)
        axes.plot(
            steps, np.where(smooth > 0, smooth, np.nan), color=look.color, ls=look.line_style, lw=2.0, zorder=4,
            label=label,
        )  # fmt: skip
    dress(axes, "Gradient of the loss to the latent", "thousand environment steps", "‖∂ L / ∂ z‖")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, fontsize=9.5, labelcolor=TEXT_COLOR)
    return figure


def running_median(values: np.ndarray) -> np.ndarray:
    """
    Medians of windows around each value, of a twentieth of the values; windows shrink at the ends.

    :param values: ``(N,)``
    :return: ``(N,)``
    """
    half = max(1, len(values) // _SHARE) // 2
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])
