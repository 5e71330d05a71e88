"""Many simulations of one robot, stepped on a pool of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sb3_hyper.envs.mujoco.library import import_mujoco, silence

Floats = npt.NDArray[np.float64]
ModelFields = Callable[[npt.NDArray[np.float32]], Mapping[str, Floats]]


class Simulated(NamedTuple):
    """What a simulation gives after a step or a reset."""

    integration: Floats
    """MuJoCo's whole physics state (``mjSTATE_INTEGRATION``): time, positions, velocities, warm start, controls;
    shape ``(B, n_integration)``."""
    derived: Floats
    """Derived fields side by side, flat: one MuJoCo step old, as ``mj_step`` leaves them, but for the contact forces
    (``cfrc_ext``), which are those of this state; shape ``(B, n_derived)``."""


def contact_columns(derived_fields: tuple[str, ...], widths: Sequence[int]) -> slice | None:
    """
    Find the contact forces among the derived fields.

    :param derived_fields: The fields' names.
    :param widths: How many numbers each has.
    :return: The columns of ``cfrc_ext``; None if it is not there.
    """
    if "cfrc_ext" not in derived_fields:
        return None
    index = derived_fields.index("cfrc_ext")
    start = sum(widths[:index])
    return slice(start, start + widths[index])


def useful_threads(n_envs: int) -> int:
    """
    Choose the number of threads for so many simulations.

    :param n_envs: Number of simulations.
    :return: One for every two simulations, at most one for every processor that this process may use.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, n_envs // 2))


class PhysicsBatch:
    """
    A function from physics states to physics states: ``mujoco.batch.Batch`` without memory of its own.

    Whoever calls hands in the states and gets new arrays back, so copies, checkpoints and masked resets are those of
    arrays. What it does remember are the simulations' models, which it brings up to date with the tasks of each call.

    :param model: The ``MjModel``, not changed.
    :param n_envs: Number of simulations, B.
    :param n_threads: Number of threads.
    :param derived_fields: Names of the ``MjData`` fields that are read after each call.
    :param model_fields: Maps tasks ``(n, task_dim)`` to the ``MjModel`` fields that they change, n rows each.
    """

    def __init__(
        self, model: Any, n_envs: int, n_threads: int, derived_fields: tuple[str, ...], model_fields: ModelFields
    ) -> None:
        library = import_mujoco()
        self._batch = library.batch.Batch(model, nsim=n_envs, nthread=n_threads)
        self._no_stage = library.mjtStage.mjSTAGE_NONE.value
        self._qpos, self._qvel, self._ctrl = (self._batch.bind(name) for name in ("qpos", "qvel", "ctrl"))
        self._derived = [self._batch.bind(name).reshape(n_envs, -1) for name in derived_fields]
        self._contact_columns = contact_columns(derived_fields, [field.shape[1] for field in self._derived])
        self._model_fields = model_fields
        self._task: npt.NDArray[np.float32] | None = None

    def step(
        self, task: npt.NDArray[np.float32], integration: Floats, ctrl: npt.NDArray[np.float32], n_substeps: int
    ) -> Simulated:
        """
        Advance every simulation.

        :param task: The tasks, shape ``(B, task_dim)``.
        :param integration: The physics states, shape ``(B, n_integration)``.
        :param ctrl: The controls, held during the step, shape ``(B, n_actuators)``.
        :param n_substeps: MuJoCo steps.
        :return: The new states.
        """
        self._follow_tasks(task)
        self._batch.state[:] = integration
        self._ctrl[:] = ctrl
        with silence():
            self._batch.step(nstep=n_substeps)
            simulated = self._read()
            if self._contact_columns is not None:
                # One more forward pass; what it changes in the physics state is not handed on.
                self._batch.forward()
                simulated.derived[:, self._contact_columns] = self._read().derived[:, self._contact_columns]
        return simulated

    def reset(
        self, task: npt.NDArray[np.float32], qpos: Floats, qvel: Floats, rows: npt.NDArray[np.int64]
    ) -> Simulated:
        """
        Start some simulations anew.

        :param task: The tasks, shape ``(B, task_dim)``.
        :param qpos: Positions, shape ``(B, nq)``.
        :param qvel: Velocities, shape ``(B, nv)``.
        :param rows: Which simulations, ascending.
        :return: Their new states; the other rows mean nothing.
        """
        self._follow_tasks(task)
        self._batch.reset(rows, stage=self._no_stage)
        self._qpos[rows], self._qvel[rows] = qpos[rows], qvel[rows]
        with silence():
            self._batch.forward(rows)
        return self._read()

    def _read(self) -> Simulated:
        n_envs = len(self._qpos)
        derived = np.concatenate(self._derived, axis=1) if self._derived else np.zeros((n_envs, 0))
        return Simulated(self._batch.state.copy(), derived)

    def _follow_tasks(self, task: npt.NDArray[np.float32]) -> None:
        """Write the model fields of the simulations whose task is another one than at the last call."""
        if self._task is not None and np.array_equal(task, self._task):
            return
        is_new = np.ones(len(task), bool) if self._task is None else (task != self._task).any(axis=1)
        rows = np.flatnonzero(is_new)
        self._task = task.copy()
        fields = self._model_fields(task[rows])
        for name, values in fields.items():
            self._batch.expand(name)[rows] = values
        if fields:
            self._batch.set_const(rows)
