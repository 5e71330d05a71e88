"""What hypernetworks generate before training: weights and pre-activations under every initialiser and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch as th
from torch import nn
from typing_extensions import override

from sb3_hyper.analysis.result import AnalysisResult, Array, check_counts
from sb3_hyper.errors import unknown_name
from sb3_hyper.hypernetworks import HYPER_INITIALIZERS, BaseNetwork, GeneratedLinear, Trunk, make_initializer
from sb3_hyper.hypernetworks.base_network import activation_gain
from sb3_hyper.policies.sizes import SIZES

PLAIN = "plain network"
"""What the initialisers are compared with: the base network alone, started by the base initialiser."""

_OUTPUT_GAIN = 0.01

_STATISTICS = ("weight_mean", "weight_std", "preactivation_mean", "preactivation_std")


@dataclass(frozen=True, eq=False)
class InitialStatistics(AnalysisResult):
    """
    Mean and standard deviation of weights and pre-activations of each layer, averaged over seeds.

    Weights: over a generated matrix's entries, then averaged over latents. Pre-activations: over latents, inputs and
    units; biases are part of them.

    :param size: named size of the base network
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

    def ratio_to_plain(self) -> Array:
        """``(R, L)`` standard deviation of the pre-activations, divided by the plain network's; 1 is intended."""
        ratio: Array = self.preactivation_std / self.preactivation_std[0]
        return ratio

    @override
    def table(self) -> str:
        lines = [f"Size {self.size}, base initialiser {self.base_initializer}, latents N(0, {self.latent_std:g}²)"]
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
    start from one random stream: with orthogonal base layers they are the same network.

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
    :raises ValueError: when a name is unknown or a number less than 1
    """
    check_counts(n_seeds=n_seeds, n_latents=n_latents, n_inputs=n_inputs, n_actions=n_actions)
    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    widths = [SIZES[size].state_dim, *SIZES[size].pi, n_actions]
    table = np.zeros((n_seeds, 1 + len(initializers), len(widths) - 1, len(_STATISTICS)))
    for seed in range(n_seeds):
        generator = th.Generator().manual_seed(seed)
        latents = latent_std * th.randn(n_latents, latent_dim, generator=generator)
        states = th.randn(n_latents, n_inputs, widths[0], generator=generator)
        with th.random.fork_rng([]), th.no_grad():
            plain = _draw_plain(base_initializer, widths, seed)
            table[seed, 0] = list(_layer_statistics(plain, latents, states))
            for row, name in enumerate(initializers, start=1):
                th.manual_seed(seed)
                network, trunk = draw_network(name, base_initializer, widths, latent_dim, trunk_dim)
                table[seed, row] = list(_layer_statistics(network, trunk(latents), states))
    names = [*(f"hidden {i + 1}" for i in range(len(widths) - 2)), "output"]
    layers = [f"{name} ({n_in} → {n_out})" for name, (n_in, n_out) in zip(names, pairwise(widths), strict=True)]
    # (seeds, R, L, statistics) -> one (R, L) for each statistic
    means = np.moveaxis(table.mean(axis=0), -1, 0)
    return InitialStatistics(size, base_initializer, latent_std, [PLAIN, *initializers], layers, *means)


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
    network = BaseNetwork("generated", trunk_dim + 1, inputs, hidden, outputs, nn.Tanh, _OUTPUT_GAIN, hyper_init)
    return network, Trunk(latent_dim, (trunk_dim,), hyper_init, hyper_init.needs_normalized_latent)


def _draw_plain(base_initializer: str, widths: Sequence[int], seed: int) -> BaseNetwork:
    """The base network without hypernetwork, its layers drawn one after the other from the seed."""
    hyper_init = make_initializer("BiasHyperInit", base_initializer)
    inputs, *hidden, outputs = widths
    network = BaseNetwork("plain", 1, inputs, hidden, outputs, nn.Tanh, _OUTPUT_GAIN, hyper_init)
    # nn.Linear has drawn weights of its own in between.
    th.manual_seed(seed)
    for layer in network.hidden_layers:
        hyper_init.base(layer.weight, activation_gain(nn.Tanh))  # type: ignore[arg-type]
    hyper_init.base(network.output_layer.weight, _OUTPUT_GAIN)  # type: ignore[arg-type]
    return network


def _layer_statistics(network: BaseNetwork, factors: th.Tensor, states: th.Tensor) -> Iterator[tuple[float, ...]]:
    """
    The four statistics of each layer.

    :param network: the base network
    :param factors: ``(n_latents, K + 1)``; a plain network does not read them
    :param states: ``(n_latents, n_inputs, D)``
    """
    x = states
    for layer in [*network.hidden_layers, network.output_layer]:
        weights, biases = layer_parameters(layer, factors)
        preactivations = th.baddbmm(biases[:, None], x, weights.transpose(1, 2))
        entries = weights.flatten(1).double()
        yield (
            entries.mean().item(),
            entries.std(dim=1).mean().item(),
            preactivations.double().mean().item(),
            preactivations.double().std().item(),
        )
        x = network.activation(preactivations)


def layer_parameters(layer: nn.Module, factors: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
    """
    A layer's weights and biases for each latent.

    :param layer: a generated layer, or a plain one, whose parameters are repeated
    :param factors: ``(N, K + 1)``
    :return: weights ``(N, outputs, inputs)`` and biases ``(N, outputs)``
    :raises TypeError: when the layer is of another kind
    """
    if isinstance(layer, GeneratedLinear):
        weights, biases = layer.generate(factors)
        return weights.contiguous(), biases
    if isinstance(layer, nn.Linear):
        return layer.weight.expand(len(factors), -1, -1).contiguous(), layer.bias.expand(len(factors), -1)
    raise TypeError(f"Got a {type(layer).__name__}, wanted a generated or a plain linear layer.")
