"""Trials played with a trained agent: its latents at every step, its beliefs where they are Gaussian, and the tasks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.analysis.trial_recorder import RecordedTrial, Recording, record_trials, task_vectors
from sb3_hyper.policies import HyperActorCriticPolicy
from sb3_hyper.policies.latent import LinearLatent
from sb3_hyper.task_inference import AuxiliaryObjective, EmbeddingRegression, VariationalObjective


class TrialLatents(NamedTuple):
    """
    What an agent's encoder said along N trials; T is the length of the longest.

    Where a trial is over its last step stands again: what was known at its end is known after it.

    :param environment: name of the environment
    :param policy: name of the policy
    :param mean_return: mean return of the trials
    :param latents: ``(T, N, latent_dim)``; a Gaussian one's mean
    :param log_variances: ``(T, N, belief_dim)`` of the Gaussian posterior; None where there is none
    :param lengths: ``(N,)`` steps of each trial
    :param tasks: ``(N, task_dim)``, flattened
    :param task_space: the space of the tasks; a box without bounds where nobody names one
    :param episode_starts: steps at which a later episode begins, where it is the same step in all trials
    """

    environment: str
    policy: str
    mean_return: float
    latents: th.Tensor
    log_variances: th.Tensor | None
    lengths: th.Tensor
    tasks: th.Tensor
    task_space: spaces.Space[Any]
    episode_starts: list[int]


def objective_of(model: BaseAlgorithm) -> AuxiliaryObjective | None:
    """The auxiliary objective that a model was trained with; None where there was none."""
    auxiliary = getattr(model, "auxiliary", None)
    return None if auxiliary is None else auxiliary.objective


def play_latents(
    model: BaseAlgorithm, env: VecEnv | str, n_trials: int, deterministic: bool = True, seed: int | None = None
) -> TrialLatents:
    """
    Play trials as :func:`~sb3_hyper.evaluation.evaluate_adaptation` plays them, and keep the latents of every step.

    :param model: a trained model whose policy infers a latent
    :param env: trials, vectorised or by the id of a registered environment
    :param n_trials: number of trials N, at least 1
    :param deterministic: whether to take the likeliest actions
    :param seed: seed of environments and actions; None: they go on with their random streams
    :return: the latents
    :raises ValueError: when the policy infers nothing, or the environment reports no task that can be read as numbers
    """
    policy = _check_policy(model)
    to_latent = policy.agent.to_latent
    is_gaussian = to_latent.noise_dim > 0 or isinstance(objective_of(model), VariationalObjective)

    def read(inputs: tuple[Any, ...], latents: th.Tensor) -> th.Tensor:
        if not is_gaussian:
            return latents
        # A linear latent's belief is its own halves; to ask for it would call the module that is being listened to.
        is_linear = isinstance(to_latent, LinearLatent)
        belief = latents.chunk(2, dim=-1) if is_linear else to_latent.belief(inputs[0])
        return th.cat((latents, belief[1]), dim=-1)

    recording = record_trials(model, env, n_trials, to_latent, read, deterministic, seed)
    # Where the environment names none, that of the training.
    task_space = recording.task_space or getattr(model, "task_space", None)
    return _stack(recording, policy.settings.latent_dim, is_gaussian, task_space)


def _check_policy(model: BaseAlgorithm) -> HyperActorCriticPolicy:
    policy, name = model.policy, type(model.policy).__name__
    if not isinstance(policy, HyperActorCriticPolicy):
        raise ValueError(
            f"Got a model with the policy {name}, which has no latent; wanted a HyperActorCriticPolicy such as "
            "VIHNPolicy, trained by hyper_ppo (--algo) or sb3-contrib's RecurrentPPO."
        )
    if policy.settings.encoder_input == "task":
        raise ValueError(f"{name} is told the task: it infers nothing. Analyse a policy that sees transitions.")
    objective = objective_of(model)
    if isinstance(objective, EmbeddingRegression) and objective.in_warm_up:
        raise ValueError(
            f"The training of this {name} ended within its warm-up, in which the agent is told the task: its encoder "
            "has learned nothing yet. Train for longer, or with less auxiliary_kwargs=dict(n_warmup_updates=…)."
        )
    return policy


def _stack(
    recording: Recording, latent_dim: int, is_gaussian: bool, task_space: spaces.Space[Any] | None
) -> TrialLatents:
    trials = recording.trials
    if task_space is None:
        width = task_vectors([trial.task for trial in trials]).shape[1]
        task_space = spaces.Box(-np.inf, np.inf, (width,), np.float32)
    tasks = task_vectors([spaces.flatten(task_space, trial.task) for trial in trials])
    lengths = [len(trial.rows) for trial in trials]
    padded = [np.pad(trial.rows, ((0, max(lengths) - len(trial.rows)), (0, 0)), mode="edge") for trial in trials]
    rows = th.as_tensor(np.stack(padded, axis=1))
    return TrialLatents(
        recording.environment,
        recording.policy,
        recording.mean_return,
        rows[..., :latent_dim],
        rows[..., latent_dim:] if is_gaussian else None,
        th.tensor(lengths),
        th.as_tensor(tasks, dtype=th.float32),
        task_space,
        _shared_starts(trials),
    )


def _shared_starts(trials: list[RecordedTrial]) -> list[int]:
    starts = {tuple(np.cumsum(trial.episode_lengths[:-1]).tolist()) for trial in trials}
    return list(starts.pop()) if len(starts) == 1 else []
