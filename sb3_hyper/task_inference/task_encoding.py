"""Tasks as the inputs of a network: one-hot where they are listed, else numbers brought to [-1, 1]."""

from typing import Any

import torch as th
from gymnasium import spaces
from torch import nn
from torch.nn import functional as F

from sb3_hyper.task_inference.task_target import ClassTarget, NumberTarget, TargetKind, make_task_target


class TaskEncoding(nn.Module):
    """
    What a network reads of a task.

    :param space: the space of the tasks
    :param kind: "auto": one-hot where they are listed; or "classes" or "numbers"
    :raises ValueError: when it has no classes where they are needed, or cannot be flattened
    """

    def __init__(self, space: spaces.Space[Any], kind: TargetKind = "auto") -> None:
        super().__init__()
        self._target = make_task_target(space, kind)
        self.output_dim = self._target.output_dim

    def forward(self, tasks: th.Tensor) -> th.Tensor:
        """``(…, task_dim) -> (…, output_dim)``."""
        if isinstance(self._target, ClassTarget):
            classes = self._target.classes(tasks).unbind(-1)
            sizes = self._target.n_classes
            one_hot = [F.one_hot(part, n) for part, n in zip(classes, sizes, strict=True)]
            return th.cat(one_hot, dim=-1).to(tasks.dtype)
        assert isinstance(self._target, NumberTarget)
        return self._target.scaled(tasks)
