"""
Recurrent agents in the manner of CleanRL's single files: a loop over time, in which (1 - start) resets the memory.

Their shape is that of sb3-contrib's MlpLstmPolicy with a shared LSTM: the recurrent layer reads the observation, and
actor and critic are tanh networks on its output.
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch as th
from peer_ppo import Agent, Unrolled
from torch import nn


def orthogonal_linear(n_inputs: int, n_outputs: int, gain: float) -> nn.Linear:
    linear = nn.Linear(n_inputs, n_outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


def tanh_network(n_inputs: int, layers: Sequence[int], n_outputs: int, output_gain: float) -> nn.Sequential:
    modules: list[nn.Module] = []
    for n, m in pairwise((n_inputs, *layers)):
        modules += [orthogonal_linear(n, m, 2**0.5), nn.Tanh()]
    return nn.Sequential(*modules, orthogonal_linear(layers[-1], n_outputs, output_gain))


class RecurrentAgent(Agent):
    """
    Actor and critic on the output of a recurrent layer.

    :param obs_dim: width of an observation
    :param n_actions: number of actions
    :param width: width of the recurrent layer
    :param layers: hidden layers of the actor, and of the critic
    """

    def __init__(self, obs_dim: int, n_actions: int, width: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.rnn = self.make_layer(obs_dim, width)
        self.memory_dim = self.n_states * width
        self.actor = tanh_network(width, layers, n_actions, 0.01)
        self.critic = tanh_network(width, layers, 1, 1.0)

    n_states: int
    """Vectors of the layer's width that its memory consists of."""

    @abstractmethod
    def make_layer(self, obs_dim: int, width: int) -> nn.Module:
        """The recurrent layer."""

    @abstractmethod
    def encode(self, obs: th.Tensor, memory: th.Tensor, starts: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Arguments of ``unroll`` to the layer's outputs ``(T, B, width)`` and the memory after them."""

    def unroll(self, obs: th.Tensor, memory: th.Tensor, starts: th.Tensor) -> Unrolled:
        encodings, memory = self.encode(obs, memory, starts)
        flat = encodings.flatten(0, 1)
        return Unrolled(self.actor(flat), self.critic(flat).squeeze(-1), memory)


class SingleFileLSTM(RecurrentAgent):
    n_states = 2

    def make_layer(self, obs_dim: int, width: int) -> nn.Module:
        return nn.LSTM(obs_dim, width)

    def encode(self, obs: th.Tensor, memory: th.Tensor, starts: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        hidden, cell = memory[None].chunk(2, dim=-1)
        encodings = []
        for x, start in zip(obs, starts, strict=True):
            keep = (1.0 - start)[None, :, None]
            encoding, (hidden, cell) = self.rnn(x[None], (keep * hidden, keep * cell))
            encodings.append(encoding)
        return th.cat(encodings), th.cat((hidden, cell), dim=-1)[0]


class SingleFileGRU(RecurrentAgent):
    n_states = 1

    def make_layer(self, obs_dim: int, width: int) -> nn.Module:
        return nn.GRU(obs_dim, width)

    def encode(self, obs: th.Tensor, memory: th.Tensor, starts: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        hidden = memory[None]
        encodings = []
        for x, start in zip(obs, starts, strict=True):
            encoding, hidden = self.rnn(x[None], (1.0 - start)[None, :, None] * hidden)
            encodings.append(encoding)
        return th.cat(encodings), hidden[0]
