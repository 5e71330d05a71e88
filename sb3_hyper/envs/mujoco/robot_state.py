"""The state of simulated robots, on the host and on the device of the learner."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, device

from sb3_hyper.envs.random_stream import Array


class RobotState(NamedTuple):
    """The state of a batch of robots."""

    integration: Array
    """MuJoCo's whole physics state (``mjSTATE_INTEGRATION``), float64, shape ``(B, n_integration)``."""
    derived: Array
    """The derived fields of the robot, flat, float64, shape ``(B, n_derived)``."""
    n_steps: Array
    """Steps taken in this episode, int64, shape ``(B,)``."""
    has_fallen: Array
    """Whether the robot has left its healthy range, or the simulation broke down: bool, shape ``(B,)``."""


def to_host(array: Array) -> npt.NDArray[np.generic]:
    """
    Give an array of any library as a numpy array.

    :param array: A numpy array or a torch tensor of any device.
    :return: The numpy array; for numpy, and for torch on the CPU, the memory is shared.
    """
    return array if isinstance(array, np.ndarray) else np.asarray(array.cpu())


def like(other: Array, array: npt.NDArray[Any]) -> Array:
    """
    Move a numpy array to the library and the device of another array.

    :param other: A numpy array or a torch tensor.
    :param array: What is moved.
    :return: The array there.
    """
    return array if isinstance(other, np.ndarray) else array_namespace(other).asarray(array, device=device(other))


def state_like(other: Array, state: RobotState) -> RobotState:
    """
    Move a state to the library and the device of an array.

    :param other: A numpy array or a torch tensor.
    :param state: The state, in numpy arrays.
    :return: The state there.
    """
    return RobotState(*(like(other, value) for value in state))


def control_cost(ctrl: Array) -> Array:
    """
    Sum the squares of the controls.

    :param ctrl: Shape ``(B, n_actuators)``.
    :return: Shape ``(B,)``.
    """
    cost: Array = np.sum(np.square(ctrl), axis=1)
    return cost
