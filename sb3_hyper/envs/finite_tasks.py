"""Task distributions with finitely many tasks, all listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sb3_hyper.envs.random_stream import Array, RandomStream
from sb3_hyper.envs.task import Split, TaskDistribution

_N_SHOWN_TASKS = 24


class FiniteTaskSpace(spaces.Box):
    """
    A box of which only the listed points are members.

    It is a box so that every library knows its shape and bounds; membership and sampling are exact.

    :param tasks: The tasks, one a row, shape ``(n_tasks, task_dim)``.
    :raises ValueError: If there are no rows, or something else than rows.
    """

    def __init__(self, tasks: npt.ArrayLike) -> None:
        self.tasks: npt.NDArray[np.float32] = np.asarray(tasks, np.float32)
        if self.tasks.ndim != 2 or not self.tasks.size:
            raise ValueError(
                f"Got tasks of shape {self.tasks.shape}, wanted one task a row, (n_tasks, task_dim): [[0.3], [1.0]] "
                "for two tasks of one number."
            )
        super().__init__(low=self.tasks.min(axis=0), high=self.tasks.max(axis=0), dtype=np.float32)

    def contains(self, x: Any) -> bool:
        """
        Say whether this is one of the tasks.

        :param x: Anything that numpy can read as a vector of ``task_dim`` numbers.
        :return: True if it equals a row of ``tasks``.
        """
        try:
            task = np.asarray(x, dtype=np.float32)
        except (TypeError, ValueError):
            return False
        return task.shape == self.shape and bool((self.tasks == task).all(axis=1).any())

    def sample(self, mask: None = None, probability: None = None) -> npt.NDArray[Any]:
        """
        Draw a task uniformly, with the space's own generator.

        :param mask: Unused, as in ``Box``.
        :param probability: Unused, as in ``Box``.
        :return: A task, shape ``(task_dim,)``.
        """
        return np.array(self.tasks[int(self.np_random.integers(len(self.tasks)))])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FiniteTaskSpace) and np.array_equal(self.tasks, other.tasks)

    def __repr__(self) -> str:
        shown = ", ".join(str(row.tolist()) for row in self.tasks[:_N_SHOWN_TASKS])
        return f"FiniteTaskSpace({shown}{', ...' if len(self.tasks) > _N_SHOWN_TASKS else ''})"


def task_table(rows: Sequence[Sequence[float]]) -> npt.NDArray[np.float32]:
    """
    Make the table of tasks.

    :param rows: One sequence of numbers per task.
    :return: float32, shape ``(n_tasks, task_dim)``.
    """
    return np.array(rows, dtype=np.float32)


def no_split(name: str, n_tasks: int, split: Split) -> ValueError:
    """
    The error for a split of tasks that are too few to be divided.

    :param name: The distribution.
    :param n_tasks: How many tasks it has.
    :param split: What was asked for.
    :return: The error; the caller raises it.
    """
    return ValueError(
        f"{name} has only {n_tasks} tasks and a learner needs them all: there is no {split!r} split. "
        "Leave split=None and test on the same tasks with another seed."
    )


class FiniteTaskDistribution(TaskDistribution):
    """
    A uniform distribution over a table of tasks.

    :param tasks: All tasks, shape ``(n_tasks, task_dim)``.
    :param split: None for all of them; "test" for every fourth, "train" for the others.
    :raises ValueError: If there is no such split, or this distribution cannot be split.
    """

    needs_all_tasks: ClassVar[bool] = False
    """Whether there are so few tasks that a learner needs them all; then there are no splits."""

    def __init__(self, tasks: npt.NDArray[np.float32], split: Split | None) -> None:
        super().__init__(FiniteTaskSpace(tasks), split)
        self.tasks = self._split_tasks(tasks, split)

    def _split_tasks(self, tasks: npt.NDArray[np.float32], split: Split | None) -> npt.NDArray[np.float32]:
        """Take the rows that belong to the split."""
        if split is None:
            return tasks
        if self.needs_all_tasks:
            raise no_split(type(self).__name__, len(tasks), split)
        is_test = np.arange(len(tasks)) % 4 == 3
        return np.array(tasks[is_test if split == "test" else ~is_test])

    def sample_task(self, stream: RandomStream, mask: Array | None = None) -> Array:
        """Draw a row of the table uniformly."""
        row = stream.integers(len(self.tasks), mask=mask)[:, 0]
        return stream.xp.take(self._constant("tasks", row), row, axis=0)
