"""Trials played with an agent whose trunk is listened to: the factors it gives to the base networks' heads, by task."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.analysis.networks import Network, trunk_of
from sb3_hyper.analysis.result import Array
from sb3_hyper.analysis.trial_recorder import RecordedTrial, record_trials, task_vectors

LAST = -1
"""The step of a trial at which its last action is chosen."""


class TrialFactors(NamedTuple):
    """
    Factors at chosen steps of trials.

    :param environment: name of the environment
    :param policy: name of the policy
    :param mean_return: mean return of the trials
    :param steps: the S steps within a trial
    :param tasks: ``(N, task_dim)``
    :param factors: ``(S, N, K + 1)`` the trunk's outputs, the constant 1 last
    """

    environment: str
    policy: str
    mean_return: float
    steps: list[int]
    tasks: Array
    factors: Array


def play_trials(
    model: BaseAlgorithm,
    env: VecEnv | str,
    n_trials: int,
    steps: Sequence[int],
    deterministic: bool = True,
    seed: int | None = None,
    network: Network = "actor",
) -> TrialFactors:
    """
    Play trials as :func:`~sb3_hyper.evaluation.evaluate_adaptation` plays them, and keep the trunk's outputs.

    :param model: a model whose policy is a HyperActorCriticPolicy
    :param env: trials, vectorised or by the id of a registered environment
    :param n_trials: number of trials N, at least 2
    :param steps: steps within a trial, from 0; -1: the last
    :param deterministic: whether to take the likeliest actions
    :param seed: seed of environments and actions; None: they go on with their random streams
    :param network: whose trunk is listened to
    :return: the factors
    :raises ValueError: when there are too few trials, a trial ends before a chosen step, or reports no task
    """
    if n_trials < 2:
        raise ValueError(f"n_trials={n_trials}: wanted at least 2, or there is nothing to compare.")
    is_whole = all(isinstance(step, Integral) for step in steps)
    if not steps or not is_whole or len(set(steps)) < len(steps) or min(steps) < LAST:
        raise ValueError(f"steps={list(steps)}: wanted different whole numbers from 0, or -1 for a trial's last step.")
    trunk = trunk_of(model.policy.agent, network)  # type: ignore[arg-type]
    recording = record_trials(model, env, n_trials, trunk, lambda inputs, output: output, deterministic, seed)
    factors = np.stack([_at_steps(trial, steps) for trial in recording.trials], axis=1)
    tasks = task_vectors([trial.task for trial in recording.trials])
    chosen = [int(step) for step in steps]
    return TrialFactors(recording.environment, recording.policy, recording.mean_return, chosen, tasks, factors)


def _at_steps(trial: RecordedTrial, steps: Sequence[int]) -> Array:
    """``(S, K + 1)``."""
    if max(steps) >= len(trial.rows):
        raise ValueError(
            f"A trial ended after {len(trial.rows)} steps: there is no step {max(steps)}. Choose earlier ones."
        )
    return trial.rows[list(steps)].astype(np.float64)
