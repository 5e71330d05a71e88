"""What the runs of a figure amount to: every method in every environment, on the same test trials."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sb3_hyper.adaptation_statistics import AdaptationStatistics
from sb3_hyper.atomic_file import write_atomically
from sb3_hyper.evaluation import evaluate_tasks
from sb3_hyper.reproduction.curves import LearningCurve, learning_curve, read_trials
from sb3_hyper.reproduction.figures import Method
from sb3_hyper.reproduction.planned_run import ALGORITHM
from sb3_hyper.reproduction.run_folder import RunFolder
from sb3_hyper.saved_runs import load_model

TEST_SEED = 2_000_000
"""Stands for the test trials; far from the seeds of training."""


@dataclass(frozen=True)
class Cell:
    """
    One method in one environment.

    :param environment: the environment's id
    :param method: the method
    :param folders: its finished runs
    :param statistics: their returns on the test trials
    :param curve: their returns while they learned
    """

    environment: str
    method: Method
    folders: tuple[RunFolder, ...]
    statistics: AdaptationStatistics
    curve: LearningCurve

    @property
    def frames(self) -> int:
        """Frames of each run."""
        return self.folders[0].planned.frames

    @property
    def mixes_settings(self) -> bool:
        """Whether its runs were trained with different hyperparameters, because the defaults changed between them."""
        return len({folder.settings.read_text(encoding="utf-8") for folder in self.folders}) > 1

    def as_dict(self) -> dict[str, Any]:
        """All its numbers but the single returns, for JSON."""
        statistics = json.loads(self.statistics.to_json())
        returns = [
            {"value": one.value, **{f"{confidence:.0%}": bounds for confidence, bounds in one.intervals.items()}}
            for one in self.curve.estimates
        ]
        return {
            "method": self.method.label,
            "policy": self.method.policy,
            "policy_kwargs": dict(self.method.policy_kwargs),
            "frames": self.frames,
            "seeds": [folder.planned.seed for folder in self.folders],
            "metrics": statistics["metrics"],
            "learning_curve": {"frames": self.curve.frames, "returns": returns},
        }


class Results(NamedTuple):
    """
    What is known of a figure's runs.

    :param cells: the runs that could be evaluated
    :param not_evaluated: finished runs that could not, each with the reason
    """

    cells: list[Cell]
    not_evaluated: dict[RunFolder, str]


def evaluate_run(folder: RunFolder, n_tasks: int, device: str) -> AdaptationStatistics:
    """
    Evaluate a finished run on the test trials, or read what came out the last time.

    :param folder: the run
    :param n_tasks: number of test trials
    :param device: where to compute
    :return: its returns
    :raises OSError: when a file is missing
    :raises ValueError: when the model cannot be read, or what was kept is not what was written
    """
    kept = folder.path / f"evaluation_{n_tasks}.json"
    if kept.is_file():
        return AdaptationStatistics.load(kept)
    model = load_model(ALGORITHM, folder.model, device)
    planned = folder.planned
    statistics = evaluate_tasks(model, planned.environment, n_tasks, seed=TEST_SEED, run=f"seed {planned.seed}")
    write_atomically(kept, statistics.to_json() + "\n")
    return statistics


def gather(
    folders: Sequence[RunFolder], n_tasks: int, device: str, report: Callable[[str], None] = lambda text: None
) -> Results:
    """
    Evaluate the finished runs and put the seeds of each method together. One that fails costs no other its place.

    :param folders: the figure's runs; those that are not finished are left out
    :param n_tasks: number of test trials
    :param device: where to compute
    :param report: is told what is evaluated
    :return: cells environment by environment, in the order of the runs, and the runs that failed
    """
    groups: dict[str, dict[str, list[RunFolder]]] = {}
    for folder in folders:
        if folder.is_finished():
            planned = folder.planned
            groups.setdefault(planned.environment, {}).setdefault(planned.method.label, []).append(folder)
    results = Results([], {})
    for environment, methods in groups.items():
        for runs in methods.values():
            method = runs[0].planned.method
            report(f"{environment}, {method.label}")
            evaluated = {}
            for run in runs:
                try:
                    read_trials(run.zoo_run)
                    evaluated[run] = evaluate_run(run, n_tasks, device)
                except Exception as error:
                    results.not_evaluated[run] = f"{type(error).__name__}: {error}"
            if evaluated:
                statistics = AdaptationStatistics.join(list(evaluated.values()))
                curve = learning_curve([run.zoo_run for run in evaluated], runs[0].planned.frames)
                results.cells.append(Cell(environment, method, tuple(evaluated), statistics, curve))
    return results
