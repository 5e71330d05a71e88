"""One environment of a task distribution, as a plain Gymnasium environment."""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy as xp
import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sb3_hyper.envs.action_encoding import ActionEncoder
from sb3_hyper.envs.random_stream import RandomStream
from sb3_hyper.envs.task import State, TaskDistribution
from sb3_hyper.errors import did_you_mean

RENDER_MODES = ["ansi", "rgb_array", "human"]


class TaskEnv(gym.Env[npt.NDArray[np.float32], Any]):
    """
    A batch of one: an episode of this environment is one inner episode of a task distribution.

    The task is sampled at every reset, unless ``reset(options={"task": task})`` sets it. ``info["task"]`` always
    holds it.
    An episode that reaches its step limit is ``terminated``, because the horizon belongs to the MDP, unless the
    distribution says that it is ``truncated``.

    :param distribution: The task distribution.
    :param render_mode: None, "ansi" (text), "rgb_array", or "human" (the text is printed).
    :raises ValueError: If there is no such render mode.
    """

    metadata = {"render_modes": RENDER_MODES, "render_fps": 10}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(self, distribution: TaskDistribution, render_mode: str | None = None) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode must be None or one of {RENDER_MODES}, got {render_mode!r}.")
        self.distribution = distribution
        self.observation_space = distribution.observation_space
        self.action_space = distribution.action_space
        self.task_space = distribution.task_space
        self.render_mode = render_mode
        self._actions = ActionEncoder(distribution.action_space, xp)
        self._stream: RandomStream | None = None
        self._task: npt.NDArray[np.float32] | None = None
        self._state: State = None
        self._needs_reset = True
        self._is_printed = False

    @property
    def task(self) -> npt.NDArray[np.float32]:
        """The present task, shape ``(task_dim,)``; settable only through ``reset(options={"task": task})``."""
        if self._task is None:
            raise RuntimeError("There is no task before the first reset().")
        return np.array(self._task[0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """
        Start an episode.

        :param seed: Starts the environment's random stream afresh; None goes on with it.
        :param options: ``{"task": task}`` sets the task.
        :return: The first observation and ``{"task": task}``.
        :raises ValueError: If the task or an option's name is wrong.
        """
        gym.Env.reset(self, seed=seed)
        options = _checked_options(options)
        if seed is not None or self._stream is None:
            stream_seed = seed if seed is not None else int(self.np_random.integers(2**32))
            self._stream = RandomStream([stream_seed], xp)
        if options.get("task") is None:
            self._task = self.distribution.sample_task(self._stream)
        else:
            self._task = self.distribution.check_task(options["task"])[None, :]
        self._state = self._first_state(self._stream, self._task)
        self._needs_reset = False
        return self._observe(), {"task": self.task}

    def step(self, action: Any) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """
        Take one step.

        :param action: An element of ``action_space``; values outside a box are clipped to its bounds.
        :return: Observation, reward, terminated, truncated and ``{"task": task}``.
        :raises ValueError: If the action is not in the action space; for a box, if its shape is wrong or it is NaN.
        :raises RuntimeError: If the episode is over, or has not begun.
        """
        if self._needs_reset or self._stream is None:
            raise RuntimeError("step() was called before reset(), or after the episode's end: call reset() first.")
        actions = np.asarray(action)[None]
        if isinstance(self.action_space, spaces.Box):
            self._actions.check(actions)
            actions = self._actions.clip(actions)
        elif not self.action_space.contains(actions[0]):
            raise ValueError(f"Action {action!r} is not in the action space {self.action_space}.")
        self._state, reward, ended = self._next_state(self._stream, self._task, actions)
        self._needs_reset = bool(ended[0])
        truncated = self._needs_reset and bool(self.distribution.truncated(self._state)[0])
        return self._observe(), float(reward[0]), self._needs_reset and not truncated, truncated, {"task": self.task}

    def _first_state(self, stream: RandomStream, task: Any) -> State:
        return self.distribution.reset(stream, task)

    def _next_state(self, stream: RandomStream, task: Any, actions: Any) -> tuple[State, Any, Any]:
        return self.distribution.step(stream, task, self._state, actions)

    def _observe(self) -> npt.NDArray[np.float32]:
        self._is_printed = False
        if self.render_mode == "human":
            self.render()
        observation: npt.NDArray[np.float32] = self.distribution.observe(self._task, self._state)[0]
        return observation

    def render(self) -> Any:
        """
        Draw the present state.

        :return: Text for "ansi", an image for "rgb_array"; None for "human", which prints the text once per state.
        :raises RuntimeError: Before the first reset.
        """
        if self._task is None:
            raise RuntimeError("render() was called before reset(): there is nothing to draw.")
        if self.render_mode is None:
            gym.logger.warn("render() does nothing without a render_mode: pass render_mode='ansi' or 'rgb_array'.")
            return None
        if self.render_mode == "rgb_array":
            return self.distribution.render_rgb(self._task, self._state)
        text = self.distribution.render_text(self._task, self._state)
        if self.render_mode == "ansi":
            return text
        if not self._is_printed:
            print(text, flush=True)
            self._is_printed = True
        return None


def _checked_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """Reject options that nobody would read."""
    options = options or {}
    for name in options:
        if name != "task":
            raise ValueError(
                f"reset() got the unknown option {name!r}; the only option is 'task'.{did_you_mean(name, ['task'])}"
            )
    return options
