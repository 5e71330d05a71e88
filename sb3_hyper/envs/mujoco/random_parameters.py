"""Robots whose masses, inertias, dampings and frictions are the task: Walker2D and Hopper RandParams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.mujoco.robot_state import RobotState, control_cost
from sb3_hyper.envs.mujoco.robot_tasks import Floats, RobotTasks
from sb3_hyper.envs.random_stream import Array
from sb3_hyper.envs.task import Split

_BASES = {"body_mass": 1.5, "body_inertia": 1.5, "geom_friction": 1.5, "dof_damping": 1.3}
_LIMIT = 3.0


class RandomParameters(RobotTasks):
    """
    A planar robot with random physical parameters (rand_param_envs; the papers' RandParams).

    Each entry of four arrays of the model is multiplied by a power ``base^u`` of its own, with u uniform in [-3, 3):

    | array | entries | base |
    |---|---|---|
    | ``body_mass`` | one per body but the world | 1.5 |
    | ``body_inertia`` | three per body but the world | 1.5 |
    | ``geom_friction`` | three per geom (sliding, torsional, rolling), the floor included | 1.5 |
    | ``dof_damping`` | one per joint but the root's three | 1.3 |

    The task is the vector of all u in this order. For the splits the range of the first u, the torso's mass, is cut
    into 20 equal cells: every fourth is "test", the others are "train".

    :param split: None for all parameters, "train" or "test" for disjoint parts.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    n_episodes: ClassVar[int] = 2
    frame_skip: ClassVar[int] = 4
    position_noise: ClassVar[float] = 0.005
    velocity_noise: ClassVar[float] = 0.005
    has_normal_velocities: ClassVar[bool] = False
    task_names: ClassVar[str] = "the exponents u of masses, inertias, frictions and dampings"

    def __init__(
        self, split: Split | None = None, episode_length: int | None = None, n_threads: int | None = None
    ) -> None:
        model = self.load_model()
        # Where each array's changeable entries begin, along its first axis.
        self._first_rows = {"body_mass": 1, "body_inertia": 1, "geom_friction": 0, "dof_damping": 3}
        self._nominal: dict[str, Floats] = {name: getattr(model, name).copy() for name in _BASES}
        self.n_draws = sum(self._nominal[name][row:].size for name, row in self._first_rows.items())
        super().__init__(split, episode_length, n_threads)

    def make_task_space(self) -> spaces.Box:
        """Three steps of the base to either side."""
        return spaces.Box(-_LIMIT, _LIMIT, (self.n_draws,), np.float32)

    def task_of(self, uniform: Floats) -> Floats:
        """From one end of the range to the other."""
        return _LIMIT * (2.0 * uniform - 1.0)

    def model_fields(self, task: npt.NDArray[np.float32]) -> Mapping[str, Floats]:
        """Multiply the nominal parameters."""
        fields, start = {}, 0
        for name, base in _BASES.items():
            nominal, row = self._nominal[name], self._first_rows[name]
            size = nominal[row:].size
            exponents = task[:, start : start + size].astype(np.float64)
            # (n, size) -> (n, rows, ...)
            factors = (base**exponents).reshape((-1, *nominal[row:].shape))
            values = np.repeat(nominal[None], len(task), axis=0)
            values[:, row:] *= factors
            fields[name] = values
            start += size
        return fields

    def observe(self, task: Array, state: RobotState) -> Array:
        """Show positions and clipped velocities."""
        xp = array_namespace(state.integration)
        parts = [self.qpos(state)[:, 1:], xp.clip(self.qvel(state), -10.0, 10.0)]
        return xp.astype(xp.concat(parts, axis=1), xp.float32)

    def reward(self, task: Array, before: RobotState, after: RobotState, ctrl: Array) -> Array:
        """Reward running forwards, and health."""
        velocity = (self.qpos(after)[:, 0] - self.qpos(before)[:, 0]) / self.dt
        return velocity + ~after.has_fallen - 0.001 * control_cost(ctrl)


class Walker2DRandParams(RandomParameters):
    """
    Walk with two legs that are new in each trial (the papers' Walker2DRandParams).

    | observation | meaning | range |
    |---|---|---|
    | 0-7 | the torso's height and angle, the six joint angles | real |
    | 8-16 | velocities: x, z, angle, joints | [-10, 10], clipped |

    The action is the six torques, in [-1, 1]; values outside are clipped. A step is four MuJoCo steps of 0.002 s.
    Reward: ``v_x + 1 - 0.001 * |a|^2``, with the mean velocity of the step; as in Gymnasium the 1 is paid only while
    the robot is healthy. The episode ends, ``terminated``, when the torso's height leaves (0.8, 2.0) or its angle
    (-1, 1), else after 200 steps, ``truncated``. A trial is two episodes. Initial positions and velocities are uniform
    within 0.005 of the rest.

    The task, 58 numbers, and the splits: see :class:`RandomParameters`.

    Departures: Gymnasium's model of 2024 (v5) instead of the papers' of 2016; entries that are zero in the model are
    left out of the task; the splits are ours.

    :param split: None for all parameters, "train" or "test" for disjoint parts.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    xml_file = "walker2d_v5.xml"
    env_name = "Walker2DTaskEnv"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": 5.0}

    def is_healthy(self, state: RobotState) -> npt.NDArray[np.bool_]:
        """Height and angle are in their ranges."""
        height, angle = self.qpos(state)[:, 1], self.qpos(state)[:, 2]
        healthy: npt.NDArray[np.bool_] = (height > 0.8) & (height < 2.0) & (np.abs(angle) < 1.0)
        return healthy


class HopperRandParams(RandomParameters):
    """
    Hop on a leg that is new in each trial (the papers' HopperRandParams).

    | observation | meaning | range |
    |---|---|---|
    | 0-4 | the torso's height and angle, the three joint angles | real |
    | 5-10 | velocities: x, z, angle, joints | [-10, 10], clipped |

    The action is the three torques, in [-1, 1]; values outside are clipped. A step is four MuJoCo steps of 0.002 s.
    Reward: ``v_x + 1 - 0.001 * |a|^2``, with the mean velocity of the step; as in Gymnasium the 1 is paid only while
    the robot is healthy. The episode ends, ``terminated``, when the torso's height is 0.7 or less, its angle leaves
    (-0.2, 0.2) or another position or velocity leaves (-100, 100), else after 200 steps, ``truncated``. A trial is two
    episodes. Initial positions and velocities are uniform within 0.005 of the rest.

    The task, 34 numbers, and the splits: see :class:`RandomParameters`.

    Departures: Gymnasium's model of 2024 (v5) instead of the papers' of 2016; entries that are zero in the model are
    left out of the task; the splits are ours.

    :param split: None for all parameters, "train" or "test" for disjoint parts.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    xml_file = "hopper.xml"
    env_name = "HopperTaskEnv"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": 36.0}

    def is_healthy(self, state: RobotState) -> npt.NDArray[np.bool_]:
        """Height and angle are in their ranges, and nothing is huge."""
        qpos = self.qpos(state)
        others = np.concatenate([qpos[:, 2:], self.qvel(state)], axis=1)
        is_finite = (np.abs(others) < 100.0).all(axis=1)
        healthy: npt.NDArray[np.bool_] = is_finite & (qpos[:, 1] > 0.7) & (np.abs(qpos[:, 2]) < 0.2)
        return healthy
