"""Base networks: the small actor or critic that acts on the state."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch as th
from torch import nn

from sb3_hyper.errors import unknown_name
from sb3_hyper.hypernetworks.film import FiLMLinear
from sb3_hyper.hypernetworks.hypernetwork import GeneratedLinear
from sb3_hyper.hypernetworks.initializers import HyperInitializer

LayerKind = Literal["generated", "film", "plain"]
BaseStep = Callable[[th.Tensor, th.Tensor], tuple[th.Tensor, th.Tensor]]
"""From inputs and factors to the outputs and the last hidden activations."""


class PlainLinear(nn.Linear):
    """A linear layer that the latent does not condition; same interface as the conditioned ones."""

    def __init__(
        self, n_factors: int, n_inputs: int, n_outputs: int, gain: float, initializer: HyperInitializer
    ) -> None:
        super().__init__(n_inputs, n_outputs)
        with th.no_grad():
            initializer.base(self.weight, gain)
            self.bias.zero_()

    def forward(  # type: ignore[override]
        self, x: th.Tensor, factors: th.Tensor, indices: th.Tensor | None = None
    ) -> th.Tensor:
        """``(N, inputs) -> (N, outputs)``; the factors are not used."""
        y = super().forward(x)
        return y if indices is None else y[indices]


LAYERS: dict[LayerKind, type[GeneratedLinear] | type[FiLMLinear] | type[PlainLinear]] = {
    "generated": GeneratedLinear,
    "film": FiLMLinear,
    "plain": PlainLinear,
}


def activation_gain(activation_fn: type[nn.Module]) -> float:
    """The gain that keeps variance through an activation: 5/3 for tanh, sqrt 2 for ReLU, 1 where torch knows none."""
    names = {nn.Tanh: "tanh", nn.ReLU: "relu", nn.SELU: "selu", nn.Sigmoid: "sigmoid"}
    return nn.init.calculate_gain(names[activation_fn]) if activation_fn in names else 1.0  # type: ignore[arg-type]


def _layer_kinds(layer: LayerKind, n_layers: int, conditioned_layers: Sequence[int] | None) -> list[LayerKind]:
    if conditioned_layers is None:
        return [layer] * n_layers
    if not conditioned_layers:
        raise ValueError(
            "conditioned_layers=[] would condition no layer: name one, for example [-1], or pass None for all."
        )
    for index in conditioned_layers:
        if not -n_layers <= index < n_layers:
            raise ValueError(
                f"conditioned_layers={list(conditioned_layers)} names the layer {index}, but a base network has "
                f"{n_layers} layers: wanted numbers from 0 to {n_layers - 1}, or from -{n_layers} to -1."
            )
    chosen = {index % n_layers for index in conditioned_layers}
    return [layer if index in chosen else "plain" for index in range(n_layers)]


class BaseNetwork(nn.Module):
    """
    A multi-layer perceptron whose layers a latent may condition.

    :param layer: "generated" (hypernetwork), "film" or "plain"
    :param n_factors: K + 1, the number of factors with the constant 1
    :param input_dim: width of the input
    :param hidden_dims: widths of the hidden layers
    :param output_dim: width of the output
    :param activation_fn: activation of the hidden layers
    :param output_gain: gain of the output layer's initialisation (0.01 for a discrete actor, 1 otherwise)
    :param initializer: how the layers start
    :param conditioned_layers: which layers are of that kind, counted from 0 at the input (-1: the output layer), the
        others being plain; None: all
    :raises ValueError: when the kind of layer is unknown, or there is no such layer
    """

    def __init__(
        self,
        layer: LayerKind,
        n_factors: int,
        input_dim: int,
        hidden_dims: Sequence[int],
        output_dim: int,
        activation_fn: type[nn.Module],
        output_gain: float,
        initializer: HyperInitializer,
        conditioned_layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if layer not in LAYERS:
            raise unknown_name("layer kind", layer, LAYERS)
        gain, widths = activation_gain(activation_fn), [input_dim, *hidden_dims]
        *hidden_kinds, output_kind = _layer_kinds(layer, len(widths), conditioned_layers)
        self.hidden_layers = nn.ModuleList(
            LAYERS[kind](n_factors, n_inputs, n_outputs, gain, initializer)
            for kind, (n_inputs, n_outputs) in zip(hidden_kinds, pairwise(widths), strict=True)
        )
        self.output_layer = LAYERS[output_kind](n_factors, widths[-1], output_dim, output_gain, initializer)
        self.activation = activation_fn()
        self.hidden_dim = widths[-1]

    def forward(
        self, x: th.Tensor, factors: th.Tensor, indices: th.Tensor | None = None
    ) -> tuple[th.Tensor, th.Tensor]:
        """
        Apply the network to N inputs.

        :param x: ``(N, input_dim)``, or ``(U, input_dim)`` the distinct ones
        :param factors: ``(N, K + 1)``
        :param indices: ``(N,)`` which of the distinct inputs each of the N is; None: x has N rows
        :return: ``(N, output_dim)`` and the last hidden activations ``(N, hidden_dim)``
        """
        for layer in self.hidden_layers:
            x, indices = self.activation(layer(x, factors, indices)), None
        if indices is not None:
            x = x[indices]
        return self.output_layer(x, factors), x

    def make_step(self) -> BaseStep:
        """:meth:`forward` for a small batch without gradient; good until the weights change."""
        layers = (*self.hidden_layers, self.output_layer)
        *hidden_steps, output_step = [
            layer if not isinstance(layer, GeneratedLinear) else layer.make_step() if n else layer.make_first_step()
            for n, layer in enumerate(layers)
        ]
        activation = self.activation

        def step(x: th.Tensor, factors: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
            for hidden_step in hidden_steps:
                x = activation(hidden_step(x, factors))
            return output_step(x, factors), x

        return step
