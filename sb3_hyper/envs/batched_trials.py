"""Trials of one task distribution in lockstep, without Python per environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from sb3_hyper.envs.action_encoding import ActionEncoder
from sb3_hyper.envs.random_stream import Array, RandomStream
from sb3_hyper.envs.rl2_observation import rl2_observation_space
from sb3_hyper.envs.task import State, TaskDistribution, select


class FinishedTrials(NamedTuple):
    """The trials that ended at a step, in numpy arrays with one row each."""

    indices: list[int]
    """Which environments."""
    observation: dict[str, npt.NDArray[Any]]
    """Their last observations."""
    episode_returns: npt.NDArray[np.float64]
    """Shape ``(n, K)``."""
    episode_lengths: npt.NDArray[np.int64]
    """Shape ``(n, K)``."""
    task: npt.NDArray[np.float32]
    """The tasks that they were on, shape ``(n, task_dim)``."""
    truncated: npt.NDArray[np.bool_]
    """Whether a time limit ended the last episode, shape ``(n,)``."""


class BatchedStep(NamedTuple):
    """The outcome of a step of a batch of trials."""

    observation: dict[str, Array]
    """With environments that ended a trial already in their next one."""
    reward: Array
    """float32, shape ``(B,)``."""
    done: Array
    """Bool, shape ``(B,)``: the trial ended."""
    finished: FinishedTrials | None
    """The trials that ended, None if there are none."""


class BatchedTrials:
    """
    ``RL2Observation(TrialWrapper(TaskEnv(distribution)))``, B times, reset when done: the same numbers, over arrays.

    :param distribution: The task distribution.
    :param n_envs: B.
    :param n_episodes: Episodes per trial.
    :param full_transitions: As in RL2Observation.
    :param expose_task: As in RL2Observation.
    :param xp: The array namespace.
    :param device: The device of the arrays; None for the namespace's default.
    """

    def __init__(
        self,
        distribution: TaskDistribution,
        n_envs: int,
        n_episodes: int,
        full_transitions: bool,
        expose_task: bool,
        xp: Any,
        device: Any = None,
    ) -> None:
        self.distribution = distribution
        self.n_envs = n_envs
        self.n_episodes = n_episodes
        self.full_transitions = full_transitions
        self.expose_task = expose_task
        self.xp = xp
        self.device = device
        self.encode = ActionEncoder(distribution.action_space, xp, device)
        self.observation_space = rl2_observation_space(
            distribution.observation_space,
            self.encode.space,
            full_transitions,
            distribution.task_space if expose_task else None,
        )
        self.task: Array = None
        self.state: State = None
        self._stream: RandomStream | None = None
        self._observation: Array = None
        self._slots = xp.arange(n_episodes, dtype=xp.int64, device=device)
        self._n_steps_since_reset = 0

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "xp"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A namespace is a module, which does not pickle.
        self.xp = array_namespace(self._slots)

    def reset(self, seeds: Sequence[int | None], tasks: Sequence[Any | None]) -> dict[str, Array]:
        """
        Start a trial in every environment.

        :param seeds: One per environment; None goes on with its random stream.
        :param tasks: One per environment; None samples it.
        :return: The observations.
        """
        xp = self.xp
        stream = self._seeded_stream(seeds)
        is_sampled = xp.asarray([task is None for task in tasks], device=self.device)
        self.task = self.distribution.sample_task(stream, is_sampled)
        for index, task in enumerate(tasks):
            if task is not None:
                row = self.distribution.check_task(task)
                self.task[index, :] = xp.asarray(row, device=self.device)
        self.state = self.distribution.reset(stream, self.task)
        self._observation = self.distribution.observe(self.task, self.state)
        self._n_steps_since_reset = 0
        self._start_counting()
        zero_action = xp.zeros((self.n_envs, *self.encode.space.shape), dtype=xp.float32, device=self.device)
        return self._entries(
            self._observation, zero_action, self._zero_column, self._zero_column, xp.zeros_like(self._observation)
        )

    def go_on_with_stream_of(self, other: BatchedTrials) -> None:
        """
        Draw the random numbers that another batch would have drawn next.

        :param other: As many environments, perhaps on another device.
        """
        self._stream = None if other._stream is None else other._stream.elsewhere(self.xp, self.device)

    def _seeded_stream(self, seeds: Sequence[int | None]) -> RandomStream:
        if self._stream is None:
            entropy = np.random.default_rng().integers(2**32, size=self.n_envs).tolist()
            known = [new if seed is None else seed for seed, new in zip(seeds, entropy, strict=True)]
            self._stream = RandomStream(known, self.xp, self.device)
            return self._stream
        for index, seed in enumerate(seeds):
            if seed is not None:
                self._stream.reseed(index, seed)
        return self._stream

    def _start_counting(self) -> None:
        xp, n_envs = self.xp, self.n_envs
        self._zero_column = xp.zeros((n_envs, 1), dtype=xp.float32, device=self.device)
        self._never = xp.zeros(n_envs, dtype=xp.bool, device=self.device)
        self._episode = xp.zeros(n_envs, dtype=xp.int64, device=self.device)
        self._return = xp.zeros(n_envs, dtype=xp.float64, device=self.device)
        self._length = xp.zeros(n_envs, dtype=xp.int64, device=self.device)
        self._episode_returns = xp.zeros((n_envs, self.n_episodes), dtype=xp.float64, device=self.device)
        self._episode_lengths = xp.zeros((n_envs, self.n_episodes), dtype=xp.int64, device=self.device)

    def step(self, actions: Array) -> BatchedStep:
        """
        Take one step in every environment, and start the next episode or trial where one ends.

        :param actions: Shape ``(B, *action_space.shape)``; values outside a box are clipped to its bounds.
        :return: The outcome.
        :raises RuntimeError: Before the first reset.
        """
        stream = self._stream
        if stream is None or self.state is None:
            raise RuntimeError("step() was called before reset(): call reset() first.")
        previous = self._observation
        actions = self.encode.clip(actions)
        self.state, reward, ended = self.distribution.step(stream, self.task, self.state, actions)
        observation = self.distribution.observe(self.task, self.state)
        self._observation = observation
        self._return += reward
        self._length += 1
        self._n_steps_since_reset += 1
        action = self.encode(actions)
        previous_reward = self.xp.reshape(reward, (-1, 1))
        entries = self._entries(observation, action, previous_reward, self._zero_column, previous)
        if not self._any_ended(ended):
            return BatchedStep(entries, reward, self._copy(self._never), None)
        return self._end_episodes(entries, reward, ended)

    def _any_ended(self, ended: Array) -> bool:
        """Whether an episode ended; episodes of one length end together, which is known without asking the device."""
        if self.distribution.fixed_length:
            return self._n_steps_since_reset % self.distribution.episode_length == 0
        return bool(self.xp.any(ended))

    def _entries(
        self, observation: Array, action: Array, reward: Array, new_episode: Array, previous: Array
    ) -> dict[str, Array]:
        """Gather the observation in arrays that nobody else writes to."""
        entries = {
            "observation": self._copy(observation),
            "previous_action": action,
            "previous_reward": self._copy(reward),
            "new_episode": self._copy(new_episode),
        }
        if self.full_transitions:
            entries["previous_observation"] = self._copy(previous)
        if self.expose_task:
            entries["task"] = self._copy(self.task)
        return entries

    def _copy(self, array: Array) -> Array:
        return array.copy() if isinstance(array, np.ndarray) else array.clone()

    def _end_episodes(self, entries: dict[str, Array], reward: Array, ended: Array) -> BatchedStep:
        """Close the books of the episodes that ended, and start the next ones."""
        xp, stream, distribution = self.xp, self._stream, self.distribution
        assert stream is not None
        slot = (self._slots[None, :] == self._episode[:, None]) & ended[:, None]
        self._episode_returns = xp.where(slot, self._return[:, None], self._episode_returns)
        self._episode_lengths = xp.where(slot, self._length[:, None], self._episode_lengths)
        self._return = xp.where(ended, xp.zeros_like(self._return), self._return)
        self._length = xp.where(ended, xp.zeros_like(self._length), self._length)
        self._episode = self._episode + xp.astype(ended, xp.int64)
        done = self._episode == self.n_episodes
        finished = self._finished(entries, done)
        if finished is not None:
            self._episode = xp.where(done, xp.zeros_like(self._episode), self._episode)
            self.task = xp.where(done[:, None], distribution.sample_task(stream, done), self.task)
        self.state = select(ended, distribution.reset(stream, self.task, ended), self.state)
        self._observation = distribution.observe(self.task, self.state)
        goes_on = xp.astype(~done, xp.float32)[:, None]
        entries = self._entries(
            self._observation,
            entries["previous_action"] * goes_on,
            entries["previous_reward"] * goes_on,
            xp.astype(ended & ~done, xp.float32)[:, None],
            _zero_where(done, entries.get("previous_observation", goes_on)),
        )
        return BatchedStep(entries, reward, done, finished)

    def _finished(self, entries: dict[str, Array], done: Array) -> FinishedTrials | None:
        """Copy what the infos of finished trials tell to the host."""
        rows = np.flatnonzero(_to_numpy(done))
        if len(rows) == 0:
            return None
        return FinishedTrials(
            indices=rows.tolist(),
            observation={key: _to_numpy(value)[rows] for key, value in entries.items()},
            episode_returns=_to_numpy(self._episode_returns)[rows],
            episode_lengths=_to_numpy(self._episode_lengths)[rows],
            task=_to_numpy(self.task)[rows],
            truncated=_to_numpy(self.distribution.truncated(self.state))[rows],
        )

    def tasks(self) -> npt.NDArray[np.float32]:
        """
        Give the present tasks.

        :return: A numpy array of its own, shape ``(B, task_dim)``.
        :raises RuntimeError: Before the first reset.
        """
        self._check_started()
        return np.array(_to_numpy(self.task))

    def _check_started(self) -> None:
        if self.state is None:
            raise RuntimeError("There is no task and nothing to draw before the first reset().")

    def row(self, index: int) -> tuple[npt.NDArray[np.float32], State]:
        """
        Give the task and the state of one environment, for drawing.

        :param index: Which environment.
        :return: The task, shape ``(1, task_dim)``, and the state, one row, in numpy arrays.
        :raises RuntimeError: Before the first reset.
        """
        self._check_started()
        state = type(self.state)(*(_to_numpy(value[index : index + 1]) for value in self.state))
        return _to_numpy(self.task[index : index + 1]), state


def _zero_where(mask: Array, array: Array) -> Array:
    """Put zeros into the rows in the mask, (B,), (B, ...) -> (B, ...); the dtype stays."""
    xp = array_namespace(mask)
    return array * xp.astype(xp.reshape(~mask, (-1,) + (1,) * (array.ndim - 1)), array.dtype)


def _to_numpy(array: Array) -> npt.NDArray[Any]:
    """Copy an array of any library to the host."""
    return array if isinstance(array, np.ndarray) else np.asarray(array.cpu())
