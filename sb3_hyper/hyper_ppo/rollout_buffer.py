"""The rollout: time-major, on the device, with memories only where sequences start."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch as th
from gymnasium import spaces

Tensors = th.Tensor | dict[str, th.Tensor]


class SequenceMinibatch(NamedTuple):
    """
    A set of sequences, flat and time-major (T * B rows) where not said otherwise.

    :param observations: ``(T * B, …)``
    :param actions: ``(T * B, …)``
    :param old_values: ``(T * B,)``
    :param old_log_prob: ``(T * B,)``
    :param advantages: ``(T * B,)``
    :param returns: ``(T * B,)``
    :param latent_noise: ``(T * B, noise_dim)`` what the latents were sampled with
    :param memory: ``(B, memory_dim)`` before the first step
    :param resets: ``(T, B)`` bool
    """

    observations: Tensors
    actions: th.Tensor
    old_values: th.Tensor
    old_log_prob: th.Tensor
    advantages: th.Tensor
    returns: th.Tensor
    latent_noise: th.Tensor
    memory: th.Tensor
    resets: th.Tensor


def _zeros(space: spaces.Space, shape: tuple[int, ...], device: th.device) -> th.Tensor:  # type: ignore[type-arg]
    dtype = np.dtype(space.dtype)
    exact = th.int64 if dtype.kind in "iu" and dtype != np.uint8 else th.float32
    return th.zeros(*shape, *space.shape or (), dtype=th.uint8 if dtype == np.uint8 else exact, device=device)


class SequenceRolloutBuffer:
    """
    ``n_steps`` steps of ``n_envs`` environments, given back as whole sequences.

    :param n_steps: steps of a rollout
    :param n_envs: number of environments
    :param sequence_length: length of the sequences that minibatches are made of; divides ``n_steps``
    :param memory_dim: width of the agent's memory
    :param noise_dim: how many random numbers an agent's latent takes at a step
    :param observation_space: observation space
    :param action_space: action space
    :param device: where the rollout lives
    :param gamma: discount factor
    :param gae_lambda: lambda of generalised advantage estimation (Schulman et al. 2016)
    """

    def __init__(
        self,
        n_steps: int,
        n_envs: int,
        sequence_length: int,
        memory_dim: int,
        noise_dim: int,
        observation_space: spaces.Space,  # type: ignore[type-arg]
        action_space: spaces.Space,  # type: ignore[type-arg]
        device: th.device,
        gamma: float,
        gae_lambda: float,
    ) -> None:
        self.n_steps, self.n_envs, self.sequence_length = n_steps, n_envs, sequence_length
        self.gamma, self.gae_lambda = gamma, gae_lambda
        shape = (n_steps, n_envs)
        self.observations: Tensors
        if isinstance(observation_space, spaces.Dict):
            self.observations = {key: _zeros(space, shape, device) for key, space in observation_space.items()}
        else:
            self.observations = _zeros(observation_space, shape, device)
        is_binary = isinstance(action_space, spaces.MultiBinary)
        actions = _zeros(action_space, shape, device)
        self.actions = actions.float() if is_binary else actions
        self.episode_starts = th.zeros(shape, dtype=th.bool, device=device)
        self.rewards, self.values, self.log_probs, self.advantages, self.returns = th.zeros(5, *shape, device=device)
        self.latent_noise = th.zeros(*shape, noise_dim, device=device)
        self.memories = th.zeros(n_steps // sequence_length, n_envs, memory_dim, device=device)
        self.reset()

    def reset(self) -> None:
        """Begin a rollout."""
        self._steps: list[tuple[th.Tensor, ...]] = []

    @property
    def is_complete(self) -> bool:
        """Whether all steps are in: False before the first rollout, and after one that was broken off."""
        return len(self._steps) == self.n_steps

    def write_observation(self, obs: Mapping[str, np.ndarray | th.Tensor] | np.ndarray | th.Tensor) -> Tensors:
        """
        Put the current step's observations in.

        :param obs: ``(n_envs, …)``, numpy or tensors
        :return: the same on the device, ready for the policy
        """
        if isinstance(self.observations, dict):
            assert isinstance(obs, Mapping)
            return {key: _write(rows[len(self._steps)], obs[key]) for key, rows in self.observations.items()}
        assert not isinstance(obs, Mapping)
        return _write(self.observations[len(self._steps)], obs)

    def add(
        self,
        actions: th.Tensor,
        episode_starts: th.Tensor,
        log_probs: th.Tensor,
        memory: th.Tensor,
        latent_noise: th.Tensor,
    ) -> None:
        """
        Complete the current step; its observations are there already, rewards and values come for many steps at once.

        :param actions: ``(n_envs, …)``
        :param episode_starts: ``(n_envs,)`` bool, whether a trial started with this step's observation
        :param log_probs: ``(n_envs,)``
        :param memory: ``(n_envs, memory_dim)`` before this step
        :param latent_noise: ``(n_envs, noise_dim)``
        """
        cut, step_in_sequence = divmod(len(self._steps), self.sequence_length)
        if step_in_sequence == 0:
            self.memories[cut] = memory
        self._steps.append((actions, episode_starts, log_probs, latent_noise))

    def write_values(self, values: th.Tensor) -> None:
        """
        The critic's values of the latest steps.

        :param values: ``(T, n_envs)``
        """
        n_steps = len(self._steps)
        self.values[n_steps - len(values) : n_steps] = values

    def finish(self, rewards: th.Tensor, last_values: th.Tensor, dones: th.Tensor) -> None:
        """
        End the rollout and estimate advantages and returns.

        :param rewards: ``(n_steps, n_envs)`` as the losses see them
        :param last_values: ``(n_envs,)`` values after the last step
        :param dones: ``(n_envs,)`` bool, whether the last step ended a trial
        """
        targets = (self.actions, self.episode_starts, self.log_probs, self.latent_noise)
        for target, steps in zip(targets, zip(*self._steps, strict=True), strict=True):
            target.copy_(th.stack(steps))
        self.rewards.copy_(rewards)
        self.compute_returns_and_advantage(last_values, dones)

    def compute_returns_and_advantage(self, last_values: th.Tensor, dones: th.Tensor) -> None:
        """
        Generalised advantage estimation: A_t = delta_t + gamma lambda A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t, cut
        at trial ends.

        :param last_values: ``(n_envs,)`` values after the last step
        :param dones: ``(n_envs,)`` bool, whether the last step ended a trial
        """
        # What is behind a trial's end does not count: (T, B)
        alive = ~th.cat((self.episode_starts[1:], dones[None])) * 1.0
        next_values = th.cat((self.values[1:], last_values[None]))
        deltas = self.rewards + self.gamma * alive * next_values - self.values
        decay = self.gamma * self.gae_lambda * alive
        advantage = th.zeros_like(last_values)
        for t in range(self.n_steps - 1, -1, -1):
            advantage = th.addcmul(deltas[t], decay[t], advantage, out=self.advantages[t])
        th.add(self.advantages, self.values, out=self.returns)

    def flat_observations(self) -> Tensors:
        """All observations of the rollout, ``(n_steps * n_envs, …)``."""
        return _apply(lambda x: x.flatten(0, 1), self.observations)

    def observations_by_env(self) -> Tensors:
        """All observations of the rollout, ``(n_envs, n_steps, …)``."""
        return _apply(lambda x: x.transpose(0, 1), self.observations)

    def get(self, batch_size: int) -> Iterator[SequenceMinibatch]:
        """
        All sequences once, in random order, in minibatches.

        :param batch_size: rows of a minibatch; a multiple of ``sequence_length``
        """
        n_sequences = len(self.memories) * self.n_envs
        order = th.randperm(n_sequences)
        n_sequences_per_batch = batch_size // self.sequence_length
        for start in range(0, n_sequences, n_sequences_per_batch):
            chosen = order[start : start + n_sequences_per_batch]
            yield self._minibatch(chosen // self.n_envs, chosen % self.n_envs)

    def _minibatch(self, cut: th.Tensor, env: th.Tensor) -> SequenceMinibatch:
        cut, env = cut.to(self.actions.device), env.to(self.actions.device)
        steps = cut * self.sequence_length + th.arange(self.sequence_length, device=cut.device)[:, None]

        def take(x: th.Tensor) -> th.Tensor:
            # (n_steps, n_envs, …) -> (T, B, …) -> (T * B, …)
            return x[steps, env].flatten(0, 1)

        return SequenceMinibatch(
            observations=_apply(take, self.observations),
            actions=take(self.actions),
            old_values=take(self.values),
            old_log_prob=take(self.log_probs),
            advantages=take(self.advantages),
            returns=take(self.returns),
            latent_noise=take(self.latent_noise),
            memory=self.memories[cut, env],
            resets=self.episode_starts[steps, env],
        )


def _apply(function: Callable[[th.Tensor], th.Tensor], observations: Tensors) -> Tensors:
    """A function of a tensor for an observation with or without keys."""
    if isinstance(observations, dict):
        return {key: function(x) for key, x in observations.items()}
    return function(observations)


def _write(row: th.Tensor, value: np.ndarray | th.Tensor) -> th.Tensor:
    return row.copy_(value if isinstance(value, th.Tensor) else th.from_numpy(value))
