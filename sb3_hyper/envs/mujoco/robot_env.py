"""One robot with one task, as Gymnasium simulates it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

from sb3_hyper.envs.mujoco.library import import_mujoco, silence
from sb3_hyper.envs.mujoco.physics import Simulated
from sb3_hyper.envs.mujoco.rendering import has_display
from sb3_hyper.envs.mujoco.robot_state import RobotState
from sb3_hyper.envs.mujoco.robot_tasks import RobotTasks
from sb3_hyper.envs.random_stream import RandomStream
from sb3_hyper.envs.task_env import RENDER_MODES, TaskEnv

_KEPT = ("_stream", "_task", "_state", "_needs_reset", "_is_printed")


class RobotEnv(TaskEnv):
    """
    Tasks for a robot, played by Gymnasium's own class for it, which is the other parent of each subclass.

    The physics are those of that class, in its ``model`` and ``data``; tasks, initial states, observations, rewards and
    ends are the distribution's. It is the slow and obvious twin of the batched simulation, with the same numbers.

    :param distribution: The task distribution.
    :param render_mode: None, "ansi" (text), "rgb_array", or "human" (Gymnasium's window; text where there is no
        display).
    :raises ValueError: If there is no such render mode.
    """

    metadata = {"render_modes": RENDER_MODES}  # noqa: RUF012 (Gymnasium declares it so)
    distribution: RobotTasks
    model: Any
    data: Any
    mujoco_renderer: Any

    def __init__(self, distribution: RobotTasks, render_mode: str | None = None) -> None:
        self.distribution = distribution
        # Gymnasium's class comes after TaskEnv in the order of resolution.
        super(TaskEnv, self).__init__(frame_skip=distribution.frame_skip)  # type: ignore[call-arg]
        super().__init__(distribution, render_mode)
        self.metadata = {"render_modes": RENDER_MODES, "render_fps": round(1 / distribution.dt)}

    def _initialize_simulation(self) -> tuple[Any, Any]:
        """Copy the model, which is loaded once: tasks may change it."""
        model = copy.copy(self.distribution.load_model())
        return model, import_mujoco().MjData(model)

    def _step_mujoco_simulation(self, ctrl: npt.NDArray[np.float32], n_frames: int) -> None:
        """Step as Gymnasium does; the contact forces come later."""
        self.data.ctrl[:] = ctrl
        with silence():
            import_mujoco().mj_step(self.model, self.data, nstep=n_frames)

    def _first_state(self, stream: RandomStream, task: npt.NDArray[np.float32]) -> RobotState:
        library = import_mujoco()
        qpos, qvel = self.distribution.initial_state(stream)
        self._follow_task(task)
        library.mj_resetData(self.model, self.data)
        self.data.qpos[:], self.data.qvel[:] = qpos[0], qvel[0]
        with silence():
            library.mj_forward(self.model, self.data)
        return self.distribution.first_state(self._simulated())

    def _follow_task(self, task: npt.NDArray[np.float32]) -> None:
        fields = self.distribution.model_fields(task)
        for name, values in fields.items():
            getattr(self.model, name)[:] = values[0]
        if fields:
            library = import_mujoco()
            library.mj_setConst(self.model, library.MjData(self.model))

    def _next_state(
        self, stream: RandomStream, task: npt.NDArray[np.float32], actions: npt.NDArray[Any]
    ) -> tuple[RobotState, npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        ctrl = self.distribution.controls(actions)
        self._step_mujoco_simulation(ctrl[0], self.distribution.frame_skip)
        return self.distribution.outcome(task, self._state, self._simulated(), ctrl)

    def _simulated(self) -> Simulated:
        """Read what the batched simulation reads."""
        library = import_mujoco()
        kind = library.mjtState.mjSTATE_INTEGRATION
        integration = np.empty(library.mj_stateSize(self.model, kind))
        library.mj_getState(self.model, self.data, integration, kind)
        names = self.distribution.derived_fields
        fields = {name: getattr(self.data, name).copy() for name in names}
        if "cfrc_ext" in names:
            with silence():
                library.mj_forward(self.model, self.data)
            fields["cfrc_ext"] = self.data.cfrc_ext.copy()
            # The forward pass moved the solver's warm start.
            library.mj_setState(self.model, self.data, integration, kind)
        return Simulated(integration[None], np.concatenate([np.zeros(0), *map(np.ravel, fields.values())])[None])

    def render(self) -> Any:
        """
        Draw the present state.

        :return: Text for "ansi", an image for "rgb_array"; None for "human", which shows a window or prints.
        :raises RuntimeError: Before the first reset, or where there is no OpenGL.
        """
        if self.render_mode == "human" and self._task is not None and has_display():
            return self.mujoco_renderer.render("human")
        return super().render()

    def __getstate__(self) -> dict[str, Any]:
        names = ("distribution", "render_mode", "_np_random", "_np_random_seed", "spec", *_KEPT)
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, state["distribution"], state["render_mode"])
        self.__dict__.update(state)
        if self._task is not None:
            self._follow_task(self._task)
            library = import_mujoco()
            kind = library.mjtState.mjSTATE_INTEGRATION
            library.mj_setState(self.model, self.data, self._state.integration[0], kind)


# Gymnasium's own step returns float64, which ours does not.


class HalfCheetahTaskEnv(RobotEnv, HalfCheetahEnv):  # type: ignore[misc]
    """Gymnasium's half cheetah with one of our tasks."""


class AntTaskEnv(RobotEnv, AntEnv):  # type: ignore[misc]
    """Gymnasium's ant with one of our tasks."""


class Walker2DTaskEnv(RobotEnv, Walker2dEnv):  # type: ignore[misc]
    """Gymnasium's walker with one of our tasks."""


class HopperTaskEnv(RobotEnv, HopperEnv):  # type: ignore[misc]
    """Gymnasium's hopper with one of our tasks."""


class HumanoidTaskEnv(RobotEnv, HumanoidEnv):  # type: ignore[misc]
    """Gymnasium's humanoid with one of our tasks."""
