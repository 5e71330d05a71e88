"""The analyses' results as figures; needs matplotlib, and leaves the state of ``pyplot`` alone."""

from collections.abc import Callable

from matplotlib.figure import Figure

from sb3_hyper.analysis.figures.initialization import initialization_figure
from sb3_hyper.analysis.figures.latent_gradient import latent_gradient_figure
from sb3_hyper.analysis.figures.sequences import gradient_figure, permutation_figure
from sb3_hyper.analysis.figures.task_error import task_error_figure
from sb3_hyper.analysis.figures.weight_spread import weight_spread_figure

FIGURES: dict[str, Callable[..., Figure]] = {
    "gradients": gradient_figure,
    "permutations": permutation_figure,
    "initialisation": initialization_figure,
    "weights": weight_spread_figure,
    "training": latent_gradient_figure,
    "task-error": task_error_figure,
}
"""What draws the results of an analysis, by the name that the command line uses."""

__all__ = [
    "FIGURES",
    "gradient_figure",
    "initialization_figure",
    "latent_gradient_figure",
    "permutation_figure",
    "task_error_figure",
    "weight_spread_figure",
]
