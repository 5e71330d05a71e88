"""
RNN+HN and SplAgger the papers' way (Beck et al. 2023, 2024), from the equations: every base network's weights are
written down for every row, and recurrence and aggregator are loops over time.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch as th
from hypernetwork import multiply_and_sum
from peer_ppo import Agent, Unrolled
from torch import nn

from sb3_hyper import HyperPPO
from sb3_hyper.hypernetworks.hypernetwork import GeneratedLinear

LATENT_DIM, TRUNK_DIM = 24, 25
STATE_EMBEDDING_DIM, SMALL_EMBEDDING_DIM = 32, 8


class MaterialisedLinear(nn.Module):
    """
    y = W(h) x + b(h), W(h) and b(h) linear in h: the weights of every row, multiplied by x and summed.

    It starts by Bias-HyperInit: every h gives the same orthogonal weights.

    :param n_factors: width of h
    :param n_inputs: width of x
    :param n_outputs: width of y
    :param gain: of the orthogonal weights
    """

    def __init__(self, n_factors: int, n_inputs: int, n_outputs: int, gain: float) -> None:
        super().__init__()
        self.shape = (n_inputs, n_outputs)
        self.weights = nn.Linear(n_factors, n_inputs * n_outputs)
        self.biases = nn.Linear(n_factors, n_outputs)
        for zeros in (self.weights.weight, self.biases.weight, self.biases.bias):
            nn.init.zeros_(zeros)
        nn.init.orthogonal_(self.weights.bias.view(self.shape), gain)

    def forward(self, x: th.Tensor, h: th.Tensor) -> th.Tensor:
        """``(N, inputs), (N, factors) -> (N, outputs)``."""
        weights = self.weights(h).unflatten(1, self.shape)
        output: th.Tensor = (x[:, :, None] * weights).sum(dim=1) + self.biases(h)
        return output


class MaterialisedNetwork(nn.Module):
    """A base network whose layers are all written down."""

    def __init__(self, n_inputs: int, layers: Sequence[int], n_outputs: int, output_gain: float) -> None:
        super().__init__()
        hidden = [MaterialisedLinear(TRUNK_DIM, n, m, 5 / 3) for n, m in pairwise((n_inputs, *layers))]
        self.layers = nn.ModuleList([*hidden, MaterialisedLinear(TRUNK_DIM, layers[-1], n_outputs, output_gain)])

    def forward(self, x: th.Tensor, h: th.Tensor) -> th.Tensor:
        *hidden, output = self.layers
        for layer in hidden:
            x = layer(x, h).tanh()
        result: th.Tensor = output(x, h)
        return result


def _embedding(n_inputs: int, n_outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_inputs, n_outputs), nn.ReLU())


class PapersAgent(Agent):
    """
    RNN+HN or SplAgger.

    :param obs_widths: widths of a trial observation's parts, which come side by side in this order
    :param n_actions: number of actions
    :param width: width of the GRU
    :param layers: hidden layers of the actor, and of the critic
    :param state_dim: width of the base networks' embedding of the state; 0: they see the state itself
    :param aggregate: whether half of the GRU's output goes through a running maximum from 0 (SplAgger)
    """

    def __init__(
        self,
        obs_widths: Mapping[str, int],
        n_actions: int,
        width: int,
        layers: Sequence[int],
        state_dim: int,
        aggregate: bool,
    ) -> None:
        super().__init__()
        self.obs_widths, self.width, self.aggregate = dict(obs_widths), width, aggregate
        self.memory_dim = width + (width // 2 if aggregate else 0)
        n_state = obs_widths["observation"]
        self.embed_state = _embedding(n_state + obs_widths["new_episode"], STATE_EMBEDDING_DIM)
        self.embed_action = _embedding(obs_widths["previous_action"], SMALL_EMBEDDING_DIM)
        self.embed_reward = _embedding(obs_widths["previous_reward"], SMALL_EMBEDDING_DIM)
        self.embed_previous_state = _embedding(n_state, STATE_EMBEDDING_DIM)
        self.gru = nn.GRUCell(2 * STATE_EMBEDDING_DIM + 2 * SMALL_EMBEDDING_DIM, width)
        self.to_latent = nn.Linear(width, LATENT_DIM)
        self.trunk = nn.Sequential(nn.Linear(LATENT_DIM, TRUNK_DIM), nn.Tanh())
        self.embed_base_state = _embedding(n_state, state_dim) if state_dim else nn.Identity()
        self.actor = MaterialisedNetwork(state_dim or n_state, layers, n_actions, 0.01)
        self.critic = MaterialisedNetwork(state_dim or n_state, layers, 1, 1.0)

    def unroll(self, obs: th.Tensor, memory: th.Tensor, starts: th.Tensor) -> Unrolled:
        parts = dict(zip(self.obs_widths, th.split(obs, list(self.obs_widths.values()), dim=-1), strict=True))
        encodings, memory = self._encode(self._transitions(parts), memory, starts)
        h = self.trunk(self.to_latent(encodings.flatten(0, 1)))
        state = self.embed_base_state(parts["observation"].flatten(0, 1))
        return Unrolled(self.actor(state, h), self.critic(state, h).squeeze(-1), memory)

    def _transitions(self, parts: Mapping[str, th.Tensor]) -> th.Tensor:
        embeddings = (
            self.embed_state(th.cat((parts["observation"], parts["new_episode"]), dim=-1)),
            self.embed_action(parts["previous_action"]),
            self.embed_reward(parts["previous_reward"]),
            self.embed_previous_state(parts["previous_observation"]),
        )
        return th.cat(embeddings, dim=-1)

    def _encode(self, transitions: th.Tensor, memory: th.Tensor, starts: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        hidden, maximum = th.split(memory, [self.width, self.memory_dim - self.width], dim=-1)
        encodings = []
        for x, start in zip(transitions, starts, strict=True):
            keep = 1.0 - start[:, None]
            hidden = encoding = self.gru(x, keep * hidden)
            if self.aggregate:
                skip, aggregated = hidden.chunk(2, dim=-1)
                maximum = th.maximum(keep * maximum, aggregated)
                encoding = th.cat((skip, maximum), dim=-1)
            encodings.append(encoding)
        return th.stack(encodings), th.cat((hidden, maximum), dim=-1)


class _MultipliedAndSummed(nn.Module):
    """A generated layer of this package, applied the papers' way."""

    def __init__(self, layer: GeneratedLinear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: th.Tensor, factors: th.Tensor, indices: th.Tensor | None = None) -> th.Tensor:
        x = x if indices is None else x[indices]
        return multiply_and_sum(factors, x, self.weight.transpose(0, 1)) + factors @ self.bias


def materialise(model: HyperPPO) -> HyperPPO:
    """Let a model write its base networks down, with the parameters that it has; nothing else changes."""
    for network in (model.policy.agent.actor, model.policy.agent.critic):
        network.hidden_layers = nn.ModuleList(map(_MultipliedAndSummed, network.hidden_layers))  # type: ignore[arg-type]
        network.output_layer = _MultipliedAndSummed(network.output_layer)  # type: ignore[assignment, arg-type]
    return model
