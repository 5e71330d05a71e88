"""What hypernetworks generate before training: weights and pre-activations under every initialiser and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from torch import nn
from typing_extensions import override

from sb3_hyper.analysis.layer_statistics import OUTPUT_GAIN, Samples, draw_plain, measure
from sb3_hyper.analysis.result import AnalysisResult, Array, check_counts
from sb3_hyper.errors import unknown_name
from sb3_hyper.hypernetworks import HYPER_INITIALIZERS, BaseNetwork, Trunk, make_initializer
from sb3_hyper.policies.sizes import SIZES

PLAIN = "plain network"
"""What the initialisers are compared with: the base network alone, started by the base initialiser."""

_STATISTICS = ("weight_mean", "weight_std", "preactivation_mean", "preactivation_std")


@dataclass(frozen=True, eq=False)
class InitialStatistics(AnalysisResult):
    """
    Mean and standard deviation of weights and pre-activations of each layer, averaged over seeds.

    Weights: over a generated matrix's entries, then averaged over latents. Pre-activations: over latents, inputs and
    units; biases are part of them.

    :param size: named size of the base network, or whose network it is
    :param base_initializer: the base initialiser f
    :param latent_std: standard deviation of the latents
    :param initializers: R names, the plain network first
    :param layers: L names with widths
    :param weight_mean: ``(R, L)``
    :param weight_std: ``(R, L)``
    :param preactivation_mean: ``(R, L)``
    :param preactivation_std: ``(R, L)``
    """

    size: str
    base_initializer: str
    latent_std: float
    initializers: list[str]
    layers: list[str]
    weight_mean: Array
    weight_std: Array
    preactivation_mean: Array
    preactivation_std: Array

    @property
    def title(self) -> str:
        """The network in words."""
        return f"size {self.size}" if self.size in SIZES else self.size

    def ratio_to_plain(self) -> Array:
        """``(R, L)`` standard deviation of the pre-activations, divided by the plain network's; 1 is intended."""
        ratio: Array = self.preactivation_std / self.preactivation_std[0]
        return ratio

    @override
    def table(self) -> str:
        title = self.title[0].upper() + self.title[1:]
        lines = [f"{title}, base initialiser {self.base_initializer}, latents N(0, {self.latent_std:g}²)"]
        lines.append(f"{'':<18}" + "".join(f"{layer:>30}" for layer in self.layers))
        lines.append(f"{'':<18}" + f"{'weights':>13} {'pre-activations':>16}" * len(self.layers))
        for row, name in enumerate(self.initializers):
            cells = zip(*(getattr(self, statistic)[row] for statistic in _STATISTICS), strict=True)
            texts = (f"{w:>8.1g}±{std:<8.2g}{a:>5.1g}±{a_std:<7.2g}" for w, std, a, a_std in cells)
            lines.append(f"{name:<18}" + "".join(texts))
        return "\n".join(lines)


def initial_statistics(
    size: str = "S",
    base_initializer: str = "orthogonal",
    initializers: Sequence[str] = tuple(HYPER_INITIALIZERS),
    n_seeds: int = 3,
    n_latents: int = 8,
    n_inputs: int = 256,
    latent_dim: int = 24,
    trunk_dim: int = 25,
    n_actions: int = 5,
    latent_std: float = 1.0,
) -> InitialStatistics:
    """
    Measure an actor at step 0, for random latents and standard-normal states (Beck et al. 2022, section 4).

    Latents are normal with mean 0; Hyperfan-In, which needs it, sees them normalised. Plain network and Bias-HyperInit
    start from one random stream: with orthogonal base layers they are the same network. Other networks, and those of
    a policy of your own: :func:`~sb3_hyper.analysis.policy_statistics`.

    :param size: a name in ``SIZES``
    :param base_initializer: f, a name in ``BASE_INITIALIZERS``
    :param initializers: names in ``HYPER_INITIALIZERS``
    :param n_seeds: number of networks, from seeds 0, 1, …
    :param n_latents: latents for each
    :param n_inputs: states for each latent
    :param latent_dim: width of the latent
    :param trunk_dim: number of factors K
    :param n_actions: outputs of the discrete actor, whose last layer has gain 0.01
    :param latent_std: standard deviation of the latents
    :return: the statistics
    :raises ValueError: when a name is unknown, a number less than 1, ``latent_std`` not positive, or there is one state
    """
    samples = Samples(n_seeds, n_latents, n_inputs, latent_std)
    samples.check()
    check_counts(n_actions=n_actions, latent_dim=latent_dim, trunk_dim=trunk_dim)
    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    widths = [SIZES[size].state_dim, *SIZES[size].pi, n_actions]
    draws = [partial(draw_network, name, base_initializer, widths, latent_dim, trunk_dim) for name in initializers]
    means = measure(partial(draw_plain, base_initializer, widths), draws, widths[0], latent_dim, samples)
    return InitialStatistics(size, base_initializer, latent_std, [PLAIN, *initializers], name_layers(widths), *means)


def name_layers(widths: Sequence[int]) -> list[str]:
    """
    Name a base network's layers.

    :param widths: of input, hidden layers and output
    :return: names with widths
    """
    names = [*(f"hidden {i + 1}" for i in range(len(widths) - 2)), "output"]
    return [f"{name} ({n_in} → {n_out})" for name, (n_in, n_out) in zip(names, pairwise(widths), strict=True)]


def draw_network(
    initializer: str, base_initializer: str, widths: Sequence[int], latent_dim: int = 24, trunk_dim: int = 25
) -> tuple[BaseNetwork, Trunk]:
    """
    Build an actor of generated layers and its trunk, as a policy with discrete actions does.

    :param initializer: a name in ``HYPER_INITIALIZERS``
    :param base_initializer: a name in ``BASE_INITIALIZERS``
    :param widths: of input, hidden layers and output
    :param latent_dim: width of the latent
    :param trunk_dim: number of factors K
    :return: base network and trunk
    """
    hyper_init = make_initializer(initializer, base_initializer)
    inputs, *hidden, outputs = widths
    network = BaseNetwork("generated", trunk_dim + 1, inputs, hidden, outputs, nn.Tanh, OUTPUT_GAIN, hyper_init)
    return network, Trunk(latent_dim, (trunk_dim,), hyper_init, hyper_init.needs_normalized_latent)
