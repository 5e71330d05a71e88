"""What the agent of RL^2 sees: the state, and the transition that led to it."""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy as xp
import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sb3_hyper.envs.action_encoding import ActionEncoder

Observation = dict[str, Any]
_FLAG = (0.0, 1.0, (1,), np.float32)


def rl2_observation_space(
    observation_space: spaces.Space[Any],
    encoded_action_space: spaces.Box,
    full_transitions: bool,
    task_space: spaces.Space[Any] | None,
) -> spaces.Dict:
    """
    Build the space of RL^2 observations.

    :param observation_space: The environment's.
    :param encoded_action_space: The space of ``previous_action``.
    :param full_transitions: Whether there is a ``previous_observation``.
    :param task_space: The space of the tasks if they are exposed, else None.
    :return: A Dict space.
    :raises TypeError: If the environment's observations are themselves containers.
    """
    if isinstance(observation_space, (spaces.Dict, spaces.Tuple, spaces.Sequence, spaces.Graph, spaces.OneOf)):
        raise TypeError(
            f"RL2Observation puts the state under one key and cannot nest {type(observation_space).__name__} "
            "observations. Wrap the environment in gymnasium.wrappers.FlattenObservation first."
        )
    entries: dict[str, spaces.Space[Any]] = {
        "observation": observation_space,
        "previous_action": encoded_action_space,
        "previous_reward": spaces.Box(-np.inf, np.inf, (1,), np.float32),
        "new_episode": spaces.Box(*_FLAG[:3], dtype=_FLAG[3]),
    }
    if full_transitions:
        entries["previous_observation"] = _with_zero(observation_space)
    if task_space is not None:
        entries["task"] = _flat_box(task_space)
    return spaces.Dict(entries)


def _with_zero(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Widen a box that does not contain zero, which stands for "no transition yet"."""
    if isinstance(space, spaces.Box):
        low, high = np.minimum(space.low, 0).astype(space.dtype), np.maximum(space.high, 0).astype(space.dtype)
        return spaces.Box(low, high, dtype=space.dtype.type)
    start = np.asarray(getattr(space, "start", 0))
    if start.any():
        raise TypeError(
            f"{space} does not contain zero, which stands for 'no transition yet'. Shift its values to start at 0."
        )
    return space


def _flat_box(space: spaces.Space[Any]) -> spaces.Box:
    """A plain float32 box for flattened tasks: SB3 stores observation spaces and knows how to read this one."""
    flat = spaces.flatten_space(space)
    if not isinstance(flat, spaces.Box):
        raise TypeError(f"Tasks of {space} cannot be flattened to a vector, so they cannot be exposed.")
    return spaces.Box(flat.low.astype(np.float32), flat.high.astype(np.float32), dtype=np.float32)


class RL2Observation(gym.Wrapper[Observation, Any, Any, Any]):
    """
    Add the last transition to the observation (RL^2, Duan et al., 2016; full transitions as in SplAgger, 2024).

    | key | content |
    |---|---|
    | ``observation`` | the environment's observation |
    | ``previous_action`` | the last action, see :class:`~sb3_hyper.envs.action_encoding.ActionEncoder` |
    | ``previous_reward`` | the last reward, shape ``(1,)`` |
    | ``new_episode`` | 1 on the first step of an episode that is not the trial's first, else 0, shape ``(1,)`` |
    | ``previous_observation`` | the observation on which the last action was taken; only with ``full_transitions`` |
    | ``task`` | the task, flattened; only with ``expose_task`` |

    At a trial's first step all but ``observation`` and ``task`` are zeros. Around an environment that is no trial
    ``new_episode`` is always 0.

    :param env: The environment, usually a :class:`~sb3_hyper.envs.trial.TrialWrapper`.
    :param full_transitions: Whether the previous observation is included.
    :param expose_task: Whether the task, which is privileged, is included.
    :param task_space: The space of the tasks; by default the environment's attribute ``task_space``.
    :raises TypeError: If the observation or the action space cannot be put into a flat Dict.
    :raises ValueError: If the task is to be exposed and its space is unknown, or an observation or reward is NaN.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        full_transitions: bool = True,
        expose_task: bool = False,
        task_space: spaces.Space[Any] | None = None,
    ) -> None:
        super().__init__(env)
        self.full_transitions = full_transitions
        self.expose_task = expose_task
        self._encode = ActionEncoder(env.action_space, xp)
        self._task_space = self._find_task_space(task_space) if expose_task else None
        self._space = rl2_observation_space(
            env.observation_space, self._encode.space, full_transitions, self._task_space
        )
        self.observation_space = self._space
        self._last_observation: Any = None
        self._n_steps = 0

    def _find_task_space(self, task_space: spaces.Space[Any] | None) -> spaces.Space[Any]:
        if task_space is None and self.env.has_wrapper_attr("task_space"):
            task_space = self.env.get_wrapper_attr("task_space")
        if isinstance(task_space, spaces.Space):
            return task_space
        raise ValueError(
            f"expose_task=True needs the space of the tasks, and {self.env} has no attribute task_space that is a "
            f"Gymnasium space (got {task_space!r}). Give it one, or pass task_space=..."
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """
        Start a trial.

        :param seed: Passed to the environment.
        :param options: Passed to the environment.
        :return: The observation, with zeros for the transition that was not, and the info.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        self._n_steps = 0
        self._check(observation, 0.0)
        entries = {key: _zeros(space) for key, space in self._space.spaces.items()}
        entries["observation"] = observation
        self._keep(observation)
        return self._with_task(entries, info), info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """
        Take one step.

        :param action: The action.
        :return: Observation, reward, terminated, truncated, info.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._n_steps += 1
        self._check(observation, float(reward))
        entries = {
            "observation": observation,
            "previous_action": self._encode(np.asarray(action)[None])[0],
            "previous_reward": np.array([reward], np.float32),
            "new_episode": np.array([info.get("new_episode", False)], np.float32),
        }
        if self.full_transitions:
            entries["previous_observation"] = self._last_observation
        self._keep(observation)
        return self._with_task(entries, info), float(reward), terminated, truncated, info

    def _keep(self, observation: Any) -> None:
        """Keep a copy: some environments write the next observation into the same array."""
        self._last_observation = observation.copy() if isinstance(observation, np.ndarray) else observation

    def _with_task(self, entries: Observation, info: dict[str, Any]) -> Observation:
        if self._task_space is not None:
            if "task" not in info:
                raise ValueError(
                    f"expose_task=True needs info['task'] at every step, and {self.env} gave {list(info)}."
                )
            entries["task"] = np.array(spaces.flatten(self._task_space, info["task"]), np.float32)
        return entries

    def _check(self, observation: Any, reward: float) -> None:
        where = f"at step {self._n_steps} of {self.env}: the environment returned it, so look for the fault there."
        if np.isnan(reward):
            raise ValueError(f"The reward is NaN {where}")
        values = np.asarray(observation)
        if values.dtype.kind == "f" and np.isnan(values).any():
            entries = np.flatnonzero(np.isnan(values)).tolist()
            raise ValueError(f"Entries {entries} of the observation are NaN {where}")


def _zeros(space: spaces.Space[Any]) -> Any:
    """Zero as an element of a space."""
    if isinstance(space, spaces.Discrete):
        return np.int64(0)
    return np.zeros(space.shape or (), dtype=space.dtype)
