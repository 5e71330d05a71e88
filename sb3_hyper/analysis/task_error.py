"""How fast an agent knows its task: errors of the task at every step of a trial, and the entropy of its belief."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import override

from sb3_hyper.aggregate_metrics import mean
from sb3_hyper.analysis.linear_probe import RIDGE, check_ridge
from sb3_hyper.analysis.result import AnalysisResult, Array, check_steps, format_row
from sb3_hyper.analysis.task_readout import Halves, ReadOut, read_head, read_probe
from sb3_hyper.analysis.trial_latents import TrialLatents, objective_of, play_latents
from sb3_hyper.bootstrap import estimate
from sb3_hyper.task_inference.gaussians import gaussian_entropy

SHOWN_STEPS = (0, 1, 5, 10, 25, 50, 100, 200, 400, 800)
"""Steps of the table where nothing else is said, as far as the trial has them, and its last one."""

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class TaskErrorCurves(AnalysisResult):
    """
    What is known of the task along trials of T steps.

    Step t is the moment at which action t is chosen: t transitions of the trial have been seen. A curve ``(T, 3)``
    holds a mean over trials and the ends of its bootstrap interval at 95 %, for the agent and the probe as they are.
    Errors are shares of what an ignorant would have: 1 says that nothing is known, 0 everything. Trials that are over
    count with what was known at their end.

    :param environment: name of the environment
    :param policy: name of the policy
    :param deterministic: whether the likeliest actions were taken
    :param mean_return: mean return of the trials
    :param n_trials: number of trials N
    :param n_tested: how many of them are measured; the probe is fitted on the others
    :param steps: steps that the table shows
    :param episode_starts: steps at which a later episode begins, where it is the same step in all trials
    :param head_name: what the trained head's error is called in the training's log; None where there is no head
    :param head: ``(T, 3)`` the error of that head; None
    :param head_ignorant: the error, in the log's units, of always saying the mean task, or the most frequent one; None
    :param probe_name: what the probe's error is
    :param probe: ``(T, 3)`` the error of a linear probe, one for all steps
    :param probe_ignorant: the error of always saying the mean task, or the most frequent one
    :param entropy: ``(T, 3)`` entropy in nats of the Gaussian posterior; None where there is none
    """

    environment: str
    policy: str
    deterministic: bool
    mean_return: float
    n_trials: int
    n_tested: int
    steps: list[int]
    episode_starts: list[int]
    head_name: str | None
    head: Array | None
    head_ignorant: float | None
    probe_name: str
    probe: Array
    probe_ignorant: float
    entropy: Array | None

    @property
    def actions(self) -> str:
        """How actions were chosen, in words."""
        return "likeliest actions" if self.deterministic else "sampled actions"

    @override
    def table(self) -> str:
        lines = [
            f"{self.environment}, {self.policy}: {self.n_trials} trials, {self.actions}, mean return "
            f"{self.mean_return:.2f}; measured on {self.n_tested} of them",
            "",
            format_row("step of the trial", self.steps),
        ]
        if self.head is not None:
            lines += self._rows(f"{self.head_name} of the head", self.head)
        lines += self._rows("error of a linear probe", self.probe)
        if self.entropy is not None:
            lines += self._rows("entropy of the posterior, nats", self.entropy)
        if self.head is not None:
            lines += ["", f"head: 1 stands for {self.head_name} {self.head_ignorant:.3g}, without any knowledge"]
        text = f"probe: 1 stands for {self.probe_name} {self.probe_ignorant:.3g}, without any knowledge; one map for"
        return "\n".join([*lines, f"{text} all steps, fitted on {self.n_trials - self.n_tested} other trials"])

    def _rows(self, name: str, curve: Array) -> list[str]:
        values, low, high = curve[self.steps].T
        return [format_row(name, values), format_row("  95 % interval from", low), format_row("  to", high)]


def task_error(
    model: BaseAlgorithm,
    env: VecEnv | str,
    n_trials: int = 200,
    steps: Sequence[int] | None = None,
    deterministic: bool = True,
    seed: int | None = 0,
    ridge: float = RIDGE,
) -> TaskErrorCurves:
    """
    Play trials and measure at every step what the agent's latent says of the task, which it is not shown.

    :param model: a trained model whose policy infers a latent
    :param env: trials, vectorised or by the id of a registered environment
    :param n_trials: number of trials, at least 4
    :param steps: steps that the table shows, from 0; -1: the last; None: some
    :param deterministic: whether to take the likeliest actions
    :param seed: seed of environments and actions; None: they go on with their random streams
    :param ridge: weight of the probe's penalty, above 0
    :return: the curves
    :raises ValueError: when trials are too few or all on one task, the penalty is not positive, the policy has no
        latent, tasks are not reported or not those that the model was trained on, or a step is outside the trial
    """
    if n_trials < 4:
        raise ValueError(f"n_trials={n_trials}: wanted at least 4, two to fit a probe and two to test it; 200 is good.")
    check_ridge(ridge)
    trials = play_latents(model, env, n_trials, deterministic, seed)
    halves = Halves.draw(n_trials)
    _check_tasks(model, trials, halves)
    head, probe = read_head(objective_of(model), trials, halves), read_probe(trials, halves, ridge)
    entropy = None
    if trials.log_variances is not None:
        entropy = _curve(gaussian_entropy(trials.log_variances[:, halves.tested].double()).numpy())
    return TaskErrorCurves(
        environment=trials.environment,
        policy=trials.policy,
        deterministic=deterministic,
        mean_return=trials.mean_return,
        n_trials=n_trials,
        n_tested=len(halves.tested),
        steps=_shown_steps(steps, len(trials.latents)),
        episode_starts=trials.episode_starts,
        head_name=None if head is None else head.name,
        head=None if head is None else _share(head),
        head_ignorant=None if head is None else head.ignorant,
        probe_name=probe.name,
        probe=_share(probe),
        probe_ignorant=probe.ignorant,
        entropy=entropy,
    )


def _check_tasks(model: BaseAlgorithm, trials: TrialLatents, halves: Halves) -> None:
    tasks, objective = trials.tasks[halves.tested], objective_of(model)
    if bool((tasks == tasks[0]).all()):
        raise ValueError(
            f"All {len(tasks)} trials that are measured are on one task: there is nothing to know. Play more, or "
            "look for the argument of the environment that fixes its task."
        )
    trained = getattr(model, "task_space", None)
    if objective is not None and objective.needs_task and trained != trials.task_space:
        raise ValueError(
            f"The model was trained to say tasks of {trained}, but the environment has tasks of {trials.task_space}. "
            "Analyse it where it was trained, with the same arguments."
        )


def _shown_steps(steps: Sequence[int] | None, n_steps: int) -> list[int]:
    last = n_steps - 1
    if steps is None:
        return sorted({*(step for step in SHOWN_STEPS if step < n_steps), last})
    return [int(step) for step in check_steps([last if step == -1 else step for step in steps], n_steps)]


def _share(read_out: ReadOut) -> Array:
    return _curve(read_out.errors / read_out.ignorant)


def _curve(values: Array) -> Array:
    """Means over trials with their intervals, ``(T, n_tested) -> (T, 3)``."""
    estimates = estimate(values[:, None], mean)
    return np.array([(found.value, *found.intervals[CONFIDENCE]) for found in estimates])
