"""Initialisers and sizes as a heat map."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from sb3_hyper.analysis.figures.style import check_results, make_figure
from sb3_hyper.analysis.initialization import InitialStatistics
from sb3_hyper.plotting import MUTED_COLOR, TEXT_COLOR

_LARGEST_RATIO = 16.0


def initialization_figure(*results: InitialStatistics) -> Figure:
    """
    Draw the pre-activations' standard deviation, divided by that of the plain network, for each initialiser and layer.

    :param results: one for each size, of the same initialisers
    :return: the figure: white is as intended, blue vanishes, red blows up
    :raises ValueError: when there is none, or they are of different initialisers
    """
    check_results(results)
    first = results[0]
    if any(result.initializers != first.initializers for result in results):
        raise ValueError("Wanted results of the same initialisers; draw one figure for each set of them.")
    names = first.initializers[1:]
    ratios = np.concatenate([result.ratio_to_plain()[1:] for result in results], axis=1)
    # Never narrower than the title.
    figure = make_figure(max(8.0, 2.6 + 0.56 * ratios.shape[1]), 1.7 + 0.42 * len(names))
    axes = figure.add_subplot()
    bound = np.log2(_LARGEST_RATIO)
    # Latents so small that nothing is left of them give 0.
    powers = np.log2(np.maximum(ratios, np.finfo(float).tiny))
    axes.imshow(powers, cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto")
    for (row, column), ratio in np.ndenumerate(ratios):
        # Dark cells get white numbers.
        color = "white" if abs(powers[row, column]) > 0.5 * bound else TEXT_COLOR
        text = f"{ratio:.2g}" if ratio < 99.5 else f"{ratio:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=color)
    _label(figure, results, names)
    return figure


def _label(figure: Figure, results: tuple[InitialStatistics, ...], names: list[str]) -> None:
    axes, start = figure.axes[0], 0.0
    layers = [layer for result in results for layer in result.layers]
    axes.set_xticks(range(len(layers)), [layer.split(" (")[0].replace("hidden ", "h") for layer in layers])
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(colors=TEXT_COLOR, labelsize=9, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for result in results:
        if start:
            axes.axvline(start - 0.5, color="white", lw=4)
        centre = start + (len(result.layers) - 1) / 2
        title = result.title.replace(", ", "\n")
        # A column is about seven letters wide.
        size = min(9.0, 66 * len(result.layers) / max(map(len, title.split("\n"))))
        axes.text(centre, len(names) + 0.15, title, ha="center", va="top", fontsize=size, color=TEXT_COLOR)
        start += len(result.layers)
    axes.set_title(
        "Pre-activations at initialisation: standard deviation relative to the plain network's",
        loc="left", fontsize=11, fontweight="bold", color=TEXT_COLOR, pad=26,
    )  # fmt: skip
    first = results[0]
    note = f"{first.base_initializer} base layers, latents N(0, {first.latent_std:g}²), states N(0, 1); 1 is intended"
    axes.text(0, 1.04, note, transform=axes.transAxes, fontsize=9, color=MUTED_COLOR)
