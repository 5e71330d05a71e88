"""Trials played with an agent of which one module is listened to, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import nn
from typing_extensions import override

from sb3_hyper.evaluation import as_vec_env, evaluate_adaptation

Rows: TypeAlias = npt.NDArray[np.float32]
Read: TypeAlias = Callable[[tuple[Any, ...], th.Tensor], th.Tensor]
"""From a module's inputs and its output to what is kept, a row for each environment."""


class RecordedTrial(NamedTuple):
    """
    What was heard in a trial.

    :param task: the task, as the environment reports it
    :param episode_lengths: steps of the K episodes
    :param rows: ``(L, D)`` a row for each of the trial's steps
    """

    task: Any
    episode_lengths: list[int]
    rows: Rows


class Recording(NamedTuple):
    """
    What was heard in several trials.

    :param environment: name of the environment
    :param policy: name of the policy
    :param mean_return: mean return of the trials
    :param task_space: the space of the tasks; None where the environment names none
    :param trials: the N trials
    """

    environment: str
    policy: str
    mean_return: float
    task_space: spaces.Space[Any] | None
    trials: list[RecordedTrial]


def record_trials(
    model: BaseAlgorithm,
    env: VecEnv | str,
    n_trials: int,
    module: nn.Module,
    read: Read,
    deterministic: bool = True,
    seed: int | None = None,
) -> Recording:
    """
    Play trials as :func:`~sb3_hyper.evaluation.evaluate_adaptation` plays them, and listen.

    :param model: the model
    :param env: trials, vectorised or by the id of a registered environment
    :param n_trials: number of trials N, at least 1
    :param module: a part of the model's policy, called once for each step with one row for each environment
    :param read: what to keep of a call
    :param deterministic: whether to take the likeliest actions
    :param seed: seed of environments and actions; None: they go on with their random streams
    :return: the trials that the evaluation counted
    :raises ValueError: when the environment reports no task, or the model does not fit it
    """
    vec_env = as_vec_env(model, env, n_trials)
    recorder = _Recorder(vec_env, module, read)
    try:
        result = evaluate_adaptation(model, recorder, n_trials, deterministic, seed)
        space = vec_env.get_attr("task_space", 0)[0] if vec_env.has_attr("task_space") else None
    finally:
        recorder.stop_listening()
        if isinstance(env, str):
            vec_env.close()
    task_space = space if isinstance(space, spaces.Space) else None
    trials = recorder.first_trials(n_trials)
    return Recording(result.environment, result.policy, result.trial.mean, task_space, trials)


def task_vectors(tasks: list[Any]) -> npt.NDArray[np.float64]:
    """
    Read tasks as vectors of numbers.

    :param tasks: N tasks
    :return: ``(N, task_dim)``
    :raises ValueError: when they are something else
    """
    try:
        return np.stack([np.asarray(task, dtype=np.float64).ravel() for task in tasks])
    except (TypeError, ValueError) as error:
        raise ValueError(f"A task such as {tasks[0]!r} cannot be read as a vector of numbers.") from error


class _Recorder(VecEnvWrapper):
    """
    Keeps what a module says in every step of every trial.

    :param venv: trials
    :param module: what is listened to
    :param read: what is kept
    """

    def __init__(self, venv: VecEnv, module: nn.Module, read: Read) -> None:
        super().__init__(venv)
        self._read = read
        self._latest: Rows = np.zeros((0, 0), np.float32)
        self._handle = module.register_forward_hook(self._listen)
        self._rows: list[list[Rows]] = [[] for _ in range(self.num_envs)]
        self._finished: list[list[RecordedTrial]] = [[] for _ in range(self.num_envs)]

    def _listen(self, module: nn.Module, inputs: tuple[Any, ...], output: th.Tensor) -> None:
        self._latest = self._read(inputs, output).detach().cpu().float().numpy()

    def stop_listening(self) -> None:
        """Leave the module as it was."""
        self._handle.remove()

    @override
    def reset(self) -> VecEnvObs:
        self._rows = [[] for _ in range(self.num_envs)]
        return self.venv.reset()

    @override
    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for index, is_over in enumerate(th.as_tensor(dones).tolist()):
            self._rows[index].append(self._latest[index])
            if is_over:
                self._finish(index, infos[index])
        return observations, rewards, dones, infos

    def _finish(self, index: int, info: dict[str, Any]) -> None:
        rows, self._rows[index] = np.stack(self._rows[index]), []
        if "task" not in info:
            raise ValueError(
                "The environment reports no info['task'] at a trial's end: its trials cannot be compared by task. Let "
                "it be a trial of this package (sb3_hyper.make_trials)."
            )
        lengths = [int(length) for length in info.get("episode_lengths", [len(rows)])]
        self._finished[index].append(RecordedTrial(info["task"], lengths, rows))

    def first_trials(self, n_trials: int) -> list[RecordedTrial]:
        """The trials that the evaluation counted, environment after environment."""
        counts = (n_trials + np.arange(self.num_envs)) // self.num_envs
        return [trial for trials, count in zip(self._finished, counts, strict=True) for trial in trials[:count]]
