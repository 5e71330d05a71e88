"""What SB3 takes for an episode is a trial of several: their returns, and the environment that an error came from."""

from collections import deque
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.envs import TrialVecEnv
from sb3_hyper.envs.trial import number_environments


class TrialPPO(RecurrentPPO):
    """
    RecurrentPPO that logs the mean return of each episode within the trial, and numbers the environments.

    With CUDA, a :class:`~sb3_hyper.envs.TrialVecEnv` that nothing wraps is moved to the algorithm's device when
    training begins. Observations, actions and rewards then never leave it: a callback's ``locals`` hold tensors, and so
    does what the environment returns after training, until its ``move_to(None)``. Wrapped, in SB3's VecMonitor for
    example, it stays where it is.

    :param args: the parent's
    :param kwargs: the parent's
    """

    _episode_returns: deque[Sequence[float]]

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        vec_env = RecurrentPPO._wrap_env(env, verbose, monitor_wrapper)
        if vec_env.has_attr("env_index"):
            number_environments(vec_env)
        return vec_env

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        is_reset = reset_num_timesteps or self._last_obs is None
        # Only where it is the outermost: wrappers of SB3 read numpy arrays.
        if is_reset and self.device.type == "cuda" and isinstance(self.env, TrialVecEnv):
            self.env.move_to(self.device)
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: Any = None) -> None:
        # A TrialVecEnv says something only where a trial ends: most steps need no look at every environment.
        if not any(infos):
            return
        super()._update_info_buffer(infos, dones)
        self._episode_returns.extend(
            info["episode_returns"] for info in infos if isinstance(info.get("episode_returns"), list)
        )

    def dump_logs(self, iteration: int = 0) -> None:
        """
        Write log; besides SB3's keys the mean return of each episode within the trial, ``rollout/episode_1_return`` and
        so on.

        :param iteration: current logging iteration
        """
        for k, returns in enumerate(zip_longest(*self._episode_returns), start=1):
            played = [value for value in returns if value is not None]
            self.logger.record(f"rollout/episode_{k}_return", safe_mean(played))
        super().dump_logs(iteration)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_episode_returns"]
