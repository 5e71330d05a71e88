"""Callbacks: evaluation during training, on held-out tasks, like SB3's ``EvalCallback`` but over whole trials."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback, EventCallback
from stable_baselines3.common.vec_env import VecEnv, sync_envs_normalization

from sb3_hyper.aggregate_metrics import interquartile_mean
from sb3_hyper.envs.vec_env import batched_vec_env
from sb3_hyper.evaluation import MOST_ENVS, as_table, check_spaces, success_table, with_channels_first
from sb3_hyper.held_out_tasks import held_out_env, monitor_folder
from sb3_hyper.trial_play import PlayedTrial, play_tasks

EVALUATION_SEED = 1_000_000
"""Far from the seeds that one trains with."""


class AdaptationEvalCallback(EventCallback):
    """
    Evaluate the agent over whole trials while it trains; the model with the best interquartile mean is kept.

    Every evaluation plays one trial on each of the same tasks, all side by side. It logs ``eval/episode_k_return`` for
    the k-th episode of the trial, ``eval/test_iqm``, the interquartile mean of the returns per trial (Agarwal et al.
    2021), and what SB3's ``EvalCallback`` logs: ``eval/mean_reward`` and ``eval/mean_ep_length`` per trial. Where
    environments report successes, ``eval/episode_k_success`` and, for the last episode, ``eval/success_rate``.
    ``evaluations.npz`` holds what SB3's does, a trial for an episode, and ``episode_returns``
    ``(evaluations, tasks, K)``. Training goes on as if nothing had been evaluated.

    It needs no arguments, so RL-Zoo can build it from ``callback: sb3_hyper.callbacks.AdaptationEvalCallback``; give
    ``--eval-freq -1`` then, as RL-Zoo's own callback writes the same files.

    .. warning::

      As in SB3, ``eval_freq`` counts calls, each of which is one step of *every* training environment.

    :param eval_env: environments to evaluate in; None: :func:`~sb3_hyper.held_out_tasks.held_out_env` builds them
        after those of training, with the test tasks if these have ``split="train"``
    :param callback_on_new_best: callback to trigger when there is a new best model
    :param callback_after_eval: callback to trigger after every evaluation
    :param n_eval_trials: number of tasks, with one trial on each
    :param eval_freq: evaluate every ``eval_freq`` calls of the callback
    :param log_path: folder for ``evaluations.npz``; None: where training writes its monitor files, if it does
    :param best_model_save_path: folder for ``best_model.zip``; None: as for ``log_path``
    :param deterministic: whether to take the likeliest actions
    :param seed: the seed that stands for the tasks
    :param env_kwargs: arguments of the environment that are to differ from training's; without ``eval_env`` only
    :param verbose: 0 no output, 1 info about results
    :raises ValueError: when a number is out of range, or both an environment and its arguments are given
    """

    def __init__(
        self,
        eval_env: gym.Env[Any, Any] | VecEnv | None = None,
        callback_on_new_best: BaseCallback | None = None,
        callback_after_eval: BaseCallback | None = None,
        n_eval_trials: int = 100,
        eval_freq: int = 10_000,
        log_path: str | None = None,
        best_model_save_path: str | None = None,
        deterministic: bool = True,
        seed: int = EVALUATION_SEED,
        env_kwargs: Mapping[str, Any] | None = None,
        verbose: int = 1,
    ) -> None:
        super().__init__(callback_after_eval, verbose=verbose)
        if n_eval_trials < 1:
            raise ValueError(f"n_eval_trials={n_eval_trials}: wanted at least 1; 100 give a mean that is sure enough.")
        if eval_env is not None and env_kwargs:
            raise ValueError("Got eval_env and env_kwargs: an environment that is built already takes no arguments.")
        self.callback_on_new_best = callback_on_new_best
        if callback_on_new_best is not None:
            callback_on_new_best.parent = self
        self.eval_env = batched_vec_env([lambda: eval_env]) if isinstance(eval_env, gym.Env) else eval_env
        self.n_eval_trials = n_eval_trials
        self.eval_freq = eval_freq
        self.log_path = log_path
        self.best_model_save_path = best_model_save_path
        self.deterministic = deterministic
        self.seed = seed
        self.env_kwargs = env_kwargs
        self.last_iqm = self.best_iqm = -np.inf
        self.last_mean_reward = self.best_mean_reward = -np.inf
        self._owns_env = eval_env is None
        self._evaluations: dict[str, list[Any]] = {}

    def _init_callback(self) -> None:
        if self.eval_env is None:
            n_envs = min(self.n_eval_trials, MOST_ENVS)
            self.eval_env = held_out_env(self.training_env, n_envs, self.env_kwargs)
        self.eval_env = with_channels_first(self.eval_env)
        check_spaces(self.model, self.eval_env)
        folder = monitor_folder(self.training_env)
        if folder is not None:
            self.log_path = self.log_path or str(folder)
            self.best_model_save_path = self.best_model_save_path or str(folder)
        for path in filter(None, (self.log_path, self.best_model_save_path)):
            Path(path).mkdir(parents=True, exist_ok=True)
        if self.callback_on_new_best is not None:
            self.callback_on_new_best.init_callback(self.model)

    def _on_training_start(self) -> None:
        super()._on_training_start()
        siblings = self.locals.get("callback")
        others = siblings.callbacks if isinstance(siblings, CallbackList) else []
        for other in others:
            path = other.best_model_save_path if isinstance(other, EvalCallback) else None
            if path and self.best_model_save_path and Path(path).resolve() == Path(self.best_model_save_path).resolve():
                warnings.warn(
                    f"Another EvalCallback writes best_model.zip into {path} too: the later of the two wins. Switch it "
                    "off (with RL-Zoo: --eval-freq -1), or give the callbacks different folders.",
                    stacklevel=2,
                )

    def _on_training_end(self) -> None:
        if self._owns_env and self.eval_env is not None:
            self.eval_env.close()
            self.eval_env = None

    def _on_step(self) -> bool:
        if self.eval_freq <= 0 or self.n_calls % self.eval_freq != 0:
            return True
        trials = self._play()
        returns = as_table(trials)
        trial_returns = returns.sum(axis=1)
        self.last_mean_reward = float(trial_returns.mean())
        self.last_iqm = float(interquartile_mean(trial_returns[None]))
        self._log(trials, returns.mean(axis=0))
        self._save_evaluations(trials)
        continue_training = True
        # Where the middle half is perfect the mean still tells models apart.
        if (self.last_iqm, self.last_mean_reward) > (self.best_iqm, self.best_mean_reward):
            continue_training = self._on_new_best()
        return continue_training and self._on_event()

    def _play(self) -> list[PlayedTrial]:
        assert self.eval_env is not None  # for mypy: _init_callback has built it
        if self.model.get_vec_normalize_env() is not None:
            sync_envs_normalization(self.training_env, self.eval_env)
        with th.random.fork_rng(range(th.cuda.device_count())):
            th.manual_seed(self.seed)
            return play_tasks(self.model, self.eval_env, self.n_eval_trials, self.seed, self.deterministic)

    def _log(self, trials: list[PlayedTrial], episode_means: Any) -> None:
        for k, value in enumerate(episode_means, start=1):
            self.logger.record(f"eval/episode_{k}_return", float(value))
        self.logger.record("eval/test_iqm", self.last_iqm)
        self.logger.record("eval/mean_reward", self.last_mean_reward)
        self.logger.record("eval/mean_ep_length", float(np.mean([sum(trial.episode_lengths) for trial in trials])))
        successes = success_table(trials)
        if successes is not None:
            for k, share in enumerate(successes.mean(axis=0), start=1):
                self.logger.record(f"eval/episode_{k}_success", float(share))
            self.logger.record("eval/success_rate", float(successes[:, -1].mean()))
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)
        if self.verbose >= 1:
            episodes = ", ".join(f"{value:.2f}" for value in episode_means)
            print(
                f"Eval num_timesteps={self.num_timesteps}, {len(trials)} tasks: IQM {self.last_iqm:.2f}, "
                f"mean {self.last_mean_reward:.2f}, by episode {episodes}"
            )

    def _save_evaluations(self, trials: list[PlayedTrial]) -> None:
        if self.log_path is None:
            return
        returns = [trial.episode_returns for trial in trials]
        evaluation: dict[str, Any] = {
            "timesteps": self.num_timesteps,
            "results": [sum(row) for row in returns],
            "ep_lengths": [sum(trial.episode_lengths) for trial in trials],
            "episode_returns": returns,
        }
        successes = success_table(trials)
        if successes is not None:
            evaluation["successes"] = successes[:, -1] > 0
        for name, value in evaluation.items():
            self._evaluations.setdefault(name, []).append(value)
        np.savez(Path(self.log_path) / "evaluations", **self._evaluations)  # type: ignore[arg-type]

    def _on_new_best(self) -> bool:
        if self.verbose >= 1:
            print("New best interquartile mean!")
        self.best_iqm, self.best_mean_reward = self.last_iqm, self.last_mean_reward
        if self.best_model_save_path is not None:
            self.model.save(Path(self.best_model_save_path) / "best_model")
        return self.callback_on_new_best is None or self.callback_on_new_best.on_step()
