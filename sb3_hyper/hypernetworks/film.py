"""Feature-wise linear modulation (Perez et al. 2018): the latent scales and shifts what an ordinary layer computes."""

import torch as th
from torch import nn

from sb3_hyper.hypernetworks.initializers import HyperInitializer


class FiLMLinear(nn.Module):
    """
    y = s(h) * (W x + b) + t(h), with W and b ordinary parameters and s, t linear in the factors.

    Under Bias-HyperInit s starts at 1 for every latent (Beck et al. 2022), under Weight-HyperInit for every one-hot h,
    and Both-HyperInit is half of each; t starts at 0. Other initialisers fill s and t as they fill a generated layer
    with one input.

    :param n_factors: K + 1, the number of factors with the constant 1
    :param n_inputs: width of x
    :param n_outputs: width of y
    :param gain: gain of the layer's initialisation
    :param initializer: how the heads of s and t start
    """

    def __init__(
        self, n_factors: int, n_inputs: int, n_outputs: int, gain: float, initializer: HyperInitializer
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_outputs)
        self.scale = nn.Parameter(th.zeros(n_factors, n_outputs))
        self.shift = nn.Parameter(th.zeros(n_factors, n_outputs))
        with th.no_grad():
            initializer.base(self.linear.weight, gain)
            self.linear.bias.zero_()
            initializer.modulate(self.scale, self.shift)

    def forward(self, x: th.Tensor, factors: th.Tensor, indices: th.Tensor | None = None) -> th.Tensor:
        """``(N, inputs), (N, K + 1) -> (N, outputs)``; of ``(U, inputs)``, row ``indices[n]`` is the n-th input."""
        y = self.linear(x)
        return th.addcmul(factors @ self.shift, factors @ self.scale, y if indices is None else y[indices])
