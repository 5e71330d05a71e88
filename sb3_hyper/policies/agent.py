"""
The agent's network: features, encoder, latent, hypernetwork and base networks, without a word about distributions or
SB3's orders.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch as th
from torch import nn

from sb3_hyper.encoders import SequenceEncoder
from sb3_hyper.hypernetworks import BaseNetwork, Trunk
from sb3_hyper.hypernetworks.distinct_rows import DistinctRows
from sb3_hyper.policies.features import Features, Observation
from sb3_hyper.policies.generation import Generation, hold, renewals
from sb3_hyper.policies.latent import GaussianLatent, LinearLatent
from sb3_hyper.policies.settings import Conditioning


class BaseInput(NamedTuple):
    """
    What a base network is called with.

    :param x: ``(N, …)`` its input, or ``(U, …)`` the distinct rows of it
    :param factors: ``(N, K + 1)`` the hypernetwork's factors
    :param indices: ``(N,)`` which of the distinct rows each of the N is; None: x has N rows
    """

    x: th.Tensor
    factors: th.Tensor
    indices: th.Tensor | None = None


class Encoded(NamedTuple):
    """
    Everything before the base networks.

    :param actor: the actor's input
    :param critic: the critic's
    :param memory: ``(B, memory_dim)`` after the last step
    :param encodings: ``(N, encoder.output_dim)`` what the latents were made of
    :param latents: ``(N, latent_dim)`` as the encoder gives them at every step, with the encoder's gradient
    """

    actor: BaseInput
    critic: BaseInput
    memory: th.Tensor
    encodings: th.Tensor
    latents: th.Tensor


class AgentOutput(NamedTuple):
    """
    What an agent says at one step of B environments.

    :param actor: ``(B, …)`` logits or means
    :param hidden: ``(B, …)`` the actor's last hidden activations
    :param critic: the critic's input
    :param memory: ``(B, memory_dim)`` after the step
    """

    actor: th.Tensor
    hidden: th.Tensor
    critic: BaseInput
    memory: th.Tensor


class AgentStep(Protocol):
    """One step of an agent that was prepared for acting."""

    def __call__(
        self, obs: Observation, memory: th.Tensor, episode_starts: th.Tensor, noise: th.Tensor | None
    ) -> AgentOutput:
        """From B observations, memory, whether a trial starts ``(B,)`` and the latent's noise to the output."""
        ...


class Agent(nn.Module):
    """
    From observations to the actor's and the critic's outputs (see the diagram in the README).

    :param features: routes observations
    :param encoder: sequence encoder of the transitions
    :param to_latent: from encodings to latents
    :param trunk: layers between latent and heads
    :param critic_trunk: those of the critic; None: it shares the actor's
    :param conditioning: how the latent reaches the base networks
    :param generation: when the latent that conditions them is renewed
    :param detach_latent: whether the gradient of what comes behind the latent stops there
    :param actor: the actor
    :param critic: the critic
    """

    def __init__(
        self,
        features: Features,
        encoder: SequenceEncoder,
        to_latent: LinearLatent | GaussianLatent,
        trunk: Trunk,
        critic_trunk: Trunk | None,
        conditioning: Conditioning,
        generation: Generation,
        detach_latent: bool,
        actor: BaseNetwork,
        critic: BaseNetwork,
    ) -> None:
        super().__init__()
        self.conditioning = conditioning
        self.generation = generation
        self.detach_latent = detach_latent
        self.told: Callable[[th.Tensor], th.Tensor | None] | None = None
        """What an objective lets the agent know of a task that is shown, in the latent's place; None: nothing."""
        self.features = features
        self.encoder = encoder
        self.to_latent = to_latent
        self.trunk = trunk
        self.critic_trunk = critic_trunk
        self.actor = actor
        self.critic = critic
        # A latent that is held is part of the memory, behind the encoder's, with an entry that says so.
        self.held_dim = 0 if generation == "step" else trunk.latent_dim + 1
        self.memory_dim = encoder.state_dim + self.held_dim

    def encode(self, obs: Observation, memory: th.Tensor, resets: th.Tensor, noise: th.Tensor | None = None) -> Encoded:
        """
        Everything before the base networks.

        :param obs: T * B observations, time-major
        :param memory: ``(B, memory_dim)``
        :param resets: ``(T, B)`` bool, whether a trial starts at this step
        :param noise: ``(T * B, to_latent.noise_dim)`` what a Gaussian latent is sampled with; None: its mean is taken
        """
        state, transition = self.features(obs)
        encoder_memory, held = th.split(memory, [self.encoder.state_dim, self.held_dim], dim=-1)
        encodings, memory = self.encoder(transition.unflatten(0, resets.shape), encoder_memory, resets)
        encodings = encodings.flatten(0, 1)
        latents = self.to_latent(encodings, noise)
        seen = self._seen(latents, obs)
        if self.held_dim:
            renew = renewals(self.generation, obs, resets)
            kept, held = hold(seen.view(*resets.shape, -1), held, renew)
            seen, memory = kept.flatten(0, 1), th.cat((memory, held), dim=-1)
        return Encoded(*self._base_inputs(state, seen), memory, encodings, latents)

    def _seen(self, latents: th.Tensor, obs: Observation) -> th.Tensor:
        """The latent that the base networks see, with the gradient that their losses leave it."""
        if self.told is not None and isinstance(obs, Mapping) and "task" in obs:
            told = self.told(obs["task"])
            if told is not None:
                return told
        return latents.detach() if self.detach_latent else latents

    def infer(self, obs: Observation, resets: th.Tensor) -> tuple[th.Tensor, ...]:
        """
        What the encoder believes along whole trials, for auxiliary objectives.

        :param obs: T * B observations, time-major
        :param resets: ``(T, B)`` bool, True at least in the first step
        :return: mean and log-variance, ``(T, B, to_latent.belief_dim)`` each
        """
        transition = self.features.transitions(obs)
        memory = self.encoder.initial_state(resets.shape[1], resets.device)
        encodings, _ = self.encoder(th.unflatten(transition, 0, resets.shape), memory, resets)
        return self.to_latent.belief(encodings)

    def inferring_parameters(self) -> list[nn.Parameter]:
        """Those between a transition and the latent."""
        modules = (self.features.transition, self.encoder, self.to_latent)
        return [parameter for module in modules for parameter in module.parameters()]

    def _base_inputs(self, state: DistinctRows, latents: th.Tensor) -> tuple[BaseInput, BaseInput]:
        actor = self._base_input(state, self.trunk(latents))
        return actor, actor if self.critic_trunk is None else self._base_input(state, self.critic_trunk(latents))

    def _base_input(self, state: DistinctRows, factors: th.Tensor) -> BaseInput:
        # The factors end in a constant 1, which is no input.
        if self.conditioning == "latent":
            return BaseInput(factors[:, :-1], factors)
        if self.conditioning == "state_and_latent":
            return BaseInput(th.cat((state.expand(), factors[:, :-1]), dim=-1), factors)
        return BaseInput(state.rows, factors, state.indices)

    def make_step(self) -> AgentStep:
        """Prepare the agent for acting in a few large operations; what comes back is good until the weights change."""
        extract, encode = self.features.make_step(), self.encoder.make_step()
        act = self.actor.make_step()
        widths = [self.encoder.state_dim, self.held_dim]

        def step(
            obs: Observation, memory: th.Tensor, episode_starts: th.Tensor, noise: th.Tensor | None
        ) -> AgentOutput:
            state, transition = extract(obs)
            memory, held = th.split(th.where(episode_starts[:, None], 0.0, memory), widths, dim=-1)
            encoding, memory = encode(transition, memory)
            latents = self._seen(self.to_latent(encoding, noise), obs)
            if self.held_dim:
                kept, held = hold(latents[None], held, renewals(self.generation, obs, episode_starts[None]))
                latents, memory = kept[0], th.cat((memory, held), dim=-1)
            actor, critic = self._base_inputs(DistinctRows(state, None), latents)
            return AgentOutput(*act(actor.x, actor.factors), critic, memory)

        return step
