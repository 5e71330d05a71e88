"""Task distributions, written once over batches of environments."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, device
from gymnasium import spaces

from sb3_hyper.envs.random_stream import Array, RandomStream

if TYPE_CHECKING:
    from sb3_hyper.envs.task_env import TaskEnv

Split = Literal["train", "test"]
State = Any
"""A NamedTuple of arrays, each with the environments on its first axis."""


class TaskDistribution(ABC):
    """
    A distribution over finite-horizon MDPs, p(M).

    Every method works on a batch of environments on the first axis and uses only the array API, so one definition
    runs on numpy arrays and on torch tensors of any device. All randomness comes from the stream that is passed in;
    the methods change nothing else. A method with a ``mask`` returns values for every row, but advances only the
    streams of the rows in the mask: the caller keeps the other rows' old values.

    A subclass keeps every constructor argument in an attribute of the same name.

    :param task_space: A box of float32 vectors: what a user may set as a task, whatever the split.
    :param split: Which tasks are sampled: None for all, "train" or "test" for two disjoint parts.
    :raises ValueError: If there is no such split.
    """

    n_episodes: ClassVar[int] = 4
    """Episodes per trial in the papers."""
    fixed_length: bool = False
    """Whether every episode lasts exactly ``episode_length`` steps, whatever happens: then nobody looks for its end."""
    reference_returns: ClassVar[Mapping[str, float]] = {}
    """Mean return per trial of known policies, at the default settings."""
    task_names: ClassVar[str] = "task"
    """What the numbers of a task mean, for error messages."""

    observation_space: spaces.Box[Any]
    """A box of float32 numbers, or of bytes for pictures."""
    action_space: spaces.Space[Any]
    episode_length: int
    """The most steps that an episode can last."""

    def __init__(self, task_space: spaces.Box[Any], split: Split | None) -> None:
        if split not in (None, "train", "test"):
            raise ValueError(f"split must be None, 'train' or 'test', got {split!r}.")
        self.split = split
        self.task_space = task_space
        self._constants: dict[str, Array] = {}

    @abstractmethod
    def sample_task(self, stream: RandomStream, mask: Array | None = None) -> Array:
        """
        Draw tasks from the split.

        :param stream: The environments' random streams.
        :param mask: Bool, shape ``(B,)``: the environments that get a new task; None for all.
        :return: float32, shape ``(B, task_dim)``, a new array.
        """

    @abstractmethod
    def reset(self, stream: RandomStream, task: Array, mask: Array | None = None) -> State:
        """
        Draw initial states.

        :param stream: The environments' random streams.
        :param task: The tasks, shape ``(B, task_dim)``.
        :param mask: Bool, shape ``(B,)``: the environments that start an episode; None for all.
        :return: The states, B rows.
        """

    @abstractmethod
    def step(self, stream: RandomStream, task: Array, state: State, action: Array) -> tuple[State, Array, Array]:
        """
        Take one step in every environment.

        :param stream: The environments' random streams.
        :param task: The tasks, shape ``(B, task_dim)``.
        :param state: The states, B rows.
        :param action: int64, shape ``(B,)``, for discrete actions; for a box of actions float32 inside its bounds,
            shape ``(B, *action_space.shape)``.
        :return: The next states, the rewards (float32, shape ``(B,)``) and whether the episode ended (bool, same
            shape).
        """

    @abstractmethod
    def observe(self, task: Array, state: State) -> Array:
        """
        Say what the agent sees.

        :param task: The tasks, shape ``(B, task_dim)``.
        :param state: The states, B rows.
        :return: Shape ``(B, *observation_space.shape)``, of that space's dtype.
        """

    @abstractmethod
    def render_text(self, task: npt.NDArray[np.float32], state: State) -> str:
        """
        Draw one environment as text.

        :param task: Its task, shape ``(1, task_dim)``.
        :param state: Its state, one row of numpy arrays.
        :return: Lines without a final line break.
        """

    @abstractmethod
    def render_rgb(self, task: npt.NDArray[np.float32], state: State) -> npt.NDArray[np.uint8]:
        """
        Draw one environment as an image.

        :param task: Its task, shape ``(1, task_dim)``.
        :param state: Its state, one row of numpy arrays.
        :return: uint8, shape ``(height, width, 3)``.
        """

    def truncated(self, state: State) -> Array:
        """
        Say which episodes were ended by a time limit that is no part of the MDP, so that learners bootstrap there.

        :param state: The states after a step, B rows.
        :return: Bool, shape ``(B,)``; here never: the horizon belongs to the MDP.
        """
        xp = array_namespace(state[0])
        return xp.zeros(state[0].shape[0], dtype=xp.bool, device=device(state[0]))

    def env_type(self) -> type[TaskEnv]:
        """
        Say which class plays one environment.

        :return: What to call with the distribution and a render mode.
        """
        from sb3_hyper.envs.task_env import TaskEnv

        return TaskEnv

    def check_task(self, task: Any) -> npt.NDArray[np.float32]:
        """
        Check a task that a user sets.

        :param task: Anything that numpy can read as a vector of ``task_dim`` numbers.
        :return: The task, float32, shape ``(task_dim,)``.
        :raises ValueError: If it is no task of this distribution.
        """
        try:
            row = np.array(task, dtype=np.float32)
        except (TypeError, ValueError):
            row = np.array([])
        if not self.task_space.contains(row):
            raise ValueError(
                f"{task!r} is not a task of {self!r}: wanted {self.task_names}, an element of {self.task_space}. "
                "Set one of these, or leave the task out to have it sampled."
            )
        return row

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments and their values."""
        names = list(inspect.signature(type(self)).parameters)
        return {name: getattr(self, name) for name in names}

    def _constant(self, name: str, like: Array) -> Array:
        """Give the numpy array kept under this attribute, moved once to the library and device of another array."""
        value = getattr(self, name)
        if isinstance(like, np.ndarray):
            return value
        key = f"{name} {device(like)}"
        if key not in self._constants:
            self._constants[key] = array_namespace(like).asarray(value, device=device(like))
        return self._constants[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_constants": {}}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.settings == other.settings

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.settings.items())))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({arguments})"


def select(mask: Array, new: State, old: State) -> State:
    """
    Take the new state in some environments and keep the old one in the others.

    :param mask: Bool, shape ``(B,)``: where the new state is taken.
    :param new: A NamedTuple of arrays with B rows.
    :param old: Another of the same kind.
    :return: A third of the same kind.
    """
    xp = array_namespace(mask)

    def merge(a: Array, b: Array) -> Array:
        # mask (B,) -> (B, 1, ..., 1)
        return xp.where(xp.reshape(mask, (-1,) + (1,) * (a.ndim - 1)), a, b)

    return type(new)(*(merge(a, b) for a, b in zip(new, old, strict=True)))
