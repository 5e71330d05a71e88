"""Statistics of base networks at step 0, layer by layer, over random latents and states."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch as th
from torch import nn

from sb3_hyper.analysis.result import Array, check_counts
from sb3_hyper.analysis.seeding import seeded
from sb3_hyper.hypernetworks import BaseNetwork, FiLMLinear, GeneratedLinear, Trunk, make_initializer
from sb3_hyper.hypernetworks.base_network import activation_gain

OUTPUT_GAIN = 0.01
"""Gain of a discrete actor's last layer."""

Draw: TypeAlias = Callable[[], tuple[BaseNetwork, Trunk]]
"""Draws a base network and its trunk from torch's generator."""


class Samples(NamedTuple):
    """
    How many random numbers the statistics are taken over.

    :param n_seeds: number of networks, from seeds 0, 1, …
    :param n_latents: latents for each
    :param n_inputs: states for each latent
    :param latent_std: standard deviation of the latents
    """

    n_seeds: int
    n_latents: int
    n_inputs: int
    latent_std: float

    def check(self) -> None:
        """Raise ValueError where there would be no statistics."""
        check_counts(n_seeds=self.n_seeds, n_latents=self.n_latents, n_inputs=self.n_inputs)
        if self.n_latents * self.n_inputs < 2:
            raise ValueError(
                "n_latents=1 with n_inputs=1: a standard deviation needs two states at least; the defaults are 8 and "
                "256."
            )
        if not 0 < self.latent_std < math.inf:
            raise ValueError(
                f"latent_std={self.latent_std}: wanted a positive number, the standard deviation of the latents; an "
                "untrained GRU's is 0.08."
            )


@th.no_grad()
def measure(
    draw_plain: Callable[[int], BaseNetwork], draws: Sequence[Draw], state_dim: int, latent_dim: int, samples: Samples
) -> Array:
    """
    Take the four statistics of each layer, means over seeds.

    :param draw_plain: from a seed to the plain network
    :param draws: conditioned networks, each drawn anew for every seed
    :param state_dim: width of the networks' input
    :param latent_dim: width of the latent
    :param samples: over how many random numbers
    :return: ``(4, R, L)`` the plain network first, the statistics in the order of :class:`InitialStatistics`
    """
    tables = []
    for seed in range(samples.n_seeds):
        generator = th.Generator().manual_seed(seed)
        latents = samples.latent_std * th.randn(samples.n_latents, latent_dim, generator=generator)
        states = th.randn(samples.n_latents, samples.n_inputs, state_dim, generator=generator)
        with seeded(seed):
            rows = [list(_layer_statistics(draw_plain(seed), latents, states))]
        for draw in draws:
            with seeded(seed):
                network, trunk = draw()
            rows.append(list(_layer_statistics(network, trunk(latents), states)))
        tables.append(rows)
    # (seeds, R, L, statistics) -> one (R, L) for each statistic
    means: Array = np.moveaxis(np.mean(tables, axis=0), -1, 0)
    return means


def draw_plain(
    base_initializer: str,
    widths: Sequence[int],
    seed: int,
    activation_fn: type[nn.Module] = nn.Tanh,
    output_gain: float = OUTPUT_GAIN,
) -> BaseNetwork:
    """
    Build the base network without hypernetwork, its layers drawn one after the other from the seed.

    :param base_initializer: a name in ``BASE_INITIALIZERS``
    :param widths: of input, hidden layers and output
    :param seed: what torch's generator is seeded with
    :param activation_fn: activation of the hidden layers
    :param output_gain: gain of the output layer
    :return: the network
    """
    hyper_init = make_initializer("BiasHyperInit", base_initializer)
    inputs, *hidden, outputs = widths
    network = BaseNetwork("plain", 1, inputs, hidden, outputs, activation_fn, output_gain, hyper_init)
    # nn.Linear has drawn weights of its own in between.
    th.manual_seed(seed)
    for layer in network.hidden_layers:
        hyper_init.base(layer.weight, activation_gain(activation_fn))  # type: ignore[arg-type]
    hyper_init.base(network.output_layer.weight, output_gain)  # type: ignore[arg-type]
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

    :param layer: a generated layer, one that FiLM scales and shifts, or a plain one, whose parameters are repeated
    :param factors: ``(N, K + 1)``
    :return: weights ``(N, outputs, inputs)`` and biases ``(N, outputs)``
    :raises TypeError: when the layer is of another kind
    """
    if isinstance(layer, GeneratedLinear):
        weights, biases = layer.generate(factors)
        return weights.contiguous(), biases
    if isinstance(layer, FiLMLinear):
        # s (W x + b) + t is linear in x too.
        scale, shift = factors @ layer.scale, factors @ layer.shift
        return scale[:, :, None] * layer.linear.weight, scale * layer.linear.bias + shift
    if isinstance(layer, nn.Linear):
        return layer.weight.expand(len(factors), -1, -1).contiguous(), layer.bias.expand(len(factors), -1)
    raise TypeError(f"Got a {type(layer).__name__}, wanted a generated, a FiLM or a plain linear layer.")
