"""Environments whose task is set in a way of their own, made to read it from ``reset(options={"task": task})``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gymnasium as gym

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")


class _TaskByReset(gym.Wrapper[ObsType, ActType, ObsType, ActType]):
    """
    Take the task out of the options, hand it on, and report it as ``info["task"]``.

    A task that the environment reports itself is left as it is, so that whoever asked sees whether it obeyed.
    """

    def _hand_on(self, task: Any, options: dict[str, Any]) -> None:
        """Set the task, or put it among the options that the environment gets."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """
        Start an episode.

        :param seed: Passed to the environment.
        :param options: ``{"task": task}`` sets the task; the others are passed to the environment.
        :return: The first observation, and info with ``"task"`` if there was one.
        """
        options = dict(options or {})
        task = options.pop("task", None)
        if task is not None:
            self._hand_on(task, options)
        observation, info = self.env.reset(seed=seed, options=options or None)
        return observation, info if task is None else {"task": task, **info}


class SetTask(_TaskByReset[ObsType, ActType]):
    """
    For an environment whose task is set by a call, which ``reset()`` then keeps.

    :param env: The environment.
    :param set_task: Called with the unwrapped environment and the task before every episode; by default
        ``env.set_task(task)``, wherever under the wrappers it is.
    :raises AttributeError: If there is neither.
    """

    def __init__(self, env: gym.Env[ObsType, ActType], set_task: Callable[[Any, Any], object] | None = None) -> None:
        super().__init__(env)
        self._set_task = set_task
        self._method: Callable[[Any], object] | None = None if set_task else env.get_wrapper_attr("set_task")

    def _hand_on(self, task: Any, options: dict[str, Any]) -> None:
        if self._method is not None:
            self._method(task)
        elif self._set_task is not None:
            self._set_task(self.env.unwrapped, task)


class TaskOption(_TaskByReset[ObsType, ActType]):
    """
    For an environment that reads its task from an option of ``reset`` by another name, or does not report it.

    :param env: The environment.
    :param name: The option's name.
    """

    def __init__(self, env: gym.Env[ObsType, ActType], name: str) -> None:
        super().__init__(env)
        self._name = name

    def _hand_on(self, task: Any, options: dict[str, Any]) -> None:
        options[self._name] = task
