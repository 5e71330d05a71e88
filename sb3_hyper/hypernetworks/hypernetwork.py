"""Hypernetworks: a latent writes the weights of linear layers (Ha et al. 2016; Beck et al. 2022)."""

from collections.abc import Callable, Sequence

import torch as th
from torch import nn

from sb3_hyper.hypernetworks.contraction import contract
from sb3_hyper.hypernetworks.initializers import HyperInitializer
from sb3_hyper.hypernetworks.product_table import ProductTable

LayerStep = Callable[[th.Tensor, th.Tensor], th.Tensor]
"""From inputs ``(N, inputs)`` and factors ``(N, K + 1)`` to outputs ``(N, outputs)``."""


class Trunk(nn.Module):
    """
    From the latent to the factors h that all heads share: tanh layers, and a last entry of 1 that carries each head's
    constant A_0.

    Without layers the latent itself is h. Heads of the last layer alone, over a one-hot latent, are then a multi-head
    network: one output layer for each task.

    :param latent_dim: width of the latent
    :param layer_dims: widths of the layers; the papers have one of 25
    :param initializer: initialises the layers
    :param normalize_latent: whether a latent comes in with mean 0 and variance 1 over its entries
    :raises ValueError: when a width is not positive, or the initialiser wants another latent than it gets
    """

    def __init__(
        self,
        latent_dim: int,
        layer_dims: Sequence[int],
        initializer: HyperInitializer,
        normalize_latent: bool = False,
    ) -> None:
        super().__init__()
        if any(width < 1 for width in layer_dims):
            raise ValueError(f"A trunk got layer_dims={list(layer_dims)}, wanted positive widths, for example [25].")
        if normalize_latent and latent_dim < 3:
            raise ValueError(
                f"normalize_latent=True with latent_dim={latent_dim}: two numbers of mean 0 and variance 1 are +1 and "
                "-1, which nothing can be learned from. Use 3 or more."
            )
        if initializer.needs_normalized_latent and not normalize_latent:
            raise ValueError(
                f"{type(initializer).__name__} assumes a latent of unit variance, and an encoder's has any: what it "
                "generates would be too narrow or too wide by that factor. Pass normalize_latent=True, or use "
                "BiasHyperInit, which suits every latent."
            )
        # A latent may start small: what is added to its variance must be smaller still.
        normalization = nn.LayerNorm(latent_dim, eps=1e-8, elementwise_affine=False)
        self.normalization = normalization if normalize_latent else nn.Identity()
        layers: list[nn.Module] = []
        for n_inputs, n_outputs in zip([latent_dim, *layer_dims], layer_dims, strict=False):
            linear = nn.Linear(n_inputs, n_outputs)
            initializer.trunk(linear)
            layers += [linear, nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.latent_dim = latent_dim
        self.output_dim = [latent_dim, *layer_dims][-1] + 1

    def forward(self, latent: th.Tensor) -> th.Tensor:
        """``(N, latent_dim) -> (N, K + 1)``: the factors h_1 … h_K and 1."""
        h = self.layers(self.normalization(latent))
        return th.cat((h, th.ones_like(h[:, :1])), dim=-1)


class GeneratedLinear(nn.Module):
    """
    A linear layer whose weights and bias are generated for each row: y = W(h) x + b(h), W(h) = sum_k h_k A_k + A_0,
    b(h) alike.

    The weights are never materialised (see :func:`~sb3_hyper.hypernetworks.contraction.contract`).

    :param n_factors: K + 1, the number of factors with the constant 1
    :param n_inputs: width of x
    :param n_outputs: width of y
    :param gain: gain of the base layer's initialisation
    :param initializer: how the A_k and A_0 start
    """

    def __init__(
        self, n_factors: int, n_inputs: int, n_outputs: int, gain: float, initializer: HyperInitializer
    ) -> None:
        super().__init__()
        # Inputs first, so that both orders of the contraction see one matrix in it without a copy.
        self.weight = nn.Parameter(th.zeros(n_inputs, n_factors, n_outputs))
        self.bias = nn.Parameter(th.zeros(n_factors, n_outputs))
        with th.no_grad():
            initializer.fill(self.weight.transpose(0, 1), self.bias, gain)

    def forward(self, x: th.Tensor, factors: th.Tensor, indices: th.Tensor | None = None) -> th.Tensor:
        """``(N, inputs), (N, K + 1) -> (N, outputs)``; of ``(U, inputs)``, row ``indices[n]`` is the n-th input."""
        if indices is None:
            return contract(factors, x, self.weight.transpose(0, 1)).addmm(factors, self.bias)
        # Every A_k x + b_k once, (U, I) (I, K O) -> (U, K, O); which of them a row needs is a one-hot input.
        products = th.addmm(self.bias.flatten(), x, self.weight.flatten(1)).view(len(x), *self.bias.shape)
        one_hot = nn.functional.one_hot(indices, len(x)).to(x.dtype)
        return contract(factors, one_hot, products.transpose(0, 1))

    def make_step(self) -> LayerStep:
        """:meth:`forward` for a small batch without gradient, in two operations; good until the weights change."""
        weight, bias = self._matrix()
        return self._make_step(lambda x: th.addmm(bias, x, weight))

    def make_first_step(self) -> LayerStep:
        """:meth:`make_step` for a layer whose inputs come again, because they depend on the state alone."""
        if self.weight.device.type != "cpu":
            return self.make_step()
        return self._make_step(ProductTable(*self._matrix(), capacity=len(self.weight) // 2))

    def _matrix(self) -> tuple[th.Tensor, th.Tensor]:
        """All heads as one linear layer without gradient: ``(I, K O)`` and its bias."""
        return self.weight.detach().flatten(1), self.bias.detach().flatten()

    def _make_step(self, products: Callable[[th.Tensor], th.Tensor]) -> LayerStep:
        """A step whose every A_k x + b_k, ``(N, I) -> (N, K O)``, comes from ``products``."""
        shape = (-1, *self.bias.shape)
        return lambda x, factors: th.bmm(factors[:, None], products(x).view(shape)).squeeze(1)

    def generate(self, factors: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """
        The weights and biases themselves, for analysis.

        :param factors: ``(N, K + 1)``
        :return: weights ``(N, outputs, inputs)`` and biases ``(N, outputs)``
        """
        return th.einsum("nk,iko->noi", factors, self.weight), factors @ self.bias
