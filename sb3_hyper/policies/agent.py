"""
The agent's network: features, encoder, latent, hypernetwork and base networks, without a word about distributions or
SB3's orders.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch as th
from torch import nn

from sb3_hyper.encoders import SequenceEncoder
from sb3_hyper.errors import unknown_name
from sb3_hyper.hypernetworks import BaseNetwork, HyperInitializer, LayerKind, Trunk
from sb3_hyper.policies.features import Features, Observation

Conditioning = Literal["hypernetwork", "film", "latent", "state_and_latent"]

LAYER_OF_CONDITIONING: dict[Conditioning, LayerKind] = {
    "hypernetwork": "generated",
    "film": "film",
    "latent": "plain",
    "state_and_latent": "plain",
}
"""How the latent reaches the base networks: through their weights, their activations' scales, or their input."""


class BaseSizes(NamedTuple):
    """
    Sizes of the base networks.

    :param state_dim: width of the state's embedding
    :param pi: widths of the actor's hidden layers
    :param vf: widths of the critic's hidden layers
    """

    state_dim: int
    pi: tuple[int, ...]
    vf: tuple[int, ...]


SIZES: dict[str, BaseSizes] = {
    name: BaseSizes(state_dim, layers, layers)
    for name, state_dim, layers in (
        ("XS", 64, (64, 32)),
        ("S", 128, (64, 64)),
        ("M", 128, (128, 64)),
        ("L", 256, (128, 128)),
        ("XL", 256, (256, 128)),
        ("XXL", 1024, (512, 512)),
    )
}
"""The papers' named sizes; XL is the papers' default."""


class AgentOutput(NamedTuple):
    """
    What an agent says at one step of B environments.

    :param actor: ``(B, …)`` logits or means
    :param hidden: ``(B, …)`` the actor's last hidden activations
    :param values: ``(B,)``
    :param memory: ``(B, memory_dim)`` after the step
    """

    actor: th.Tensor
    hidden: th.Tensor
    values: th.Tensor
    memory: th.Tensor


AgentStep = Callable[[Observation, th.Tensor, th.Tensor], AgentOutput]
"""From B observations, memory ``(B, memory_dim)`` and whether a trial starts ``(B,)`` to the agent's output."""


class Agent(nn.Module):
    """
    From observations to the actor's and the critic's outputs (see the diagram in the README).

    :param features: routes observations
    :param encoder: sequence encoder of the transitions
    :param latent_dim: width of the latent
    :param trunk_dims: widths of the layers between latent and heads
    :param conditioning: how the latent reaches the base networks
    :param sizes: sizes of the base networks
    :param activation_fn: activation of the base networks
    :param actor_dim: width of the actor's output
    :param actor_gain: gain of the actor's output layer
    :param initializer: how conditioned layers start
    :raises ValueError: when the conditioning is unknown or a size impossible
    """

    def __init__(
        self,
        features: Features,
        encoder: SequenceEncoder,
        latent_dim: int,
        trunk_dims: tuple[int, ...],
        conditioning: Conditioning,
        sizes: BaseSizes,
        activation_fn: type[nn.Module],
        actor_dim: int,
        actor_gain: float,
        initializer: HyperInitializer,
    ) -> None:
        super().__init__()
        if conditioning not in LAYER_OF_CONDITIONING:
            raise unknown_name("conditioning", conditioning, LAYER_OF_CONDITIONING)
        if latent_dim < 1:
            raise ValueError(
                f"latent_dim={latent_dim}: the latent needs at least one number (24 in the SplAgger paper)."
            )
        self.conditioning = conditioning
        self.features = features
        self.encoder = encoder
        self.to_latent = nn.Linear(encoder.output_dim, latent_dim)
        self.trunk = Trunk(latent_dim, trunk_dims, initializer)
        # The factors end in a constant 1, which is no input.
        n_inputs = {"latent": trunk_dims[-1], "state_and_latent": features.state_dim + trunk_dims[-1]}
        layer = LAYER_OF_CONDITIONING[conditioning]
        shared = (layer, self.trunk.output_dim, n_inputs.get(conditioning, features.state_dim))
        self.actor = BaseNetwork(*shared, sizes.pi, actor_dim, activation_fn, actor_gain, initializer)
        self.critic = BaseNetwork(*shared, sizes.vf, 1, activation_fn, 1.0, initializer)

    def encode(self, obs: Observation, memory: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """
        Everything before the base networks.

        :param obs: T * B observations, time-major
        :param memory: ``(B, encoder.state_dim)``
        :param resets: ``(T, B)`` bool, whether a trial starts at this step
        :return: base networks' input ``(T * B, …)``, factors ``(T * B, K + 1)`` and the memory after the last step
        """
        state, transition = self.features(obs)
        encodings, memory = self.encoder(transition.unflatten(0, resets.shape), memory, resets)
        factors = self.trunk(self.to_latent(encodings.flatten(0, 1)))
        return self._base_input(state, factors), factors, memory

    def _base_input(self, state: th.Tensor, factors: th.Tensor) -> th.Tensor:
        if self.conditioning == "latent":
            return factors[:, :-1]
        if self.conditioning == "state_and_latent":
            return th.cat((state, factors[:, :-1]), dim=-1)
        return state

    def make_step(self) -> AgentStep:
        """Prepare the agent for acting in a few large operations; what comes back is good until the weights change."""
        extract, encode = self.features.make_step(), self.encoder.make_step()
        act, value = self.actor.make_step(), self.critic.make_step()

        def step(obs: Observation, memory: th.Tensor, episode_starts: th.Tensor) -> AgentOutput:
            state, transition = extract(obs)
            encoding, memory = encode(transition, th.where(episode_starts[:, None], 0.0, memory))
            factors = self.trunk(self.to_latent(encoding))
            state = self._base_input(state, factors)
            return AgentOutput(*act(state, factors), value(state, factors)[0].squeeze(-1), memory)

        return step
