"""The encoder without memory."""

import torch as th
from torch import nn
from typing_extensions import override

from sb3_hyper.encoders.base import SequenceEncoder


class PointwiseEncoder(SequenceEncoder):
    """
    tanh(W x + b) of each transition alone: what Max, CNP and PEARL aggregate (Beck et al. 2024, section 5).

    :param input_dim: width of a transition's features
    :param output_dim: width of an encoding
    :param activation_fn: what stands in the tanh's place
    """

    def __init__(self, input_dim: int, output_dim: int = 256, activation_fn: type[nn.Module] = nn.Tanh) -> None:
        super().__init__(input_dim, output_dim, state_dim=0)
        self.linear = nn.Linear(input_dim, output_dim)
        self.activation = activation_fn()

    @override
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        return self.activation(self.linear(x)), state
