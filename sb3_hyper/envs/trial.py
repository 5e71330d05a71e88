"""Trials: several episodes on one task as one Gymnasium episode."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sb3_hyper.envs.task_samplers import TaskSampler

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")

# SB3 reads these keys as the trial's, so the inner episodes' must not get out.
_EPISODE_KEYS = ("TimeLimit.truncated", "episode")
# Beside the seed: without it the first task would be made of the same random numbers as the first state.
_TASK_STREAM = int.from_bytes(b"task", "big")


class TrialWrapper(gym.Wrapper[ObsType, ActType, ObsType, ActType]):
    """
    Make a trial, K inner episodes on one task, look like one episode: the setting of RL^2 (Duan et al., 2016).

    It takes any environment whose task is set by ``reset(options={"task": task})`` and which reports the task that it
    plays as ``info["task"]``. Where the task comes from: the environment samples one in a ``reset`` without that
    option; or ``task_sampler`` draws it, from a random stream of its own: then a seed decides the tasks of all trials,
    whatever the actions are.

    When an inner episode ends and the trial goes on, ``step`` returns the *first* observation of the next episode, with
    ``info["new_episode"] = True`` and the finished episode's last observation as ``info["episode_final_observation"]``.
    ``terminated`` and ``truncated`` are True only at the trial's end, where they are those of the last episode, and
    ``info["episode_returns"]`` and ``info["episode_lengths"]`` list the K episodes, and ``info["episode_successes"]``
    does if the last step of an episode has SB3's ``info["is_success"]``. ``info["task"]`` is always there.

    :param env: The environment.
    :param n_episodes: K, at least 1.
    :param task_sampler: Draws the task of a trial from a generator that ``reset(seed=seed)`` seeds.
    :param task_space: If there is one, every task that is set must be an element of it.
    :raises ValueError: If ``n_episodes`` is less than 1, a task is not in its space, or the environment does not report
        the task or plays another one.
    :raises RuntimeError: If the environment raises; the message names the task, and the environment's index if
        :func:`number_environments` gave one; the cause is chained.
    """

    env_index: int | None = None
    """Its place in a ``VecEnv``, for error messages."""

    def __init__(
        self,
        env: gym.Env[ObsType, ActType],
        n_episodes: int,
        task_sampler: TaskSampler | None = None,
        task_space: spaces.Space[Any] | None = None,
    ) -> None:
        super().__init__(env)
        check_n_episodes(n_episodes)
        self.n_episodes = n_episodes
        self.task_sampler = task_sampler
        self._task_space = task_space
        self._task_random: np.random.Generator | None = None
        self._task: Any = None
        self._returns: list[float] = []
        self._lengths: list[int] = []
        self._successes: list[bool] = []

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
        options = dict(options or {})
        self._task, self._returns, self._lengths, self._successes = None, [0.0], [0], []
        if seed is not None or self._task_random is None:
            self._task_random = np.random.default_rng(None if seed is None else [seed, _TASK_STREAM])
        if options.get("task") is None and self.task_sampler is not None:
            options["task"] = self._sample_task(self.task_sampler, self._task_random)
        if options.get("task") is not None:
            self._check(options["task"])
        self._task = options.get("task")
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
        if "is_success" in info:
            self._successes.append(bool(info["is_success"]))
        if len(self._returns) == self.n_episodes:
            info.update(episode_returns=list(self._returns), episode_lengths=list(self._lengths))
            if self._successes:
                info["episode_successes"] = list(self._successes)
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
        if got is None:
            raise ValueError(
                f"{self.env} reports no info['task'] from reset(), so nothing tells that the episodes of a trial are "
                "on one task. Let reset() play the task in options['task'] and return it in its info. If the task is "
                "set in another way, give make_trials a task_sampler and set_task=... (a function of the environment "
                "and the task), or task_option=... (another option's name)."
            )
        if wanted is not None and not _same_task(got, wanted):
            raise ValueError(
                f"{self.env} was given the task {wanted!r}, but after reset() info['task'] is {got!r}: it ignores the "
                "option, or draws a new task over the one that was set. Let reset() play the task in options['task'], "
                "or keep the one of set_task()."
            )
        return observation, info

    def _sample_task(self, task_sampler: TaskSampler, random: np.random.Generator) -> Any:
        try:
            task = task_sampler(random)
        except Exception as error:
            raise self._error("task_sampler", error) from error
        if task is None:
            raise ValueError("task_sampler returned None: let it return the task that it draws from the generator.")
        return task

    def _check(self, task: Any) -> None:
        if self._task_space is not None and not _is_element(task, self._task_space):
            shape = f" of shape {task.shape} and dtype {task.dtype}" if isinstance(task, np.ndarray) else ""
            raise ValueError(
                f"The task {task!r}{shape} is not in the task space {self._task_space} of {self.env}. Set or draw "
                "tasks from it, or correct the environment's task_space."
            )

    def _error(self, where: str, error: Exception) -> RuntimeError:
        index = "" if self.env_index is None else f"environment {self.env_index}, "
        return RuntimeError(
            f"{type(error).__name__} in {where}() of {index}{self.env}, episode {len(self._returns)} of "
            f"{self.n_episodes}, task {self._task!r}: {error}"
        )


def number_environments(vec_env: Any) -> None:
    """
    Tell the trials in a vectorised environment their indices, which their errors then name.

    :param vec_env: SB3's ``DummyVecEnv`` or ``SubprocVecEnv`` of trials, or a ``VecEnvWrapper`` around one.
    """
    for index in range(vec_env.num_envs):
        vec_env.env_method("set_wrapper_attr", "env_index", index, indices=index)


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


def _is_element(task: Any, space: spaces.Space[Any]) -> bool:
    """Say whether a space contains a task, numbers of another precision included."""
    if isinstance(space, spaces.Box):
        try:
            array = np.asarray(task)
        except ValueError:
            return False
        return np.can_cast(array.dtype, space.dtype, "same_kind") and space.contains(array.astype(space.dtype))
    return space.contains(task)
