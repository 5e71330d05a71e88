"""Returns of several training runs on the same tasks, episode by episode, and what they amount to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sb3_hyper.aggregate_metrics import METRICS, OF_NORMALIZED_SCORES, best_reference, normalize
from sb3_hyper.atomic_file import write_atomically
from sb3_hyper.bootstrap import CONFIDENCES, IntervalEstimate, estimate, find_resampling

_MOST_TASKS_SHOWN = 30
_OF_ONE_EXPERIMENT = ("environment", "distribution", "policy", "tasks", "deterministic", "seed", "resampling")


@dataclass(frozen=True, eq=False)
class AdaptationStatistics:
    r"""
    Returns ``(runs, tasks, episodes)`` and their statistics.

    Column n is the same task for every run. Metrics are taken over runs and tasks, for each episode of the trial and
    for the trial as a whole; see :data:`~sb3_hyper.aggregate_metrics.METRICS`. Intervals are percentile intervals of
    the bootstrap over runs and tasks, at 68 % and 95 %; see :data:`~sb3_hyper.bootstrap.RESAMPLINGS`. The optimality
    gap of an episode is that of a trial whose episodes are all like it.

    :param environment: name of the environment
    :param policy: name of the policy
    :param runs: a name for each of the R runs
    :param returns: ``(R, N, K)`` undiscounted
    :param tasks: the N tasks as numbers; none where the environment does not say
    :param distribution: the task distribution with its settings; empty where there is none
    :param deterministic: whether the likeliest actions were taken
    :param seed: seed of the tasks
    :param reference_returns: mean returns per trial of known policies, over all tasks, where they apply
    :param resampling: name of the bootstrap
    :param successes: ``(R, N, K)`` 1 for an episode that succeeded, else 0; None where the environment does not say
    :raises ValueError: when shapes do not fit, a run is there twice, or there is no such resampling
    """

    environment: str
    policy: str
    runs: tuple[str, ...]
    returns: npt.NDArray[np.float64]
    tasks: tuple[tuple[float, ...], ...]
    distribution: str
    deterministic: bool
    seed: int
    reference_returns: Mapping[str, float] = field(default_factory=dict)
    resampling: str = "crossed"
    successes: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.returns.ndim != 3 or self.returns.size == 0:
            raise ValueError(f"returns has the shape {self.returns.shape}, wanted (runs, tasks, episodes), none empty.")
        if not np.isfinite(self.returns).all():
            raise ValueError("returns has entries that are not finite numbers. Look at the environment's rewards.")
        if len(self.runs) != self.n_runs or len(self.tasks) not in (0, self.n_tasks):
            raise ValueError(
                f"Got {len(self.runs)} names of runs and {len(self.tasks)} tasks for returns of shape "
                f"{self.returns.shape}, wanted {self.n_runs} and {self.n_tasks} (or no tasks)."
            )
        if self.successes is not None and self.successes.shape != self.returns.shape:
            raise ValueError(
                f"successes has the shape {self.successes.shape}, wanted that of returns, {self.returns.shape}."
            )
        if len(set(self.runs)) < self.n_runs:
            twice = sorted({run for run in self.runs if self.runs.count(run) > 1})
            raise ValueError(
                f"Runs {', '.join(twice)} are there twice, which would narrow the intervals. Name each once."
            )
        find_resampling(self.resampling)

    @classmethod
    def join(cls, results: Sequence[AdaptationStatistics]) -> AdaptationStatistics:
        """
        Put the runs of several results together.

        :param results: results of one policy on the same tasks
        :return: all their runs
        :raises ValueError: when there are none, or they do not belong together
        """
        if not results:
            raise ValueError("Wanted at least one result to join, got none.")
        for name in _OF_ONE_EXPERIMENT:
            values = list({repr(getattr(result, name)): None for result in results})
            if len(values) > 1:
                raise ValueError(
                    f"The runs differ in their {name}: {values[0][:200]} and {values[1][:200]}. Statistics are over "
                    "runs of one policy, evaluated with the same arguments: evaluate different policies one by one."
                )
        shapes = {result.returns.shape[1:] for result in results}
        if len(shapes) > 1:
            raise ValueError(f"The runs were evaluated on different numbers of (tasks, episodes): {sorted(shapes)}.")
        successes = [result.successes for result in results if result.successes is not None]
        return replace(
            results[0],
            runs=tuple(run for result in results for run in result.runs),
            returns=np.concatenate([result.returns for result in results]),
            successes=np.concatenate(successes) if len(successes) == len(results) else None,
        )

    @property
    def n_runs(self) -> int:
        """Number of runs R."""
        return int(self.returns.shape[0])

    @property
    def n_tasks(self) -> int:
        """Number of tasks N."""
        return int(self.returns.shape[1])

    @property
    def n_episodes(self) -> int:
        """Number of episodes K in a trial."""
        return int(self.returns.shape[2])

    @property
    def _columns(self) -> npt.NDArray[np.float64]:
        """The episodes and the trial, (R, N, K) -> (K + 1, R, N)."""
        episodes = np.moveaxis(self.returns, -1, 0)
        return np.concatenate([episodes, episodes.sum(axis=0, keepdims=True)])

    @cached_property
    def estimates(self) -> dict[str, list[IntervalEstimate]]:
        """
        For every metric K + 1 estimates: the episodes, then the trial.

        There is no optimality gap without reference points, and no success rate where the environment reports none;
        that of a trial is the share of its episodes.
        """
        per_trial = self._columns * np.array([self.n_episodes] * self.n_episodes + [1])[:, None, None]
        scores = {name: self._columns for name in METRICS if name not in OF_NORMALIZED_SCORES}
        normalized = normalize(per_trial, self.reference_returns)
        if normalized is not None:
            scores.update(dict.fromkeys(OF_NORMALIZED_SCORES, normalized))
        found = {name: estimate(scores[name], METRICS[name], self.resampling) for name in METRICS if name in scores}
        if self.successes is not None:
            episodes = np.moveaxis(self.successes, -1, 0)
            shares = np.concatenate([episodes, episodes.mean(axis=0, keepdims=True)])
            found["success_rate"] = estimate(shares, METRICS["mean"], self.resampling)
        return found

    def by_task(self) -> dict[tuple[float, ...], npt.NDArray[np.float64]]:
        """
        Gather the trials of each task.

        :return: task -> ``(R, n, K)`` the returns of its n trials, tasks in order; empty where tasks are not known
        """
        columns: dict[tuple[float, ...], list[int]] = {}
        for column, task in enumerate(self.tasks):
            columns.setdefault(task, []).append(column)
        return {task: self.returns[:, columns[task]] for task in sorted(columns)}

    def table(self) -> str:
        """
        Lay out the statistics as text.

        :return: lines without a final line break
        """
        runs, trials = (f"{n} {noun}{'s' * (n > 1)}" for n, noun in ((self.n_runs, "run"), (self.n_tasks, "trial")))
        actions = "likeliest actions" if self.deterministic else "sampled actions"
        lines = [f"{self.environment}, {self.policy}: {runs} x {trials}, {actions}"]
        headings = "".join(f"   {f'{confidence:.0%} interval':<20}" for confidence in CONFIDENCES)
        lines += ["", f"{'episode':<12}{'value':>10}{headings}".rstrip()]
        for name, estimates in self.estimates.items():
            lines.append(self._heading(name))
            rows = list(zip([*map(str, range(1, self.n_episodes + 1)), "trial"], estimates, strict=True))
            lines += [_row(label, one) for label, one in (rows if self.n_episodes > 1 else rows[-1:])]
        return "\n".join([*lines, *self._task_lines(), *self._reference_lines()])

    def _heading(self, name: str) -> str:
        title = name.upper() if name == "iqm" else name.replace("_", " ")
        if name in OF_NORMALIZED_SCORES:
            return f"{title}, from {best_reference(self.reference_returns)} (0) to random (1)".replace("_", " ")
        return title

    def _task_lines(self) -> list[str]:
        tasks = self.by_task()
        # As many tasks as trials are a sample, and no list that one reads.
        if not 1 < len(tasks) <= _MOST_TASKS_SHOWN or len(tasks) == self.n_tasks:
            return []
        lines = ["", f"{'task':<24}{'trials':>8}{'mean return':>14}"]
        for task, returns in tasks.items():
            name = ", ".join(f"{number:g}" for number in task)
            lines.append(f"{name:<24}{returns.shape[1]:>8}{returns.sum(axis=2).mean():>14.2f}")
        return lines

    def _reference_lines(self) -> list[str]:
        if not self.reference_returns:
            return []
        known = [f"{name.replace('_', ' '):<24}{value:>8.2f}" for name, value in self.reference_returns.items()]
        return ["", "known, per trial, over all tasks", *known]

    def to_json(self) -> str:
        """
        Write everything down, the single returns too.

        :return: JSON text
        """
        values: dict[str, Any] = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        successes = None if self.successes is None else self.successes.tolist()
        values.update(
            returns=self.returns.tolist(), successes=successes, reference_returns=dict(self.reference_returns)
        )
        metrics = {name: [_as_dict(one) for one in estimates] for name, estimates in self.estimates.items()}
        summary = {name: {"episodes": rows[:-1], "trial": rows[-1]} for name, rows in metrics.items()}
        return json.dumps({**values, "metrics": summary}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> AdaptationStatistics:
        """
        Read what :meth:`to_json` wrote; the metrics are computed anew.

        :param text: JSON text
        :return: the statistics
        :raises ValueError: when the text is something else
        """
        try:
            read = json.loads(text)
            values = {entry.name: read[entry.name] for entry in fields(cls)}
            values.update(
                runs=tuple(values["runs"]),
                tasks=tuple(map(tuple, values["tasks"])),
                returns=np.array(values["returns"], dtype=np.float64),
                successes=None if values["successes"] is None else np.array(values["successes"], dtype=np.float64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"This is not what AdaptationStatistics.save writes: {type(error).__name__}: {error}. Wanted a JSON "
                f"object with {', '.join(entry.name for entry in fields(cls))}."
            ) from error
        return cls(**values)

    def save(self, path: str | PathLike[str]) -> None:
        """
        Write a JSON file.

        :param path: the file; its folder is made if need be
        """
        write_atomically(Path(path), self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> AdaptationStatistics:
        """
        Read a file that :meth:`save` wrote.

        :param path: the file
        :return: the statistics
        :raises OSError: when it cannot be read
        :raises ValueError: when it is another file
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _row(label: str, one: IntervalEstimate) -> str:
    intervals = "".join(f"   {f'[{low:.2f}, {high:.2f}]':<20}" for low, high in one.intervals.values())
    return f"  {label:<10}{one.value:>10.2f}{intervals}".rstrip()


def _as_dict(one: IntervalEstimate) -> dict[str, Any]:
    return {"value": one.value, **{f"{confidence:.0%}": list(bounds) for confidence, bounds in one.intervals.items()}}
