"""What RL-Zoo's search reports to Optuna for ``hyper_ppo``: the interquartile mean over held-out tasks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rl_zoo3.callbacks import TrialEvalCallback
from typing_extensions import override

from sb3_hyper.callbacks import AdaptationEvalCallback
from sb3_hyper.evaluation import MOST_ENVS
from sb3_hyper.held_out_tasks import held_out_env
from sb3_hyper.hyper_ppo import HyperPPO

if TYPE_CHECKING:
    import optuna
    from stable_baselines3.common.vec_env import VecEnv


class AdaptationTrialEvalCallback(TrialEvalCallback):
    """
    Report the interquartile mean of returns per trial on held-out tasks, where RL-Zoo reports a mean of five episodes.

    RL-Zoo prunes a trial of its search by what the callback reports, and ranks it by ``last_mean_reward``: here both
    are the interquartile mean of :class:`~sb3_hyper.callbacks.AdaptationEvalCallback`. Algorithms other than HyperPPO
    are evaluated as ever.

    :param eval_env: RL-Zoo's environments for evaluation; more are built after them
    :param trial: the trial of the search
    :param n_eval_episodes: number of tasks, raised to 100 if less
    :param kwargs: further arguments of RL-Zoo's callback
    """

    def __init__(self, eval_env: VecEnv, trial: optuna.Trial, n_eval_episodes: int = 5, **kwargs: Any) -> None:
        super().__init__(eval_env, trial, n_eval_episodes, **kwargs)
        self._adaptation: AdaptationEvalCallback | None = None

    @override
    def _init_callback(self) -> None:
        if not isinstance(self.model, HyperPPO):
            super()._init_callback()
            return
        self._adaptation = AdaptationEvalCallback(
            held_out_env(self.eval_env, MOST_ENVS),
            n_eval_trials=max(self.n_eval_episodes, MOST_ENVS),
            eval_freq=1,
            # SB3 has put the name of the file behind it.
            log_path=None if self.log_path is None else os.path.dirname(self.log_path),
            best_model_save_path=self.best_model_save_path,
            deterministic=self.deterministic,
            verbose=self.verbose,
        )
        self._adaptation.init_callback(self.model)

    @override
    def _on_training_end(self) -> None:
        if self._adaptation is not None and self._adaptation.eval_env is not None:
            self._adaptation.eval_env.close()

    @override
    def _on_step(self) -> bool:
        if self._adaptation is None:
            return bool(super()._on_step())
        if self.eval_freq <= 0 or self.n_calls % self.eval_freq != 0:
            return True
        self._adaptation.on_step()
        self.last_mean_reward = self._adaptation.last_iqm
        self.best_mean_reward = self._adaptation.best_iqm
        self.eval_idx += 1
        self.trial.report(self.last_mean_reward, self.eval_idx)
        self.is_pruned = self.trial.should_prune()
        return not self.is_pruned
