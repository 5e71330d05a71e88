"""How far a trained agent is from its task: by the head that its objective trained, and by a linear probe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch as th
from gymnasium import spaces
from torch.nn import functional as F

from sb3_hyper.analysis.linear_probe import RIDGE, fit_probe
from sb3_hyper.analysis.result import Array
from sb3_hyper.analysis.trial_latents import TrialLatents
from sb3_hyper.envs.finite_tasks import FiniteTaskSpace
from sb3_hyper.task_inference import AuxiliaryObjective, EmbeddingRegression, TaskRegression
from sb3_hyper.task_inference.task_target import ClassTarget, NumberTarget, TaskTarget, make_task_target

MISSED, ROOT_MEAN_SQUARE = "share of tasks missed", "root mean square error"


class Halves(NamedTuple):
    """
    Trials by what they are for.

    :param fitted: indices of the trials that the probe, and what "the mean task" is, are fitted on
    :param tested: indices of those on which errors are measured
    """

    fitted: th.Tensor
    tested: th.Tensor

    @classmethod
    def draw(cls, n_trials: int) -> Halves:
        """Two random halves of N trials, always the same ones; where N is odd the tested one is larger."""
        order = th.as_tensor(np.random.default_rng(0).permutation(n_trials))
        return cls(*order.tensor_split([n_trials // 2]))


class ReadOut(NamedTuple):
    """
    Errors of a reading of the task.

    :param name: what is measured, as the training logs it or in words
    :param errors: ``(T, n_tested)``
    :param ignorant: the mean error over the same trials of always saying the mean of the fitted trials, or the most
        frequent class among them
    """

    name: str
    errors: Array
    ignorant: float


@th.no_grad()
def read_head(objective: AuxiliaryObjective | None, trials: TrialLatents, halves: Halves) -> ReadOut | None:
    """
    Measure the prediction that the objective itself makes of the task.

    TI Naive's head is asked for the task and measured as ``auxiliary/task_error`` is; the latents of TI and BI are
    their predictions of an embedding or of a base network, and ``auxiliary/embedding_error`` and
    ``auxiliary/base_network_error`` are their squared errors.

    :param objective: the objective, with what it has learned
    :param trials: latents and tasks
    :param halves: which trials are measured
    :return: the errors; None where the objective predicts nothing of the task
    """
    if isinstance(objective, TaskRegression):
        return _of_task(objective, trials, halves)
    if isinstance(objective, EmbeddingRegression):
        return _of_embedding(objective, trials, halves)
    return None


@th.no_grad()
def read_probe(trials: TrialLatents, halves: Halves, ridge: float = RIDGE) -> ReadOut:
    """
    Fit one linear probe from the latents of all steps to the task, and measure what it says.

    Tasks that are listed are regressed as one-hot vectors, and the largest entry is the probe's answer; others are
    regressed as numbers, bounded ones brought to [-1, 1].

    :param trials: latents and tasks
    :param halves: which trials it is fitted on, and which are measured
    :param ridge: weight of its penalty
    :return: the errors, as a head's would be measured
    :raises ValueError: when the penalty is not positive
    """
    target = make_task_target(_as_numbers(trials.task_space))
    wanted = encode_tasks(target, trials.tasks).double()
    n_steps = len(trials.latents)
    # A trial's steps behind its end are repetitions: they would count the last one more than once.
    counts = (th.arange(n_steps)[:, None] < trials.lengths)[:, halves.fitted]
    inputs = trials.latents[:, halves.fitted][counts]
    probe = fit_probe(inputs, wanted[halves.fitted].expand(n_steps, -1, -1)[counts], ridge)
    predictions = probe(trials.latents[:, halves.tested])
    name = MISSED if isinstance(target, ClassTarget) else ROOT_MEAN_SQUARE
    errors = partial(_task_errors, target, trials.tasks[halves.tested])
    return _read_out(name, errors, predictions, wanted[halves.fitted].mean(dim=0))


def encode_tasks(target: TaskTarget, tasks: th.Tensor) -> th.Tensor:
    """
    Write tasks down as a perfect prediction would be.

    :param target: what predictions are compared with
    :param tasks: ``(…, task_dim)``
    :return: ``(…, target.output_dim)``: one-hot where they are classes, else scaled numbers
    """
    if isinstance(target, ClassTarget):
        classes = zip(target.classes(tasks).unbind(-1), target.n_classes, strict=True)
        return th.cat([F.one_hot(part, n) for part, n in classes], dim=-1).to(tasks.dtype)
    assert isinstance(target, NumberTarget)
    return target.scaled(tasks)


def _as_numbers(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Whole numbers in a box are read as numbers: for a probe there is no other way."""
    if isinstance(space, spaces.Box) and not isinstance(space, FiniteTaskSpace):
        return spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
    return space


def _of_task(objective: TaskRegression, trials: TrialLatents, halves: Halves) -> ReadOut:
    device = next(objective.parameters()).device
    tasks, latents = trials.tasks.to(device), trials.latents[:, halves.tested].to(device)
    mean = encode_tasks(objective.target, tasks[halves.fitted]).mean(dim=0)
    return _read_out(
        "task_error", partial(_task_errors, objective.target, tasks[halves.tested]), objective.head(latents), mean
    )


def _task_errors(target: TaskTarget, tasks: th.Tensor, said: th.Tensor) -> th.Tensor:
    """``(n_tested, task_dim)`` tasks and ``(T, n_tested, target.output_dim)`` predictions -> ``(T, n_tested)``."""
    errors: th.Tensor = target(said, tasks.to(said.dtype).expand(len(said), -1, -1)).errors
    return errors


def _of_embedding(objective: EmbeddingRegression, trials: TrialLatents, halves: Halves) -> ReadOut:
    device = next(objective.parameters()).device
    embedded = objective.embedding(objective.encoding(trials.tasks.to(device)))

    def errors(said: th.Tensor) -> th.Tensor:
        return objective.regression(said, embedded[halves.tested].expand(len(said), -1, -1))

    predictions = trials.latents[:, halves.tested].to(device)
    return _read_out(f"{objective.measured}_error", errors, predictions, embedded[halves.fitted].mean(dim=0))


def _read_out(
    name: str, errors_of: Callable[[th.Tensor], th.Tensor], predictions: th.Tensor, mean: th.Tensor
) -> ReadOut:
    """
    Compare predictions, and the mean in their place, with the tasks.

    :param name: what is measured
    :param errors_of: ``(T, n_tested, …) -> (T, n_tested)``
    :param predictions: ``(T, n_tested, …)``
    :param mean: ``(…)`` what is said without knowledge
    """
    errors, of_mean = errors_of(predictions), errors_of(mean.expand(1, *predictions.shape[1:]))
    return ReadOut(name, errors.double().cpu().numpy(), float(of_mean.double().mean()))
