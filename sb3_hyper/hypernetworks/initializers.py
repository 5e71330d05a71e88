"""
Initialisation of hypernetworks (Beck et al. 2022, HyperInit; Chang et al. 2020, Hyperfan-In).

A generated layer is W(h) = sum_k h_k A_k + A_0 with a bias of the same form. An initialiser writes the A_k and A_0 so
that the *generated* layer starts as the base layer would have started under a base initialiser f with its gain. For
FiLM's layer, s(h) * (W x + b) + t(h), the base initialiser writes W, and the f of s is the constant 1, that of t 0.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import sqrt
from typing import ClassVar

import torch as th
from torch import nn
from typing_extensions import override

from sb3_hyper.errors import unknown_name

BaseInitializer = Callable[[th.Tensor, float], object]
"""Fills an ``(outputs, inputs)`` matrix, given a gain."""


def _normc(matrix: th.Tensor, gain: float) -> None:
    nn.init.normal_(matrix)
    matrix.mul_(gain / matrix.norm(dim=1, keepdim=True))


def _kaiming(matrix: th.Tensor, gain: float) -> None:
    bound = gain * sqrt(3.0 / matrix.shape[1])
    nn.init.uniform_(matrix, -bound, bound)


BASE_INITIALIZERS: dict[str, BaseInitializer] = {
    "orthogonal": lambda matrix, gain: nn.init.orthogonal_(matrix, gain),
    "normc": _normc,
    "kaiming": _kaiming,
}
"""The f of the base layers: orthogonal (SB3's), rows of norm ``gain``, uniform with variance gain^2 / inputs."""


class HyperInitializer(ABC):
    """
    Writes the parameters of a generated linear layer.

    :param base: name of the base initialiser f in ``BASE_INITIALIZERS``
    :raises ValueError: when the name is unknown
    """

    needs_normalized_latent: ClassVar[bool] = False
    """Whether its variances hold for a latent of unit variance alone."""

    def __init__(self, base: str = "orthogonal") -> None:
        if base not in BASE_INITIALIZERS:
            raise unknown_name("base initializer", base, BASE_INITIALIZERS)
        self.base = BASE_INITIALIZERS[base]

    @abstractmethod
    def fill(self, weight: th.Tensor, bias: th.Tensor, gain: float) -> None:
        """
        Fill a layer's parameters, which are zero, in place and without gradient.

        :param weight: ``(K + 1, inputs, outputs)``: A_1 … A_K, then A_0
        :param bias: ``(K + 1, outputs)``, likewise
        :param gain: gain of the base layer
        """

    def modulate(self, scale: th.Tensor, shift: th.Tensor) -> None:
        """
        Fill the heads of FiLM's scale and shift, which are zero, in place and without gradient; as those of a generated
        layer with one input and gain 1, if an initialiser asks for nothing else.

        :param scale: ``(K + 1, outputs)``: the factors' heads, then the constant
        :param shift: ``(K + 1, outputs)``, likewise
        """
        for head in (scale, shift):
            self.fill(head[:, None], th.zeros_like(head), 1.0)

    def trunk(self, linear: nn.Linear) -> None:
        """Initialise a trunk's layer; torch's default if an initialiser asks for nothing else."""
        linear.reset_parameters()


class BiasHyperInit(HyperInitializer):
    """
    A_k = 0 and A_0 ~ f: at first every latent generates the same, ordinarily initialised network (Beck et al. 2022,
    section 4).
    """

    @override
    def fill(self, weight: th.Tensor, bias: th.Tensor, gain: float) -> None:
        self.base(weight[-1].t(), gain)

    @override
    def modulate(self, scale: th.Tensor, shift: th.Tensor) -> None:
        scale[-1] = 1.0


class WeightHyperInit(HyperInitializer):
    """
    A_0 = 0 and every A_k ~ f independently: each one-hot latent generates an ordinarily initialised network (Beck et
    al. 2022).
    """

    @override
    def fill(self, weight: th.Tensor, bias: th.Tensor, gain: float) -> None:
        for matrix in weight[:-1]:
            self.base(matrix.t(), gain)

    @override
    def modulate(self, scale: th.Tensor, shift: th.Tensor) -> None:
        scale[:-1] = 1.0


class BothHyperInit(HyperInitializer):
    """Bias- and Weight-HyperInit together, each scaled by one half (Beck et al. 2022)."""

    @override
    def fill(self, weight: th.Tensor, bias: th.Tensor, gain: float) -> None:
        for matrix in weight:
            self.base(matrix.t(), gain)
        weight.mul_(0.5)

    @override
    def modulate(self, scale: th.Tensor, shift: th.Tensor) -> None:
        scale.fill_(0.5)


class HyperFanIn(HyperInitializer):
    """
    Uniform A_k with variance gain^2 / (2 K inputs), bias heads gain^2 / (2 K), A_0 = 0, trunk Kaiming (Chang et al.
    2020).

    Generated weight and bias together give the variance that the base layer wants, half each, when the factors have
    unit variance: exactly so for a normalised latent without a trunk; a trunk's tanh makes it smaller.
    """

    needs_normalized_latent = True

    @override
    def fill(self, weight: th.Tensor, bias: th.Tensor, gain: float) -> None:
        n_factors, n_inputs = weight.shape[0] - 1, weight.shape[1]
        # A uniform variable on [-b, b] has variance b^2 / 3.
        weight_bound = gain * sqrt(3.0 / (2 * n_factors * n_inputs))
        bias_bound = gain * sqrt(3.0 / (2 * n_factors))
        nn.init.uniform_(weight[:-1], -weight_bound, weight_bound)
        nn.init.uniform_(bias[:-1], -bias_bound, bias_bound)

    @override
    def trunk(self, linear: nn.Linear) -> None:
        nn.init.kaiming_uniform_(linear.weight, nonlinearity="linear")
        nn.init.zeros_(linear.bias)


class _Plain(HyperInitializer):
    """
    f on the head seen as one linear layer from the latent to all generated entries, A_0 = 0: what the paper shows to
    fail.
    """

    head_initializer = "orthogonal"

    def fill(self, weight: th.Tensor, bias: th.Tensor, gain: float) -> None:
        for tensor in (weight, bias):
            # (K, entries) -> (entries, K): a linear layer's matrix
            head = th.empty(tensor[0].numel(), len(tensor) - 1, device=tensor.device)
            BASE_INITIALIZERS[self.head_initializer](head, gain)
            tensor[:-1] = head.t().reshape(tensor[:-1].shape)


class Orthogonal(_Plain):
    """Orthogonal heads, as SB3 would initialise them: ignores that the heads generate weights."""


class Kaiming(_Plain):
    """Kaiming-uniform heads: ignores that the heads generate weights."""

    head_initializer = "kaiming"


class Normc(_Plain):
    """Heads with rows of norm ``gain``: ignores that the heads generate weights."""

    head_initializer = "normc"


HYPER_INITIALIZERS: dict[str, type[HyperInitializer]] = {
    initializer.__name__: initializer
    for initializer in (BiasHyperInit, WeightHyperInit, BothHyperInit, HyperFanIn, Orthogonal, Kaiming, Normc)
}
"""The initialisers by the name that ``policy_kwargs`` and the zoo's YAML use."""


def make_initializer(name: str, base: str = "orthogonal") -> HyperInitializer:
    """
    Build an initialiser from its name.

    :param name: a name in ``HYPER_INITIALIZERS``
    :param base: a name in ``BASE_INITIALIZERS``
    :return: the initialiser
    :raises ValueError: when a name is unknown
    """
    if name not in HYPER_INITIALIZERS:
        raise unknown_name("initializer", name, HYPER_INITIALIZERS)
    return HYPER_INITIALIZERS[name](base)
