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
    | Box | the values, clipped to the bounds, flat |

    :param action_space: The action space of one environment.
    :param xp: The array namespace.
    :param device: The device of the arrays; None for the namespace's default.
    :raises TypeError: If there is no encoding for this space.
    """

    def __init__(self, action_space: spaces.Space[Any], xp: Any, device: Any = None) -> None:
        self.action_space = action_space
        self._columns: Array | None = None
        self._values: Array | None = None
        self._bounds: tuple[Array, Array] | None = None
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
            lowest, highest = action_space.low.astype(np.float32), action_space.high.astype(np.float32)
            self._bounds = xp.asarray(lowest, device=device), xp.asarray(highest, device=device)
        else:
            raise TypeError(
                f"Actions of {action_space} cannot be part of the observation: wanted Discrete, MultiDiscrete, "
                "MultiBinary or Box. Flatten the action space with a wrapper."
            )
        self.space = spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
        """The space of an encoded action; it contains zero, which stands for "no action yet"."""

    def check(self, actions: npt.NDArray[Any]) -> None:
        """
        Check a batch of discrete or continuous actions cheaply; values outside a box are clipped, not refused.

        :param actions: Shape ``(B, *action_space.shape)``.
        :raises ValueError: If a discrete one is not in the action space; if a continuous one has the wrong shape, is
            not made of numbers, or is NaN.
        """
        space = self.action_space
        if isinstance(space, spaces.Box):
            _check_continuous(space, actions)
        if isinstance(space, spaces.Discrete) and (
            actions.dtype.kind not in "iu" or actions.min() < space.start or actions.max() >= space.start + space.n
        ):
            raise ValueError(f"Actions {actions} ({actions.dtype}) are not all in {space}.")

    def clip(self, actions: Array) -> Array:
        """
        Make actions what an environment of this action space plays.

        Continuous actions become float32 inside the bounds, as Gymnasium's own environments clip them; a policy with a
        Gaussian often leaves the bounds. All others stay as they are.

        :param actions: Shape ``(B, *action_space.shape)``.
        :return: The same shape.
        """
        if self._bounds is None:
            return actions
        xp, (low, high) = array_namespace(actions), self._bounds
        return xp.minimum(xp.maximum(xp.astype(actions, xp.float32, copy=False), low), high)

    def __call__(self, actions: Array) -> Array:
        """
        Encode actions.

        :param actions: Shape ``(B, *action_space.shape)``.
        :return: float32, shape ``(B, encoded_dim)``, a new array.
        """
        xp = array_namespace(actions)
        flat = xp.reshape(self.clip(actions), (actions.shape[0], -1))
        if self._values is None:
            return xp.astype(flat, xp.float32, copy=True)
        if self._columns is not None:
            flat = xp.take(flat, self._columns, axis=1)
        return xp.astype(flat == self._values, xp.float32)


def _check_continuous(space: spaces.Box, actions: npt.NDArray[Any]) -> None:
    """Raise ValueError unless these are numbers of the right shape, none of them NaN."""
    if actions.shape[1:] != space.shape or actions.dtype.kind not in "fiu":
        raise ValueError(
            f"Wanted continuous actions, numbers of shape {space.shape} each, for {space}; got shape "
            f"{actions.shape[1:]} of {actions.dtype}."
        )
    is_nan = np.isnan(actions)
    if is_nan.any():
        rows = np.flatnonzero(is_nan.reshape(len(actions), -1).any(axis=1))
        raise ValueError(
            f"Actions {actions[rows].tolist()} of environments {rows.tolist()} are NaN. Look for NaN in the weights of "
            "the policy that made them, and in what it observed."
        )


def _sizes_and_starts(space: spaces.Discrete[Any] | spaces.MultiDiscrete) -> tuple[list[int], list[int]]:
    """How many values each entry of an action has, and its lowest value."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)], [int(space.start)]
    return [int(size) for size in space.nvec.reshape(-1)], [int(start) for start in space.start.reshape(-1)]
