"""Tasks for the humanoid: walk in a direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.mujoco.ant import unit_vector
from sb3_hyper.envs.mujoco.robot_state import RobotState, control_cost
from sb3_hyper.envs.mujoco.robot_tasks import Floats, RobotTasks
from sb3_hyper.envs.mujoco.spaces import Circle
from sb3_hyper.envs.random_stream import Array
from sb3_hyper.envs.task import Split


class HumanoidDir(RobotTasks):
    """
    Walk in any direction (the papers' HumanoidDir).

    | observation | meaning | range |
    |---|---|---|
    | 0-21 | the torso's height and orientation (a quaternion), the 17 joint angles | real |
    | 22-44 | velocities: torso (6), joints (17) | real |
    | 45-174 | inertia of the 13 bodies around the centre of mass, ten numbers each | real |
    | 175-252 | velocities of the 13 bodies around the centre of mass, six numbers each | real |
    | 253-269 | forces of the actuators on the joints | real |
    | 270-347 | forces and torques of contacts on the 13 bodies | real |

    Numbers 45 to 269 are one MuJoCo step old, as in Gymnasium. The contact forces (``cfrc_ext``) are those of the state
    that the step leads to, from one more forward pass (``mjSTAGE_ACC``) with an accelerometer on the torso, for which
    MuJoCo computes them; Gymnasium computes them from what the last MuJoCo step left behind. With random actions the
    contact cost differs by 0.006 on average, and by up to 1 in a fall.

    The action is the 17 torques as shares of 0.4, in [-1, 1]; values outside are clipped. A step is five MuJoCo steps
    of 0.003 s. Reward, with Gymnasium's weights: ``1.25 * velocity . direction + 5 - 0.1 * |0.4 a|^2 - contact cost``,
    with the mean velocity of the centre of mass, the 5 only while the robot is healthy, and the contact cost
    ``min(5e-7 * |contact forces|^2, 10)``. The episode ends, ``terminated``, when the torso's height leaves (1, 2),
    else after 200 steps, ``truncated``. A trial is one episode. Initial positions and velocities are uniform within
    0.01 of the rest.

    The task is the direction, a unit vector ``(x, y)``, uniform on the circle. For the splits the circle is cut into 20
    equal sectors, counted from the x axis: every fourth is "test", the others are "train".

    Departures: Gymnasium's model and weights of 2024 (v5) instead of the papers' of 2016; actions in [-1, 1] instead of
    [-0.4, 0.4], where a Gaussian policy would be clipped nearly always; the splits are ours.

    :param split: None for all directions, "train" or "test" for disjoint parts.
    :param episode_length: Steps per episode, at least 1; None for 200.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    xml_file = "humanoid.xml"
    env_name = "HumanoidTaskEnv"
    derived_fields = ("cinert", "cvel", "qfrc_actuator", "cfrc_ext", "xipos")
    position_noise: ClassVar[float] = 0.01
    velocity_noise: ClassVar[float] = 0.01
    has_normal_velocities: ClassVar[bool] = False
    task_names: ClassVar[str] = "the direction, a unit vector (x, y)"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": 111.0}

    def __init__(
        self, split: Split | None = None, episode_length: int | None = None, n_threads: int | None = None
    ) -> None:
        mass: Floats = self.load_model().body_mass
        # (n_bodies,) -> (n_bodies, 1)
        self._mass_shares = (mass / mass.sum())[:, None]
        super().__init__(split, episode_length, n_threads)

    def make_task_space(self) -> spaces.Box:
        """Unit vectors."""
        return Circle(1.0)

    def task_of(self, uniform: Floats) -> Floats:
        """The unit vector at that share of the circle."""
        return unit_vector(uniform)

    def observe(self, task: Array, state: RobotState) -> Array:
        """Show what Gymnasium shows."""
        xp = array_namespace(state.integration)
        n_envs = state.integration.shape[0]
        bodies = [
            xp.reshape(self.derived(state, name)[:, 1:, :], (n_envs, -1)) for name in ("cinert", "cvel", "cfrc_ext")
        ]
        actuators = self.derived(state, "qfrc_actuator")[:, 6:]
        parts = [self.qpos(state)[:, 2:], self.qvel(state), *bodies[:2], actuators, bodies[2]]
        return xp.astype(xp.concat(parts, axis=1), xp.float32)

    def is_healthy(self, state: RobotState) -> npt.NDArray[np.bool_]:
        """The torso's height is in (1, 2)."""
        height = self.qpos(state)[:, 2]
        healthy: npt.NDArray[np.bool_] = (height > 1.0) & (height < 2.0)
        return healthy

    def place(self, state: RobotState) -> Floats:
        """The centre of mass over the ground, shape ``(B, 2)``."""
        place: Floats = np.sum(self.derived(state, "xipos")[:, :, :2] * self._mass_shares, axis=1)
        return place

    def contact_cost(self, state: RobotState) -> Floats:
        """The contact cost, shape ``(B,)``."""
        forces = self.derived(state, "cfrc_ext")
        cost: Floats = np.minimum(5e-7 * np.sum(np.square(forces), axis=(1, 2)), 10.0)
        return cost

    def reward(self, task: Array, before: RobotState, after: RobotState, ctrl: Array) -> Array:
        """Reward the velocity in the right direction, and health."""
        velocity = (self.place(after) - self.place(before)) / self.dt
        forward = 1.25 * np.sum(velocity * task, axis=1)
        return forward + 5.0 * ~after.has_fallen - 0.1 * control_cost(ctrl) - self.contact_cost(after)

    def marker(self, task: npt.NDArray[np.float32], state: RobotState) -> tuple[float, float, float]:
        """A point ahead of where the robot should walk."""
        x, y = self.place(state)[0] + task[0]
        return float(x), float(y), 1.4
