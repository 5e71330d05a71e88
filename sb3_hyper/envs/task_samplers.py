"""Where the tasks of trials come from: a function, a list, or one of these for each split."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sb3_hyper.envs.task import Split

TaskSampler = Callable[[np.random.Generator], Any]
"""Draws a task from a numpy generator, and from nothing else that is random."""
TaskSource = TaskSampler | Sequence[Any] | npt.NDArray[Any]
"""A sampler, or a list of tasks that are equally likely."""

_N_PARTS = 4


class TaskList:
    """
    A sampler of listed tasks, all equally likely.

    :param tasks: The tasks, at least one; the rows of an array are tasks.
    :raises ValueError: If there are none.
    """

    def __init__(self, tasks: Sequence[Any] | npt.NDArray[Any]) -> None:
        if len(tasks) == 0:
            raise ValueError("task_sampler is an empty list: give it at least one task.")
        self.tasks = list(tasks)

    def __call__(self, random: np.random.Generator) -> Any:
        """Draw a task."""
        return self.tasks[int(random.integers(len(self.tasks)))]

    def part(self, split: Split) -> TaskList:
        """
        Take the tasks of a split.

        :param split: "test" for every fourth task, "train" for the others.
        :return: A sampler of them.
        :raises ValueError: If there are fewer than four tasks.
        """
        if len(self.tasks) < _N_PARTS:
            raise ValueError(
                f"split={split!r} needs a list of at least {_N_PARTS} tasks, of which every fourth is for the test, "
                f"and got {len(self.tasks)}. Divide them by hand: task_sampler={{'train': [...], 'test': [...]}}."
            )
        is_test = [i % _N_PARTS == _N_PARTS - 1 for i in range(len(self.tasks))]
        return TaskList([task for task, is_its in zip(self.tasks, is_test, strict=True) if is_its == (split == "test")])


def task_sampler_of(
    source: TaskSource | Mapping[Split, TaskSource] | None, split: Split | None = None
) -> TaskSampler | None:
    """
    Make one sampler of what a user gave.

    :param source: A sampler, a list of tasks, or ``{"train": ..., "test": ...}`` with one of these for each split;
        None where the environment draws its tasks itself.
    :param split: None for all tasks of a list (or the sampler), "train" or "test".
    :return: The sampler; None for None.
    :raises ValueError: If the split is none, cannot be made, or its two lists share tasks.
    :raises TypeError: If the source is none of these.
    """
    if split not in (None, "train", "test"):
        raise ValueError(f"split must be None, 'train' or 'test', got {split!r}.")
    if isinstance(source, Mapping):
        return _sampler_of_mapping(source, split)
    if split is not None and (source is None or callable(source)):
        raise ValueError(
            f"split={split!r} needs to know the tasks of both splits, and got task_sampler={source!r}. Pass a list of "
            "tasks, or task_sampler={'train': ..., 'test': ...} with a sampler or a list for each."
        )
    if source is None or callable(source):
        return source
    if isinstance(source, (str, bytes)) or not hasattr(source, "__getitem__"):
        raise TypeError(
            "task_sampler must be a function of a numpy generator, a list of tasks (a set has no order that a seed "
            f"could rely on) or a dict of these for 'train' and 'test', got {source!r}."
        )
    tasks = TaskList(source)
    if split is None:
        return tasks
    parts = {name: tasks.part(name) for name in ("train", "test")}
    _check_disjoint(parts["train"], parts["test"])
    return parts[split]


def _sampler_of_mapping(sources: Mapping[Split, TaskSource], split: Split | None) -> TaskSampler | None:
    if set(sources) != {"train", "test"} or None in sources.values():
        raise ValueError(f"A dict of task samplers has one for 'train' and one for 'test', got {dict(sources)}.")
    if split is None:
        raise ValueError("task_sampler has tasks for 'train' and for 'test': say which with split='train' or 'test'.")
    samplers = {name: task_sampler_of(source) for name, source in sources.items()}
    train, test = samplers["train"], samplers["test"]
    if isinstance(train, TaskList) and isinstance(test, TaskList):
        _check_disjoint(train, test)
    return samplers[split]


def _check_disjoint(train: TaskList, test: TaskList) -> None:
    seen = {_key(task) for task in train.tasks}
    for task in test.tasks:
        if _key(task) in seen:
            raise ValueError(
                f"The task {task!r} is in both splits, so a test would not be of new tasks. List every task once."
            )


def _key(task: Any) -> Hashable:
    """A stand-in that is equal for equal tasks."""
    if isinstance(task, np.ndarray):
        return (task.shape, *task.ravel().tolist())
    if isinstance(task, dict):
        return frozenset((name, _key(value)) for name, value in task.items())
    if isinstance(task, (list, tuple)):
        return tuple(map(_key, task))
    return task if isinstance(task, Hashable) else id(task)
