"""Tasks for the ant: run in a direction, or to a place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.mujoco.robot_state import RobotState, control_cost
from sb3_hyper.envs.mujoco.robot_tasks import Floats, RobotTasks
from sb3_hyper.envs.mujoco.spaces import Circle, Disc
from sb3_hyper.envs.random_stream import Array

_TORSO = 1


class AntTasks(RobotTasks):
    """
    What the ant's task distributions share.

    The action is the eight torques, in [-1, 1]; values outside are clipped. A step is five MuJoCo steps of 0.01 s.
    Initial positions are uniform within 0.1 of the rest, initial velocities normal with standard deviation 0.1.

    The contact cost is ``0.0005 * |clip(contact forces, -1, 1)|^2``. The contact forces (``cfrc_ext``) are those of the
    state that the step leads to, from one more forward pass (``mjSTAGE_ACC``) with an accelerometer on the torso, for
    which MuJoCo computes them. Gymnasium computes them from what the last MuJoCo step left behind: 1 % of the entries
    differ, and the cost by 0.0002 on average. The torso's place in space is one MuJoCo step old, as in Gymnasium.
    """

    xml_file = "ant.xml"
    env_name = "AntTaskEnv"
    derived_fields = ("xpos", "cfrc_ext")

    def place(self, state: RobotState) -> Array:
        """The torso's place on the ground, shape ``(B, 2)``."""
        return self.derived(state, "xpos")[:, _TORSO, :2]

    def contact_forces(self, state: RobotState) -> Array:
        """The clipped forces and torques on the bodies but the world, flat, shape ``(B, 78)``."""
        forces = self.derived(state, "cfrc_ext")
        xp = array_namespace(forces)
        return xp.reshape(xp.clip(forces[:, 1:, :], -1.0, 1.0), (-1, 6 * (forces.shape[1] - 1)))

    def contact_cost(self, state: RobotState) -> Floats:
        """The contact cost, shape ``(B,)``."""
        cost: Floats = 0.0005 * np.sum(np.square(self.contact_forces(state)), axis=1)
        return cost


class AntDirection(AntTasks):
    """What the tasks to run in a direction share: the state, the reward and the end."""

    def observe(self, task: Array, state: RobotState) -> Array:
        """Show positions and velocities."""
        xp = array_namespace(state.integration)
        return xp.astype(xp.concat([self.qpos(state)[:, 2:], self.qvel(state)], axis=1), xp.float32)

    def is_healthy(self, state: RobotState) -> npt.NDArray[np.bool_]:
        """The torso's height is in [0.2, 1.0]."""
        height = self.qpos(state)[:, 2]
        healthy: npt.NDArray[np.bool_] = (height >= 0.2) & (height <= 1.0)
        return healthy

    @abstractmethod
    def direction(self, task: Array) -> Array:
        """
        Give the unit vector of a task.

        :param task: The tasks, shape ``(B, task_dim)``.
        :return: Shape ``(B, 2)``.
        """

    def reward(self, task: Array, before: RobotState, after: RobotState, ctrl: Array) -> Array:
        """Reward the velocity in the right direction, and health."""
        velocity = (self.place(after) - self.place(before)) / self.dt
        forward = np.sum(velocity * self.direction(task), axis=1)
        return forward - 0.5 * control_cost(ctrl) - self.contact_cost(after) + ~after.has_fallen

    def marker(self, task: npt.NDArray[np.float32], state: RobotState) -> tuple[float, float, float]:
        """A point ahead of where the robot should run."""
        x, y = self.place(state)[0] + self.direction(task)[0]
        return float(x), float(y), 1.0

    def seen_from_above(self, task: npt.NDArray[np.float32], state: RobotState) -> tuple[float, float, float]:
        """The robot."""
        x, y = self.place(state)[0]
        return float(x), float(y), 5.0


class AntDir(AntDirection):
    """
    Run in a direction up to an angle of 1 rad off the x axis (the papers' AntDir).

    | observation | meaning | range |
    |---|---|---|
    | 0-12 | the torso's height and orientation (a quaternion), the eight joint angles | real |
    | 13-26 | velocities: torso (6), joints (8) | real |

    Actions, initial states and the contact cost: see :class:`AntTasks`. Reward:
    ``velocity . direction - 0.5 * |a|^2 - contact cost + 1``, with the torso's mean velocity of the step; as in
    Gymnasium the 1 is paid only while the robot is healthy. The episode ends, ``terminated``, when the torso's height
    leaves [0.2, 1.0], else after 200 steps, ``truncated``. A trial is one episode.

    The task is the angle in rad, uniform in [-1, 1). For the splits the range is cut into 20 equal cells: every fourth
    is "test", the others are "train".

    Departures: Gymnasium's model of 2024 (v5) instead of the papers' of 2016; the splits are ours.

    :param split: None for all directions, "train" or "test" for disjoint parts.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    task_names: ClassVar[str] = "the angle of the direction"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": -30.0}

    def make_task_space(self) -> spaces.Box:
        """One radian to either side."""
        return spaces.Box(-1.0, 1.0, (1,), np.float32)

    def task_of(self, uniform: Floats) -> Floats:
        """From one end of the range to the other."""
        return 2.0 * uniform - 1.0

    def direction(self, task: Array) -> Array:
        """The unit vector at the angle."""
        return np.concatenate([np.cos(task), np.sin(task)], axis=1)


class AntDir2D(AntDirection):
    """
    Run in any direction.

    As :class:`AntDir`, but the task is a unit vector ``(x, y)``, uniform on the circle. For the splits the circle is
    cut into 20 equal sectors, counted from the x axis: every fourth is "test", the others are "train".

    :param split: None for all directions, "train" or "test" for disjoint parts.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    task_names: ClassVar[str] = "the direction, a unit vector (x, y)"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": -30.0}

    def make_task_space(self) -> spaces.Box:
        """Unit vectors."""
        return Circle(1.0)

    def task_of(self, uniform: Floats) -> Floats:
        """The unit vector at that share of the circle."""
        return unit_vector(uniform[:, :1])

    def direction(self, task: Array) -> Array:
        """The task itself."""
        return task


class AntGoal(AntTasks):
    """
    Run to a place that is not shown (the papers' AntGoal).

    | observation | meaning | range |
    |---|---|---|
    | 0-14 | the torso's place (x, y, z) and orientation (a quaternion), the eight joint angles | real |
    | 15-28 | velocities: torso (6), joints (8) | real |
    | 29-106 | forces and torques of contacts on the 13 bodies, clipped | [-1, 1] |

    Actions, initial states and the contact forces: see :class:`AntTasks`. Reward:
    ``-|place - goal|_1 - 0.1 * |a|^2 - contact cost``, with the torso's place. Nothing but the time limit of 200 steps
    ends an episode. A trial is two episodes; it is ``truncated``.

    The task is the goal ``(x, y)``, uniform in the disc of radius 3. For the splits the disc is cut into 20 equal
    sectors, counted from the x axis: every fourth is "test", the others are "train".

    Departures: Gymnasium's model of 2024 (v5) instead of the papers' of 2016; the forces on the world, always zero, are
    left out, as in Gymnasium; the splits are ours.

    :param split: None for all goals, "train" or "test" for disjoint parts.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    n_episodes: ClassVar[int] = 2
    n_draws = 2
    task_names: ClassVar[str] = "the goal (x, y)"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": -1470.0}

    def make_task_space(self) -> spaces.Box:
        """Up to 3 m from the start."""
        return Disc(3.0)

    def task_of(self, uniform: Floats) -> Floats:
        """Uniform in area."""
        return 3.0 * np.sqrt(uniform[:, 1:]) * unit_vector(uniform[:, :1])

    def observe(self, task: Array, state: RobotState) -> Array:
        """Show positions, velocities and contact forces."""
        xp = array_namespace(state.integration)
        parts = [self.qpos(state), self.qvel(state), self.contact_forces(state)]
        return xp.astype(xp.concat(parts, axis=1), xp.float32)

    def reward(self, task: Array, before: RobotState, after: RobotState, ctrl: Array) -> Array:
        """Punish the distance to the goal."""
        distance = np.sum(np.abs(self.place(after) - task), axis=1)
        return -distance - 0.1 * control_cost(ctrl) - self.contact_cost(after)

    def marker(self, task: npt.NDArray[np.float32], state: RobotState) -> tuple[float, float, float]:
        """The goal."""
        return float(task[0, 0]), float(task[0, 1]), 0.1

    def seen_from_above(self, task: npt.NDArray[np.float32], state: RobotState) -> tuple[float, float, float]:
        """The middle between robot and goal, from far enough to see both."""
        goal, place = task[0], self.place(state)[0]
        x, y = (goal + place) / 2.0
        return float(x), float(y), max(6.0, 3.0 + 1.5 * float(np.linalg.norm(goal - place)))


class AntGoalSparse(AntGoal):
    """
    As :class:`AntGoal`, but the goal draws only near it: ``-min(distance, 0.75) - 0.01 * |a|^2 - contact cost``, with
    the Euclidean distance.

    :param split: None for all goals, "train" or "test" for disjoint parts.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    reference_returns: ClassVar[Mapping[str, float]] = {"random": -304.0}

    def reward(self, task: Array, before: RobotState, after: RobotState, ctrl: Array) -> Array:
        """Punish the distance to the goal up to a limit."""
        distance = np.sqrt(np.sum(np.square(self.place(after) - task), axis=1))
        return -np.minimum(distance, 0.75) - 0.01 * control_cost(ctrl) - self.contact_cost(after)


def unit_vector(share: Floats) -> Floats:
    """
    Turn a share of the circle into a unit vector.

    :param share: In [0, 1), shape ``(B, 1)``.
    :return: Shape ``(B, 2)``.
    """
    angle = 2.0 * np.pi * share
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
