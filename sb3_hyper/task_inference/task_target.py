"""What is regressed when a task is regressed: classes, or numbers brought to [-1, 1]."""

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch as th
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F

from sb3_hyper.envs.finite_tasks import FiniteTaskSpace
from sb3_hyper.errors import unknown_name

TargetKind = Literal["auto", "classes", "numbers"]

TARGETS: tuple[TargetKind, ...] = get_args(TargetKind)


class TaskErrors(NamedTuple):
    """
    How far predictions are from the tasks.

    :param losses: ``(…)`` with gradient
    :param errors: ``(…)`` for people: 0 or 1, whether a class was missed, or the root mean square of the numbers' error
    """

    losses: th.Tensor
    errors: th.Tensor


class TaskTarget(nn.Module, ABC):
    """
    How predictions of the task are compared with it.

    :param output_dim: how many numbers a prediction has
    """

    def __init__(self, output_dim: int) -> None:
        super().__init__()
        self.output_dim = output_dim

    @abstractmethod
    def forward(self, predictions: th.Tensor, tasks: th.Tensor) -> TaskErrors:
        """
        Compare.

        :param predictions: ``(…, output_dim)``
        :param tasks: ``(…, task_dim)``, flattened
        :return: ``(…)`` losses and errors
        """


class ClassTarget(TaskTarget):
    r"""
    Classes: :math:`-\log p(\text{class})` of softmax predictions, summed over the factors of a task.

    :param factors: for each factor the points that its part of the task may be, ``(n_classes, dim)``
    """

    def __init__(self, factors: list[th.Tensor]) -> None:
        super().__init__(sum(len(table) for table in factors))
        self.n_classes = [len(table) for table in factors]
        self._dims = [table.shape[1] for table in factors]
        for index, table in enumerate(factors):
            self.register_buffer(f"table_{index}", table, persistent=False)

    def classes(self, tasks: th.Tensor) -> th.Tensor:
        """``(…, task_dim) -> (…, factors)``: the number of the nearest point."""
        parts = th.split(tasks, self._dims, dim=-1)
        tables = (getattr(self, f"table_{index}") for index in range(len(parts)))
        # (…, 1, dim) against (n_classes, dim)
        nearest = [
            (part[..., None, :] - table).abs().sum(-1).argmin(-1) for part, table in zip(parts, tables, strict=True)
        ]
        return th.stack(nearest, dim=-1)

    def forward(self, predictions: th.Tensor, tasks: th.Tensor) -> TaskErrors:
        """Cross-entropy, and whether any factor's likeliest class is wrong."""
        classes = self.classes(tasks)
        logits = th.split(predictions, self.n_classes, dim=-1)
        losses, missed = tasks.new_zeros(tasks.shape[:-1]), th.zeros_like(classes[..., 0], dtype=th.bool)
        for index, factor in enumerate(logits):
            wanted = classes[..., index]
            losses = losses - factor.log_softmax(-1).gather(-1, wanted[..., None])[..., 0]
            missed = missed | (factor.argmax(-1) != wanted)
        return TaskErrors(losses, missed.to(losses.dtype))


class NumberTarget(TaskTarget):
    """
    Numbers: the mean squared error, bounded entries of the task being brought to [-1, 1].

    :param box: the space of flattened tasks
    """

    center: th.Tensor
    scale: th.Tensor

    def __init__(self, box: spaces.Box) -> None:
        super().__init__(box.shape[0])
        center, scale = unit_scale(box)
        self.register_buffer("center", center, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def scaled(self, tasks: th.Tensor) -> th.Tensor:
        """Tasks whose bounded entries are in [-1, 1]."""
        return (tasks - self.center) * self.scale

    def forward(self, predictions: th.Tensor, tasks: th.Tensor) -> TaskErrors:
        """Mean squared error over a task's entries, and its root."""
        losses = F.mse_loss(predictions, self.scaled(tasks), reduction="none").mean(-1)
        return TaskErrors(losses, losses.detach().sqrt())


def unit_scale(box: spaces.Box) -> tuple[th.Tensor, th.Tensor]:
    """
    What brings the bounded entries of a flat box to [-1, 1] and leaves the others as they are.

    :param box: the box, ``(D,)``
    :return: center and scale ``(D,)``, for ``(x - center) * scale``
    """
    low, high = (np.asarray(bound, np.float64) for bound in (box.low, box.high))
    is_bounded = np.isfinite(low) & np.isfinite(high)
    center = np.where(is_bounded, 0.5 * (np.where(is_bounded, low, 0) + np.where(is_bounded, high, 0)), 0.0)
    width = np.where(is_bounded, np.where(is_bounded, high, 0) - np.where(is_bounded, low, 0), 2.0)
    scale = 2.0 / np.where(width > 0, width, 2.0)
    return th.as_tensor(center, dtype=th.float32), th.as_tensor(scale, dtype=th.float32)


def make_task_target(space: spaces.Space[Any], kind: TargetKind = "auto") -> TaskTarget:
    """
    Find out what a prediction of tasks is compared with.

    :param space: the space of the tasks
    :param kind: "auto": classes where the tasks are listed (FiniteTaskSpace, Discrete, MultiDiscrete, MultiBinary),
        else numbers; or "classes" or "numbers"
    :return: the comparison
    :raises ValueError: when the kind is unknown, or classes are wanted and the space has none
    """
    if kind not in TARGETS:
        raise unknown_name("target", kind, TARGETS)
    factors = None if kind == "numbers" else _factors(space)
    if factors is not None:
        return ClassTarget(factors)
    is_whole = isinstance(space, spaces.Box) and np.dtype(space.dtype).kind in "iu"
    if kind == "classes" and not is_whole:
        raise ValueError(
            f"target='classes', but tasks of {space} are not listed. Make the environment's task_space a Discrete, "
            "MultiDiscrete or sb3_hyper.envs.FiniteTaskSpace, or leave target out: they are regressed as numbers."
        )
    if kind != "numbers" and is_whole:
        raise ValueError(
            f"The task is an element of {space}, a number where classes are needed: a regression would put task 1 "
            "between tasks 0 and 2. Make the environment's task_space a Discrete, MultiDiscrete or "
            "sb3_hyper.envs.FiniteTaskSpace, or say auxiliary_kwargs=dict(target='numbers') if the tasks are numbers "
            "indeed."
        )
    box = spaces.flatten_space(space)
    if not isinstance(box, spaces.Box):
        raise ValueError(f"Tasks of {space} cannot be flattened to numbers: wanted a Box, or a space with classes.")
    return NumberTarget(box)


def _factors(space: spaces.Space[Any]) -> list[th.Tensor] | None:
    """The points of each factor in a flattened task; None where they are not listed."""
    if isinstance(space, FiniteTaskSpace):
        return [th.as_tensor(space.tasks)]
    if isinstance(space, spaces.Discrete):
        return [th.eye(int(space.n))]
    if isinstance(space, spaces.MultiDiscrete):
        return [th.eye(int(n)) for n in space.nvec.flatten()]
    if isinstance(space, spaces.MultiBinary):
        return [th.tensor([[0.0], [1.0]])] * spaces.flatdim(space)
    return None
