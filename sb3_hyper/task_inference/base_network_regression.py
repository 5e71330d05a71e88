"""Base-network regression (BI): the encoder learns what base network the hypernetwork should write."""

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

import torch as th
from torch.func import functional_call
from typing_extensions import override

from sb3_hyper.hypernetworks import BaseNetwork, FiLMLinear, GeneratedLinear, Trunk
from sb3_hyper.task_inference.embedding_regression import EmbeddingRegression
from sb3_hyper.task_inference.objective import AgentSpaces
from sb3_hyper.task_inference.task_target import TargetKind

Generated: TypeAlias = GeneratedLinear | FiLMLinear
"""A layer whose parameters, or some of them, come from a latent."""


class BaseNetworkRegression(EmbeddingRegression):
    r"""
    Regression of the generated base networks' parameters (BI, Beck et al. 2023), in two phases as
    :class:`EmbeddingRegression`, with :math:`\theta(z) = \sum_k h_k(z) A_k` for the factors h of a latent:

    .. math::
        c \cdot \mathrm{mean}_t\, \frac{\lVert \theta(z_t) - \mathrm{stop}(\theta(e(\mu))) \rVert^2}{\sum_k \lVert A_k
        \rVert^2}

    The encoder alone learns by it: the hypernetwork is taken as it is. No parameters are generated: the distance is
    :math:`d^\top G d` of the factors' difference d, with :math:`G_{kl} = \langle A_k, A_l \rangle`.

    :param agent: what it is built for
    :param coef: c, the weight beside PPO's losses, 0 or above
    :param n_warmup_updates: rollouts, with PPO's update on each, that the warm-up lasts; None: a tenth of the training
    :param reinitialize: whether all but the embedding is initialised anew after the warm-up
    :param hidden_dims: widths of the embedding's ReLU layers
    :param target: as :class:`EmbeddingRegression`
    :raises ValueError: as :class:`EmbeddingRegression`, or when no layer of a base network is generated
    """

    measured: ClassVar[str] = "base_network"

    def __init__(
        self,
        agent: AgentSpaces,
        coef: float = 1.0,
        n_warmup_updates: int | None = None,
        reinitialize: bool = False,
        hidden_dims: Sequence[int] = (64, 32),
        target: TargetKind = "auto",
    ) -> None:
        super().__init__(agent, coef, n_warmup_updates, reinitialize, hidden_dims, target)
        # In a list they are the policy's still, and no part of this module.
        self._generators = _each_layer_once(agent.generators)
        if not self._generators:
            raise ValueError(
                "BaseNetworkRegression needs base networks whose layers are generated. Use conditioning='hypernetwork' "
                "or 'film', or the objective EmbeddingRegression."
            )

    @override
    def regression(self, latents: th.Tensor, target: th.Tensor) -> th.Tensor:
        distances, sizes = latents.new_zeros(latents.shape[:-1]), latents.new_zeros(())
        for trunk, layers in self._generators:
            products = head_products(layers, trunk.output_dim)
            difference = _factors(trunk, latents) - _factors(trunk, target)
            distances = distances + ((difference @ products) * difference).sum(dim=-1)
            # The last head is the constant, which no latent changes.
            sizes = sizes + products.diagonal()[:-1].sum()
        return distances / sizes.clamp_min(1e-12)


def _factors(trunk: Trunk, latents: th.Tensor) -> th.Tensor:
    """``(T, B, D) -> (T, B, K + 1)``, with gradient to the latents and none to the trunk."""
    frozen = {name: parameter.detach() for name, parameter in trunk.named_parameters()}
    factors: th.Tensor = functional_call(trunk, frozen, (latents.flatten(0, 1),))
    return factors.view(*latents.shape[:-1], -1)


def _generated_layers(network: BaseNetwork) -> list[Generated]:
    """The layers of a base network that a latent writes or modulates."""
    layers = (*network.hidden_layers, network.output_layer)
    return [layer for layer in layers if isinstance(layer, (GeneratedLinear, FiLMLinear))]


def _each_layer_once(generators: Sequence[tuple[Trunk, BaseNetwork]]) -> list[tuple[Trunk, list[Generated]]]:
    """Trunks and the layers that they feed; actor and critic may share hidden layers."""
    seen: set[Generated] = set()
    once = []
    for trunk, network in generators:
        layers = [layer for layer in _generated_layers(network) if layer not in seen]
        seen.update(layers)
        if layers:
            once.append((trunk, layers))
    return once


@th.no_grad()
def head_products(layers: Sequence[Generated], n_factors: int) -> th.Tensor:
    """
    Inner products of the heads that write layers.

    :param layers: the layers
    :param n_factors: K + 1, the number of factors with the constant 1
    :return: ``(K + 1, K + 1)`` :math:`\\langle A_k, A_l \\rangle`, summed over all layers' weights and biases
    """
    heads = [head for layer in layers for head in _heads(layer)]
    rows = th.cat([head.reshape(n_factors, -1) for head in heads], dim=1)
    return rows @ rows.t()


def _heads(layer: Generated) -> tuple[th.Tensor, th.Tensor]:
    """What a factor is multiplied with, the factors first: ``(K + 1, …)`` each."""
    if isinstance(layer, FiLMLinear):
        return layer.scale, layer.shift
    return layer.weight.transpose(0, 1), layer.bias
