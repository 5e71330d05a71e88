"""Playing trials with an agent: the first ones of every environment, or one on each of many tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, is_vecenv_wrapped

MAX_TRIAL_LENGTH = 100_000
"""Steps after which a trial is taken for endless where nothing else is said."""


class PlayedTrial(NamedTuple):
    """
    What is left of a trial.

    :param environment: index of its environment
    :param task: the task; None where the environment does not say
    :param episode_returns: K returns
    :param episode_lengths: K numbers of steps
    :param episode_successes: K answers, from SB3's ``info["is_success"]``; None where the environment does not say
    """

    environment: int
    task: Any
    episode_returns: list[float]
    episode_lengths: list[int]
    episode_successes: list[bool] | None


def play_trials(
    model: PolicyPredictor,
    env: VecEnv,
    n_trials: int,
    deterministic: bool = True,
    max_trial_length: int = MAX_TRIAL_LENGTH,
) -> list[PlayedTrial]:
    """
    Play trials; every environment contributes its *first* ones, as many as the others (or one more).

    :param model: anything with SB3's ``predict``
    :param env: the environments
    :param n_trials: number of trials
    :param deterministic: whether to take the likeliest actions
    :param max_trial_length: steps after which a trial is taken for endless
    :return: the trials, in the order in which they ended
    :raises ValueError: when a trial does not end
    """
    n_envs = env.num_envs
    # As evenly as possible, as evaluate_policy does.
    missing = (n_trials + np.arange(n_envs)) // n_envs
    is_monitored = is_vecenv_wrapped(env, VecMonitor) or env.env_is_wrapped(Monitor)[0]
    reward_sums, lengths = np.zeros(n_envs), np.zeros(n_envs, dtype=int)
    trials: list[PlayedTrial] = []
    observations, state, episode_starts = _to_numpy(env.reset()), None, np.ones(n_envs, dtype=bool)
    while missing.any():
        actions, state = model.predict(observations, state, episode_starts, deterministic)
        next_observations, rewards, dones, infos = env.step(actions)
        observations, episode_starts = _to_numpy(next_observations), _to_numpy(dones)
        reward_sums += _to_numpy(rewards)
        lengths += 1
        for index in np.flatnonzero(episode_starts):
            trial = _ended_trial(int(index), infos[index], is_monitored, reward_sums[index], lengths[index])
            if trial is not None and missing[index]:
                trials.append(trial)
                missing[index] -= 1
            reward_sums[index] = lengths[index] = 0
        if lengths.max() >= max_trial_length:
            raise ValueError(
                f"Environment {lengths.argmax()} played {lengths.max()} steps without an end of its episode or trial. "
                "Give it a time limit (gymnasium.wrappers.TimeLimit, or max_episode_steps where it is registered), or "
                "raise max_trial_length."
            )
    return trials


def play_tasks(
    model: PolicyPredictor,
    env: VecEnv,
    n_tasks: int,
    seed: int,
    deterministic: bool = True,
    max_trial_length: int = MAX_TRIAL_LENGTH,
) -> list[PlayedTrial]:
    """
    Play one trial on each of the tasks that a seed stands for: the same tasks whatever the agent does.

    Each environment plays the first trial after its seed, in as many rounds as it takes.

    :param model: anything with SB3's ``predict``
    :param env: the environments
    :param n_tasks: number of tasks
    :param seed: environment ``i`` of round ``j`` is seeded with ``seed + j * n_envs + i``
    :param deterministic: whether to take the likeliest actions
    :param max_trial_length: steps after which a trial is taken for endless
    :return: the trials, in the order of their seeds
    :raises ValueError: when a trial does not end
    """
    trials: list[PlayedTrial] = []
    for first in range(0, n_tasks, env.num_envs):
        env.seed(seed + first)
        played = play_trials(model, env, env.num_envs, deterministic, max_trial_length)
        trials += sorted(played, key=lambda trial: trial.environment)
    return trials[:n_tasks]


def _ended_trial(
    index: int, info: dict[str, Any], is_monitored: bool, reward_sum: float, length: int
) -> PlayedTrial | None:
    """The trial that has ended; None where a Monitor says that "done" was not the end."""
    returns, lengths = [float(reward_sum)], [int(length)]
    if "episode_returns" in info:
        returns, lengths = list(info["episode_returns"]), list(info["episode_lengths"])
    elif is_monitored:
        if "episode" not in info:
            return None
        returns, lengths = [float(info["episode"]["r"])], [int(info["episode"]["l"])]
    successes = info.get("episode_successes", [info["is_success"]] if "is_success" in info else [])
    is_known = len(successes) == len(returns)
    return PlayedTrial(index, info.get("task"), returns, lengths, list(map(bool, successes)) if is_known else None)


def _to_numpy(value: Any) -> Any:
    """Environments that live on a device speak tensors; models' ``predict`` speaks numpy."""
    if isinstance(value, Mapping):
        return {key: _to_numpy(part) for key, part in value.items()}
    return value.cpu().numpy() if isinstance(value, th.Tensor) else value
