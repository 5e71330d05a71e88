"""Tasks for a robot that MuJoCo simulates."""

from __future__ import annotations

import operator
import os
import threading
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.mujoco.library import import_mujoco, load_model
from sb3_hyper.envs.mujoco.physics import PhysicsBatch, Simulated, useful_threads
from sb3_hyper.envs.mujoco.robot_state import RobotState, like, state_like, to_host
from sb3_hyper.envs.mujoco.sampling import restrict, standard_normal
from sb3_hyper.envs.random_stream import Array, RandomStream
from sb3_hyper.envs.task import Split, TaskDistribution

if TYPE_CHECKING:
    from sb3_hyper.envs.mujoco.robot_env import RobotEnv

Floats = npt.NDArray[np.float64]
# Beyond mjMAXVAL MuJoCo takes a simulation for unstable.
_HUGE = 1e10


class RobotTasks(TaskDistribution):
    """
    A task distribution over a robot of Gymnasium's.

    Physics are computed on the CPU for all environments at once (``mujoco.batch``); on another device the arrays are
    moved there and back at every step. An episode that is not over before lasts ``episode_length`` steps; that is a
    time limit, after which the trial is ``truncated``. A simulation that becomes unstable (MuJoCo would set it back to
    its start) ends the episode, ``terminated``, with the state before. Reference points: ``random`` plays uniform
    actions, measured over 60 to 2,000 trials.

    :param split: None for all tasks, "train" or "test" for disjoint parts: see :meth:`task_of`.
    :param episode_length: Steps per episode, at least 1; None for the papers'.
    :param n_threads: Threads of the physics; None for one per processor where there are environments enough.
    :raises ImportError: If MuJoCo 4 is missing.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    n_episodes: ClassVar[int] = 1
    default_episode_length: ClassVar[int] = 200
    xml_file: ClassVar[str]
    """The model, one of Gymnasium's assets."""
    env_name: ClassVar[str]
    """The class in ``robot_env`` that is the single environment."""
    frame_skip: ClassVar[int] = 5
    """MuJoCo steps per step."""
    derived_fields: ClassVar[tuple[str, ...]] = ()
    """The ``MjData`` fields that observations and rewards read, besides positions and velocities."""
    position_noise: ClassVar[float] = 0.1
    """Initial positions are uniform within this of the model's."""
    velocity_noise: ClassVar[float] = 0.1
    """Scale of the initial velocities."""
    has_normal_velocities: ClassVar[bool] = True
    """Whether initial velocities are normal, else uniform."""
    n_draws: int = 1
    """How many uniform numbers make a task."""

    def __init__(
        self, split: Split | None = None, episode_length: int | None = None, n_threads: int | None = None
    ) -> None:
        length = self.default_episode_length if episode_length is None else operator.index(episode_length)
        for name, value in (("episode_length", length), ("n_threads", n_threads)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        model = self.load_model()
        super().__init__(self.make_task_space(), split)
        self.episode_length = length
        self.n_threads = n_threads
        self.dt = float(model.opt.timestep) * self.frame_skip
        self.sizes = int(model.nq), int(model.nv)
        blank = import_mujoco().MjData(model)
        self._shapes = {name: np.shape(getattr(blank, name)) for name in self.derived_fields}
        self._engines: dict[tuple[int, int, int], PhysicsBatch] = {}
        self.strength = model.actuator_ctrlrange[:, 1].astype(np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, self.strength.shape, np.float32)
        n_observed = self.observe(np.zeros((1, *self.task_space.shape), np.float32), self._blank_state()).shape[1]
        self.observation_space = spaces.Box(-_HUGE, _HUGE, (n_observed,), np.float32)

    @classmethod
    def load_model(cls) -> Any:
        """
        Load the robot, with contact forces if they are among its derived fields.

        :return: The ``MjModel``, shared.
        :raises ImportError: If MuJoCo 4 is missing.
        """
        return load_model(cls.xml_file, cls._has_contact_forces())

    @classmethod
    def _has_contact_forces(cls) -> bool:
        return "cfrc_ext" in cls.derived_fields

    def _blank_state(self) -> RobotState:
        library, model = import_mujoco(), self.load_model()
        n_integration = library.mj_stateSize(model, library.mjtState.mjSTATE_INTEGRATION)
        n_derived = sum(int(np.prod(shape)) for shape in self._shapes.values())
        return RobotState(
            np.zeros((1, n_integration)), np.zeros((1, n_derived)), np.zeros(1, np.int64), np.zeros(1, bool)
        )

    @abstractmethod
    def make_task_space(self) -> spaces.Box:
        """
        Say what may be set as a task.

        :return: A box of float32 vectors.
        """

    @abstractmethod
    def task_of(self, uniform: Floats) -> Floats:
        """
        Make tasks of uniform numbers; a split restricts the first column to its cells.

        :param uniform: Numbers in [0, 1), shape ``(B, n_draws)``.
        :return: The tasks, shape ``(B, task_dim)``.
        """

    @abstractmethod
    def reward(self, task: Array, before: RobotState, after: RobotState, ctrl: Array) -> Array:
        """
        Reward a step.

        :param task: The tasks, shape ``(B, task_dim)``.
        :param before: The states before.
        :param after: The states after.
        :param ctrl: The controls, float64, shape ``(B, n_actuators)``.
        :return: Shape ``(B,)``.
        """

    def controls(self, action: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """
        Scale actions to the strength of the actuators.

        :param action: In [-1, 1], shape ``(B, n_actuators)``.
        :return: The controls, same shape.
        """
        controls: npt.NDArray[np.float32] = action.astype(np.float32) * self.strength
        return controls

    def is_healthy(self, state: RobotState) -> npt.NDArray[np.bool_]:
        """
        Say where the episode goes on.

        :param state: The states, in numpy arrays.
        :return: Bool, shape ``(B,)``; here always True.
        """
        return np.ones(len(state.n_steps), bool)

    def model_fields(self, task: npt.NDArray[np.float32]) -> Mapping[str, Floats]:
        """
        Say what tasks change in the robot.

        :param task: The tasks, shape ``(n, task_dim)``.
        :return: ``MjModel`` field -> values, n rows; here nothing.
        """
        return {}

    def qpos(self, state: RobotState) -> Array:
        """Positions, shape ``(B, nq)``; the integration state begins with the time."""
        return state.integration[:, 1 : 1 + self.sizes[0]]

    def qvel(self, state: RobotState) -> Array:
        """Velocities, shape ``(B, nv)``."""
        return state.integration[:, 1 + self.sizes[0] : 1 + sum(self.sizes)]

    def derived(self, state: RobotState, name: str) -> Array:
        """A derived field by its name in ``MjData``, with the environments in front."""
        start = 0
        for field, shape in self._shapes.items():
            size = int(np.prod(shape))
            if field == name:
                values = state.derived[:, start : start + size]
                return array_namespace(values).reshape(values, (-1, *shape))
            start += size
        raise KeyError(f"{name} is none of {self.derived_fields}.")

    def sample_task(self, stream: RandomStream, mask: Array | None = None) -> Array:
        """Draw uniform numbers, restrict the first one to the split's cells, and make a task of them."""
        uniform = to_host(stream.uniform(self.n_draws, mask)).astype(np.float64)
        uniform[:, 0] = restrict(uniform[:, 0], self.split)
        return like(stream.counter, self.task_of(uniform).astype(np.float32))

    def initial_state(self, stream: RandomStream, mask: Array | None = None) -> tuple[Floats, Floats]:
        """
        Draw positions and velocities around the model's rest, as Gymnasium does, from the environments' streams.

        :param stream: The environments' random streams.
        :param mask: Bool, shape ``(B,)``: whose streams advance; None for all.
        :return: ``qpos`` and ``qvel``, shapes ``(B, nq)`` and ``(B, nv)``.
        """
        n_positions, n_velocities = self.sizes
        n_uniform = 2 * n_velocities if self.has_normal_velocities else n_velocities
        uniform = to_host(stream.uniform(n_positions + n_uniform, mask)).astype(np.float64)
        positions, rest = np.split(uniform, [n_positions], axis=1)
        velocities = standard_normal(rest) if self.has_normal_velocities else 2 * rest - 1
        qpos = self.load_model().qpos0 + self.position_noise * (2 * positions - 1)
        return qpos, self.velocity_noise * velocities

    def reset(self, stream: RandomStream, task: Array, mask: Array | None = None) -> RobotState:
        """Start the physics anew near the model's rest."""
        qpos, qvel = self.initial_state(stream, mask)
        rows = np.arange(len(qpos)) if mask is None else np.flatnonzero(to_host(mask))
        tasks = np.asarray(to_host(task), np.float32)
        return state_like(task, self.first_state(self._engine(len(qpos)).reset(tasks, qpos, qvel, rows)))

    def first_state(self, simulated: Simulated) -> RobotState:
        """
        Make the state at an episode's start.

        :param simulated: The physics after the reset.
        :return: The state, in numpy arrays.
        """
        n_envs = len(simulated.integration)
        return RobotState(*simulated, np.zeros(n_envs, np.int64), np.zeros(n_envs, bool))

    def step(
        self, stream: RandomStream, task: Array, state: RobotState, action: Array
    ) -> tuple[RobotState, Array, Array]:
        """Simulate ``frame_skip`` MuJoCo steps on the CPU."""
        before = RobotState(*(to_host(value) for value in state))
        tasks, ctrl = np.asarray(to_host(task), np.float32), self.controls(np.asarray(to_host(action)))
        simulated = self._engine(len(tasks)).step(tasks, before.integration, ctrl, self.frame_skip)
        after, reward, ended = self.outcome(tasks, before, simulated, ctrl)
        return state_like(task, after), like(task, reward), like(task, ended)

    def outcome(
        self,
        task: npt.NDArray[np.float32],
        before: RobotState,
        simulated: Simulated,
        ctrl: npt.NDArray[np.float32],
    ) -> tuple[RobotState, npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """
        Judge what the physics have done.

        :param task: The tasks, shape ``(B, task_dim)``.
        :param before: The states before the step.
        :param simulated: The physics after it.
        :param ctrl: The controls, shape ``(B, n_actuators)``.
        :return: The next states, the rewards and whether the episode ended, in numpy arrays.
        """
        # MuJoCo resets a simulation that became unstable, and its clock with it.
        clock_lag = before.integration[:, 0] + 0.9 * self.dt - simulated.integration[:, 0]
        is_stable = clock_lag < 0
        if not is_stable.all():
            kept = is_stable[:, None]
            simulated = Simulated(
                np.where(kept, simulated.integration, before.integration),
                np.where(kept, simulated.derived, before.derived),
            )
        after = RobotState(*simulated, before.n_steps + 1, ~is_stable)
        after = after._replace(has_fallen=~(is_stable & self.is_healthy(after)))
        reward = self.reward(task.astype(np.float64), before, after, ctrl.astype(np.float64))
        return after, reward.astype(np.float32), after.has_fallen | (after.n_steps >= self.episode_length)

    def truncated(self, state: RobotState) -> Array:
        """Say where the time limit ended the episode."""
        return ~state.has_fallen & (state.n_steps >= self.episode_length)

    def _engine(self, n_envs: int) -> PhysicsBatch:
        """A pool of threads serves one thread of one process: a forked child must not touch its parent's."""
        key = os.getpid(), threading.get_ident(), n_envs
        if key not in self._engines:
            n_threads = useful_threads(n_envs) if self.n_threads is None else self.n_threads
            self._engines[key] = PhysicsBatch(
                self.load_model(), n_envs, n_threads, self.derived_fields, self.model_fields
            )
        return self._engines[key]

    def env_type(self) -> type[RobotEnv]:
        """The single environment: Gymnasium's own class, which steps its own MuJoCo."""
        from sb3_hyper.envs.mujoco import robot_env

        env_type: type[RobotEnv] = getattr(robot_env, self.env_name)
        return env_type

    def marker(self, task: npt.NDArray[np.float32], state: RobotState) -> tuple[float, float, float] | None:
        """
        Say where an image shows the task.

        :param task: One task, shape ``(1, task_dim)``.
        :param state: One state.
        :return: A point in space; None for no mark.
        """
        return None

    def seen_from_above(self, task: npt.NDArray[np.float32], state: RobotState) -> tuple[float, float, float] | None:
        """
        Say what an image shows from above.

        :param task: One task, shape ``(1, task_dim)``.
        :param state: One state.
        :return: A place ``(x, y)`` and the camera's distance in metres; None for a view from the side, as Gymnasium's.
        """
        return None

    def render_text(self, task: npt.NDArray[np.float32], state: RobotState) -> str:
        """Tell the step, the task and the robot's generalised positions."""
        positions = " ".join(f"{value:.2f}" for value in self.qpos(state)[0])
        numbers = " ".join(f"{value:.2f}" for value in task[0])
        return f"{type(self).__name__}, {self.task_names}: {numbers}\nstep {int(state.n_steps[0])}, qpos {positions}"

    def render_rgb(self, task: npt.NDArray[np.float32], state: RobotState) -> npt.NDArray[np.uint8]:
        """Draw the robot with MuJoCo (EGL or OSMesa where there is no display), and the task as a red ball."""
        from sb3_hyper.envs.mujoco.rendering import renderer_of

        renderer = renderer_of(self.xml_file, self._has_contact_forces())
        return renderer.render(state.integration[0], self.marker(task, state), self.seen_from_above(task, state))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_engines": {}}
