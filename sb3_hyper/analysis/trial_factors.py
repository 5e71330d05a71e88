"""Trials played with an agent whose trunk is listened to: the factors it gives to the base networks' heads, by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import nn
from typing_extensions import override

from sb3_hyper.analysis.result import Array
from sb3_hyper.envs.vec_env import batched_vec_env
from sb3_hyper.evaluation import MOST_ENVS, evaluate_adaptation

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
) -> TrialFactors:
    """
    Play trials as :func:`~sb3_hyper.evaluation.evaluate_adaptation` plays them, and keep the trunk's outputs.

    :param model: a model whose policy is a HyperActorCriticPolicy
    :param env: trials, vectorised or by the id of a registered environment
    :param n_trials: number of trials N, at least 2
    :param steps: steps within a trial, from 0; -1: the last
    :param deterministic: whether to take the likeliest actions
    :param seed: seed of environments and actions; None: they go on with their random streams
    :return: tasks and factors, environment after environment
    :raises ValueError: when numbers are out of range, a trial ends before a chosen step, or reports no task
    """
    if n_trials < 2:
        raise ValueError(f"n_trials={n_trials}: wanted at least 2, or there is nothing to compare.")
    if not steps or len(set(steps)) < len(steps) or min(steps) < LAST:
        raise ValueError(f"steps={list(steps)}: wanted different whole numbers from 0, or -1 for a trial's last step.")
    vec_env = env
    if isinstance(vec_env, str):
        vec_env = make_vec_env(vec_env, min(n_trials, MOST_ENVS), vec_env_cls=batched_vec_env)  # type: ignore[arg-type]
    recorder = _FactorRecorder(vec_env, model.policy.agent.trunk, tuple(steps))  # type: ignore[arg-type, union-attr]
    try:
        result = evaluate_adaptation(model, recorder, n_trials, deterministic, seed)
    finally:
        recorder.stop_listening()
        if isinstance(env, str):
            vec_env.close()
    tasks, factors = recorder.first_trials(n_trials)
    return TrialFactors(result.environment, result.policy, result.trial.mean, list(steps), tasks, factors)


class _FactorRecorder(VecEnvWrapper):
    """
    Keeps the trunk's outputs of every trial.

    :param venv: trials
    :param trunk: called once for each step, with one row for each environment
    :param steps: which of its outputs to keep
    """

    def __init__(self, venv: VecEnv, trunk: nn.Module, steps: tuple[int, ...]) -> None:
        super().__init__(venv)
        self._steps = steps
        self._latest: Array = np.zeros((0, 0))
        self._handle = trunk.register_forward_hook(self._listen)
        self._ages = np.zeros(self.num_envs, dtype=int)
        self._kept: list[dict[int, Array]] = [{} for _ in range(self.num_envs)]
        self._finished: list[list[tuple[Any, Array]]] = [[] for _ in range(self.num_envs)]

    def _listen(self, trunk: nn.Module, inputs: tuple[th.Tensor, ...], output: th.Tensor) -> None:
        self._latest = output.detach().cpu().double().numpy()

    def stop_listening(self) -> None:
        """Leave the trunk as it was."""
        self._handle.remove()

    @override
    def reset(self) -> VecEnvObs:
        self._ages[:] = 0
        return self.venv.reset()

    @override
    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for index, is_over in enumerate(th.as_tensor(dones).tolist()):
            age = int(self._ages[index])
            if age in self._steps:
                self._kept[index][age] = self._latest[index]
            self._ages[index] += 1
            if is_over:
                self._kept[index][LAST] = self._latest[index]
                self._finish(index, infos[index])
        return observations, rewards, dones, infos

    def _finish(self, index: int, info: dict[str, Any]) -> None:
        kept, length = self._kept[index], int(self._ages[index])
        self._kept[index], self._ages[index] = {}, 0
        missing = [step for step in self._steps if step not in kept]
        if missing:
            raise ValueError(f"A trial ended after {length} steps: there is no step {missing[0]}. Choose earlier ones.")
        if "task" not in info:
            raise ValueError(
                "The environment reports no info['task'] at a trial's end: networks cannot be compared by task. Let it "
                "be a trial of this package (sb3_hyper.make_trials)."
            )
        self._finished[index].append((info["task"], np.stack([kept[step] for step in self._steps])))

    def first_trials(self, n_trials: int) -> tuple[Array, Array]:
        """The trials that the evaluation counted: ``(N, task_dim)`` tasks and ``(S, N, K + 1)`` factors."""
        counts = (n_trials + np.arange(self.num_envs)) // self.num_envs
        trials = [trial for row, count in zip(self._finished, counts, strict=True) for trial in row[:count]]
        try:
            tasks = np.stack([np.asarray(task, dtype=np.float64).ravel() for task, _ in trials])
        except (TypeError, ValueError) as error:
            raise ValueError(f"A task such as {trials[0][0]!r} cannot be read as a vector of numbers.") from error
        return tasks, np.stack([factors for _, factors in trials], axis=1)
