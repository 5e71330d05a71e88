"""Tasks for the half cheetah: run this way or that, at a speed, or as high as asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.finite_tasks import FiniteTaskSpace, no_split, task_table
from sb3_hyper.envs.mujoco.robot_state import RobotState, control_cost
from sb3_hyper.envs.mujoco.robot_tasks import Floats, RobotTasks
from sb3_hyper.envs.random_stream import Array
from sb3_hyper.envs.task import Split

_TORSO = 1
_CONTROL_WEIGHT = 0.05


class HalfCheetahTasks(RobotTasks):
    """
    What the half cheetah's task distributions share.

    | observation | meaning | range |
    |---|---|---|
    | 0-7 | positions of the joints but the root's x: z, pitch, back thigh, shin, foot, front thigh, shin, foot | real |
    | 8-16 | velocities of all nine joints | real |
    | 17-19 | the torso's place in space, one MuJoCo step old, as in the papers' code | real |

    The action is the six torques, in [-1, 1]; values outside are clipped. A step is five MuJoCo steps of 0.01 s. The
    episode lasts ``episode_length`` steps. Initial positions are uniform within 0.1 of the rest, initial velocities
    normal with standard deviation 0.1.
    """

    xml_file = "half_cheetah.xml"
    env_name = "HalfCheetahTaskEnv"
    derived_fields = ("xpos",)

    def torso(self, state: RobotState) -> Array:
        """The torso's place in space, shape ``(B, 3)``."""
        return self.derived(state, "xpos")[:, _TORSO, :]

    def observe(self, task: Array, state: RobotState) -> Array:
        """Show positions, velocities and the torso's place."""
        xp = array_namespace(state.integration)
        parts = [self.qpos(state)[:, 1:], self.qvel(state), self.torso(state)]
        return xp.astype(xp.concat(parts, axis=1), xp.float32)

    def velocity(self, before: RobotState, after: RobotState) -> Floats:
        """Mean velocity of the root along x during the step, shape ``(B,)``."""
        velocity: Floats = (self.qpos(after)[:, 0] - self.qpos(before)[:, 0]) / self.dt
        return velocity


class HalfCheetahDir(HalfCheetahTasks):
    """
    Run forwards or backwards (MAML, Finn et al., 2017, section 5.3; the papers' HalfCheetahDir).

    Observation and action: see :class:`HalfCheetahTasks`. Reward: ``direction * v_x - 0.05 * |a|^2``, with the mean
    velocity of the step. An episode lasts 200 steps, a trial one episode (two are common as well); it is ``truncated``.

    The task is the direction, +1 or -1, fair; a learner needs both, so there are no splits.

    Departures: Gymnasium's model of 2024 (v5) instead of the papers' of 2016.

    :param split: Must be None.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or a split is asked for.
    """

    task_names: ClassVar[str] = "the direction, 1 forwards or -1 backwards"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": -21.0}

    def __init__(
        self, split: Split | None = None, episode_length: int | None = None, n_threads: int | None = None
    ) -> None:
        if split is not None:
            raise no_split(type(self).__name__, 2, split)
        super().__init__(split, episode_length, n_threads)

    def make_task_space(self) -> spaces.Box:
        """Both directions."""
        return FiniteTaskSpace(task_table([(1.0,), (-1.0,)]))

    def task_of(self, uniform: Floats) -> Floats:
        """Forwards from one half on."""
        return np.where(uniform < 0.5, -1.0, 1.0)

    def reward(self, task: Array, before: RobotState, after: RobotState, ctrl: Array) -> Array:
        """Reward the velocity in the right direction."""
        return task[:, 0] * self.velocity(before, after) - _CONTROL_WEIGHT * control_cost(ctrl)

    def marker(self, task: npt.NDArray[np.float32], state: RobotState) -> tuple[float, float, float]:
        """A point ahead of where the robot should run."""
        x, y, _ = self.torso(state)[0]
        return float(x) + float(task[0, 0]), float(y), 1.5


class HalfCheetahDirSparse(HalfCheetahDir):
    """
    As :class:`HalfCheetahDir`, but the first ten metres are not rewarded: only ``-0.05 * |a|^2`` as long as the root's
    ``|x|`` is below 10 after the step. An episode lasts 400 steps.

    :param split: Must be None.
    :param episode_length: Steps per episode, at least 1; None for 400.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or a split is asked for.
    """

    default_episode_length: ClassVar[int] = 400
    reference_returns: ClassVar[Mapping[str, float]] = {"random": -40.0}

    def reward(self, task: Array, before: RobotState, after: RobotState, ctrl: Array) -> Array:
        """Reward the velocity far from the start."""
        is_far = np.abs(self.qpos(after)[:, 0]) >= 10.0
        return np.where(is_far, task[:, 0] * self.velocity(before, after), 0.0) - _CONTROL_WEIGHT * control_cost(ctrl)


class HalfCheetahVel(HalfCheetahTasks):
    """
    Run at a given speed (MAML, Finn et al., 2017, section 5.3; the papers' HalfCheetahVel).

    Observation and action: see :class:`HalfCheetahTasks`. Reward: ``-|v_x - target| - 0.05 * |a|^2``, with the mean
    velocity of the step. An episode lasts 200 steps, a trial one episode; it is ``truncated``.

    The task is the target velocity in m/s, uniform in [0, 3). For the splits the range is cut into 20 equal cells:
    every fourth is "test", the others are "train".

    Departures: Gymnasium's model of 2024 (v5) instead of the papers' of 2016; the splits are ours.

    :param split: None for all velocities, "train" or "test" for disjoint parts.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    task_names: ClassVar[str] = "the target velocity"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": -346.0}

    def make_task_space(self) -> spaces.Box:
        """From standing still to 3 m/s."""
        return spaces.Box(0.0, 3.0, (1,), np.float32)

    def task_of(self, uniform: Floats) -> Floats:
        """Three times as much."""
        return 3.0 * uniform

    def reward(self, task: Array, before: RobotState, after: RobotState, ctrl: Array) -> Array:
        """Punish the distance from the target velocity."""
        return -np.abs(self.velocity(before, after) - task[:, 0]) - _CONTROL_WEIGHT * control_cost(ctrl)

    def marker(self, task: npt.NDArray[np.float32], state: RobotState) -> tuple[float, float, float]:
        """A point ahead, as far as the robot should run in a third of a second."""
        x, y, _ = self.torso(state)[0]
        return float(x) + float(task[0, 0]) / 3.0, float(y), 1.5


class HalfCheetahHop(HalfCheetahTasks):
    """
    Bring the torso to a given height and keep it there.

    Observation and action: see :class:`HalfCheetahTasks`. Reward: ``10 * (-|z - target| - 0.05 * |a|^2)``, with the
    torso's height in the observation. An episode lasts 200 steps, a trial one episode; it is ``truncated``.

    The task is the target height in metres, uniform in [0.3, 2.0); at rest the torso is at 0.7, or lower once it has
    settled. For the splits the range is cut into 20 equal cells: every fourth is "test", the others are "train".

    Departures: Gymnasium's model of 2024 (v5) instead of the papers' of 2016; the splits are ours.

    :param split: None for all heights, "train" or "test" for disjoint parts.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    task_names: ClassVar[str] = "the target height"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": -1390.0}

    def make_task_space(self) -> spaces.Box:
        """From lying to two metres high."""
        return spaces.Box(0.3, 2.0, (1,), np.float32)

    def task_of(self, uniform: Floats) -> Floats:
        """Between the ends of the range."""
        return 0.3 + 1.7 * uniform

    def reward(self, task: Array, before: RobotState, after: RobotState, ctrl: Array) -> Array:
        """Punish the distance from the target height."""
        distance = np.abs(self.torso(after)[:, 2] - task[:, 0])
        return 10.0 * (-distance - _CONTROL_WEIGHT * control_cost(ctrl))

    def marker(self, task: npt.NDArray[np.float32], state: RobotState) -> tuple[float, float, float]:
        """The target height beside the torso."""
        x, y, _ = self.torso(state)[0]
        return float(x), float(y), float(task[0, 0])
