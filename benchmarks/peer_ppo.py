"""A plain recurrent PPO as users write it, for agents that are no SB3 policies: sb3-contrib's losses and arguments."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv
from torch import nn
from torch.distributions import Categorical

Train = Callable[[Callable[[], None]], None]
"""Collects one rollout, calls what it is given, and updates on the rollout."""


class Unrolled(NamedTuple):
    """
    What an agent says along sequences.

    :param logits: ``(T * B, n_actions)``
    :param values: ``(T * B,)``
    :param memory: ``(B, memory_dim)`` after the last step
    """

    logits: th.Tensor
    values: th.Tensor
    memory: th.Tensor


class Agent(nn.Module, ABC):
    """Actor and critic with a memory; zeros are the memory of a trial without transitions."""

    memory_dim: int

    @abstractmethod
    def unroll(self, obs: th.Tensor, memory: th.Tensor, starts: th.Tensor) -> Unrolled:
        """
        Run along sequences; acting is a sequence of one step.

        :param obs: ``(T, B, D)``
        :param memory: ``(B, memory_dim)`` before the first step
        :param starts: ``(T, B)`` 1 where a trial starts, else 0
        """


class PPOSettings(NamedTuple):
    """RecurrentPPO's arguments, under its names; minibatches are whole environments."""

    n_steps: int
    batch_size: int
    n_epochs: int = 2
    learning_rate: float = 1e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.1
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5


class Rollout(NamedTuple):
    """``(T, B, …)`` each, and the memory ``(B, memory_dim)`` before the first step."""

    obs: th.Tensor
    actions: th.Tensor
    log_probs: th.Tensor
    advantages: th.Tensor
    returns: th.Tensor
    starts: th.Tensor
    memory: th.Tensor


def estimate_advantages(
    rewards: th.Tensor, values: th.Tensor, starts: th.Tensor, settings: PPOSettings
) -> tuple[th.Tensor, th.Tensor]:
    """
    Generalised advantage estimation (Schulman et al. 2016), as a loop.

    :param rewards: ``(T, B)``
    :param values: ``(T + 1, B)``
    :param starts: ``(T + 1, B)``
    :param settings: gamma and lambda
    :return: advantages and returns, ``(T, B)`` each
    """
    advantages = th.zeros_like(rewards)
    advantage = th.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        alive = 1.0 - starts[t + 1]
        delta = rewards[t] + settings.gamma * alive * values[t + 1] - values[t]
        advantage = delta + settings.gamma * settings.gae_lambda * alive * advantage
        advantages[t] = advantage
    return advantages, advantages + values[:-1]


class PlainPPO:
    """
    PPO for one agent in one vectorised environment.

    :param agent: the agent
    :param venv: environments with flat observations and discrete actions
    :param settings: RecurrentPPO's arguments
    :param device: where the agent lives
    """

    def __init__(self, agent: Agent, venv: VecEnv, settings: PPOSettings, device: str = "cpu") -> None:
        self.agent, self.venv, self.settings, self.device = agent.to(device), venv, settings, device
        self.optimizer = th.optim.Adam(agent.parameters(), lr=settings.learning_rate, eps=1e-5)
        self._obs = self._tensor(venv.reset())
        self._starts = th.ones(venv.num_envs, device=device)
        self._memory = th.zeros(venv.num_envs, agent.memory_dim, device=device)

    def train(self, after_collection: Callable[[], None]) -> None:
        """Collect one rollout, call, and update on the rollout."""
        rollout = self.collect()
        after_collection()
        self.update(rollout)

    @th.no_grad()
    def collect(self) -> Rollout:
        """``n_steps`` steps of every environment."""
        first_memory, steps = self._memory, []
        for _ in range(self.settings.n_steps):
            logits, values, self._memory = self.agent.unroll(self._obs[None], self._memory, self._starts[None])
            distribution = _categorical(logits)
            actions = distribution.sample()
            obs, rewards, dones, _ = self.venv.step(actions.cpu().numpy())
            log_probs = distribution.log_prob(actions)
            steps.append((self._obs, actions, log_probs, values, self._tensor(rewards), self._starts))
            self._obs, self._starts = self._tensor(obs), self._tensor(dones)
        obs_, actions, log_probs, values, rewards_, starts = (th.stack(column) for column in zip(*steps, strict=True))
        last_values = self.agent.unroll(self._obs[None], self._memory, self._starts[None]).values
        advantages, returns = estimate_advantages(
            rewards_, th.cat((values, last_values[None])), th.cat((starts, self._starts[None])), self.settings
        )
        return Rollout(obs_, actions, log_probs, advantages, returns, starts, first_memory)

    def update(self, rollout: Rollout) -> None:
        """All epochs of all minibatches."""
        n_envs = len(rollout.memory)
        for _ in range(self.settings.n_epochs):
            for envs in th.split(th.randperm(n_envs), self.settings.batch_size // self.settings.n_steps):
                *time_major, memory = rollout
                self._step(Rollout._make([*(x[:, envs] for x in time_major), memory[envs]]))

    def _step(self, batch: Rollout) -> None:
        settings = self.settings
        logits, values, _ = self.agent.unroll(batch.obs, batch.memory, batch.starts)
        distribution = _categorical(logits)
        advantages = batch.advantages.flatten()
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        ratio = (distribution.log_prob(batch.actions.flatten()) - batch.log_probs.flatten()).exp()
        clipped = ratio.clamp(1 - settings.clip_range, 1 + settings.clip_range)
        policy_loss = -th.min(advantages * ratio, advantages * clipped).mean()
        value_loss = nn.functional.mse_loss(values, batch.returns.flatten())
        entropy = distribution.entropy().mean()
        loss = policy_loss - settings.ent_coef * entropy + settings.vf_coef * value_loss
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.agent.parameters(), settings.max_grad_norm)
        self.optimizer.step()

    def _tensor(self, array: Any) -> th.Tensor:
        return th.as_tensor(cast(np.ndarray, array), dtype=th.float32, device=self.device)


def _categorical(logits: th.Tensor) -> Any:
    # torch.distributions has no types.
    return Categorical(logits=logits)
