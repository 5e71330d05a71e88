"""Actions as vectors of numbers, as a memory reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.random_stream import Array


class ActionEncoder:
    """
    Encode a batch of actions as float32 vectors.

    | action space | encoding |
    |---|---|
    | Discrete | one-hot |
    | MultiDiscrete | one one-hot per entry, concatenated |
    | MultiBinary | 0 or 1 per entry |
    | Box | the values, flat |

    :param action_space: The action space of one environment.
    :param xp: The array namespace.
    :param device: The device of the arrays; None for the namespace's default.
    :raises TypeError: If there is no encoding for this space.
    """

    def __init__(self, action_space: spaces.Space[Any], xp: Any, device: Any = None) -> None:
        self.action_space = action_space
        self._columns: Array | None = None
        self._values: Array | None = None
        if isinstance(action_space, (spaces.Discrete, spaces.MultiDiscrete)):
            sizes, starts = _sizes_and_starts(action_space)
            values = np.concatenate([start + np.arange(size) for size, start in zip(sizes, starts, strict=True)])
            self._values = xp.asarray(values, dtype=xp.int64, device=device)
            columns = np.repeat(np.arange(len(sizes)), sizes)
            self._columns = xp.asarray(columns, dtype=xp.int64, device=device) if len(sizes) > 1 else None
            low, high = np.zeros(len(values)), np.ones(len(values))
        elif isinstance(action_space, spaces.MultiBinary):
            low, high = np.zeros(action_space.shape).reshape(-1), np.ones(action_space.shape).reshape(-1)
        elif isinstance(action_space, spaces.Box):
            low, high = np.minimum(action_space.low, 0).reshape(-1), np.maximum(action_space.high, 0).reshape(-1)
        else:
            raise TypeError(
                f"Actions of {action_space} cannot be part of the observation: wanted Discrete, MultiDiscrete, "
                "MultiBinary or Box. Flatten the action space with a wrapper."
            )
        self.space = spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
        """The space of an encoded action; it contains zero, which stands for "no action yet"."""

    def check(self, actions: npt.NDArray[Any]) -> None:
        """
        Check a batch of discrete actions cheaply; other spaces clip or take what they get.

        :param actions: Shape ``(B, *action_space.shape)``.
        :raises ValueError: If one is not in the action space.
        """
        space = self.action_space
        if isinstance(space, spaces.Discrete) and (
            actions.dtype.kind not in "iu" or actions.min() < space.start or actions.max() >= space.start + space.n
        ):
            raise ValueError(f"Actions {actions} ({actions.dtype}) are not all in {space}.")

    def __call__(self, actions: Array) -> Array:
        """
        Encode actions.

        :param actions: Shape ``(B, *action_space.shape)``.
        :return: float32, shape ``(B, encoded_dim)``, a new array.
        """
        xp = array_namespace(actions)
        flat = xp.reshape(actions, (actions.shape[0], -1))
        if self._values is None:
            return xp.astype(flat, xp.float32, copy=True)
        if self._columns is not None:
            flat = xp.take(flat, self._columns, axis=1)
        return xp.astype(flat == self._values, xp.float32)


def _sizes_and_starts(space: spaces.Discrete[Any] | spaces.MultiDiscrete) -> tuple[list[int], list[int]]:
    """How many values each entry of an action has, and its lowest value."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)], [int(space.start)]
    return [int(size) for size in space.nvec.reshape(-1)], [int(start) for start in space.start.reshape(-1)]
