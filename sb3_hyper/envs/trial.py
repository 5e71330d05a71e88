"""Trials: several episodes on one task as one Gymnasium episode."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")
TaskSampler = Callable[[np.random.Generator], Any]

# SB3 reads these keys as the trial's, so the inner episodes' must not get out.
_EPISODE_KEYS = ("TimeLimit.truncated", "episode")


class TrialWrapper(gym.Wrapper[ObsType, ActType, ObsType, ActType]):
    """
    Make a trial, K inner episodes on one task, look like one episode: the setting of RL^2 (Duan et al., 2016).

    It takes any environment whose task is set by ``reset(options={"task": task})``. Where the task comes from: the
    environment samples one in a ``reset`` without that option and reports it as ``info["task"]``; or ``task_sampler``
    draws it.

    When an inner episode ends and the trial goes on, ``step`` returns the *first* observation of the next episode, with
    ``info["new_episode"] = True`` and the finished episode's last observation as ``info["episode_final_observation"]``.
    ``terminated`` and ``truncated`` are True only at the trial's end, where they are those of the last episode, and
    ``info["episode_returns"]`` and ``info["episode_lengths"]`` list the K episodes. ``info["task"]`` is always there.

    :param env: The environment.
    :param n_episodes: K, at least 1.
    :param task_sampler: Draws the task of a trial from a generator that ``reset(seed=seed)`` seeds.
    :raises ValueError: If ``n_episodes`` is less than 1, or the environment neither reports nor obeys a task.
    :raises RuntimeError: If the environment raises; the message names the task, the cause is chained.
    """

    def __init__(
        self, env: gym.Env[ObsType, ActType], n_episodes: int, task_sampler: TaskSampler | None = None
    ) -> None:
        super().__init__(env)
        check_n_episodes(n_episodes)
        self.n_episodes = n_episodes
        self.task_sampler = task_sampler
        self._task_random: np.random.Generator | None = None
        self._task: Any = None
        self._returns: list[float] = []
        self._lengths: list[int] = []

    @property
    def task(self) -> Any:
        """The trial's task."""
        return deepcopy(self._task)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """
        Start a trial.

        :param seed: Passed to the environment, and seeds the task sampler.
        :param options: Passed to the environment; ``{"task": task}`` sets the trial's task.
        :return: The first observation of the trial's first episode, and info with ``"task"``.
        """
        if self.task_sampler is not None and (seed is not None or self._task_random is None):
            self._task_random, _ = seeding.np_random(seed)
        options = dict(options or {})
        if options.get("task") is None and self.task_sampler is not None and self._task_random is not None:
            options["task"] = self.task_sampler(self._task_random)
        self._task = options.get("task")
        self._returns, self._lengths = [0.0], [0]
        observation, info = self._reset_episode(seed, options)
        self._task = deepcopy(info["task"])
        return observation, {**info, "new_episode": False}

    def step(self, action: ActType) -> tuple[ObsType, float, bool, bool, dict[str, Any]]:
        """
        Take one step, and begin the next episode where one ends.

        :param action: The action.
        :return: Observation, reward, terminated, truncated, info: see the class.
        """
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
        except Exception as error:
            raise self._error("step", error) from error
        self._returns[-1] += float(reward)
        self._lengths[-1] += 1
        info = {key: value for key, value in info.items() if key not in _EPISODE_KEYS}
        info.update(task=self.task, new_episode=False)
        if not (terminated or truncated):
            return observation, float(reward), False, False, info
        if len(self._returns) == self.n_episodes:
            info.update(episode_returns=list(self._returns), episode_lengths=list(self._lengths))
            return observation, float(reward), bool(terminated), bool(truncated), info
        first_observation, reset_info = self._reset_episode(None, {"task": self.task})
        self._returns.append(0.0)
        self._lengths.append(0)
        info = {**reset_info, **info, "new_episode": True, "episode_final_observation": observation}
        return first_observation, float(reward), False, False, info

    def _reset_episode(self, seed: int | None, options: dict[str, Any]) -> tuple[ObsType, dict[str, Any]]:
        try:
            observation, info = self.env.reset(seed=seed, options=options or None)
        except Exception as error:
            raise self._error("reset", error) from error
        wanted, got = options.get("task"), info.get("task")
        if got is None and (wanted is None or self.task_sampler is None):
            raise ValueError(
                f"{self.env} reports no info['task'] from reset(), so its next episode cannot be on the same task. "
                "Let reset() return the task in its info and read it from options['task'], or pass task_sampler=... to "
                "draw tasks here."
            )
        if got is not None and wanted is not None and not _same_task(got, wanted):
            raise ValueError(
                f"{self.env} was reset with options={{'task': {wanted!r}}} but reports info['task'] = {got!r}: it "
                "ignores the option. Let reset() read options['task'] and play that task."
            )
        return observation, {**info, "task": deepcopy(wanted if got is None else got)}

    def _error(self, method: str, error: Exception) -> RuntimeError:
        return RuntimeError(
            f"{type(error).__name__} in {method}() of {self.env}, episode {len(self._returns)} of {self.n_episodes}, "
            f"task {self._task!r}: {error}"
        )


def check_n_episodes(n_episodes: object) -> None:
    """Raise ValueError unless a trial of so many episodes has an end."""
    if not isinstance(n_episodes, (int, np.integer)) or n_episodes < 1:
        raise ValueError(f"n_episodes_per_trial must be a whole number of at least 1, got {n_episodes!r}.")


def _same_task(a: Any, b: Any) -> bool:
    """Compare two tasks, which may be numbers, arrays, or containers of them."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same_task(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        are_numbers = a.dtype.kind in "fiub" and b.dtype.kind in "fiub"
        return a.shape == b.shape and bool(np.allclose(a, b, equal_nan=True) if are_numbers else np.all(a == b))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_same_task(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
