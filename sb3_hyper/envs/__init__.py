"""Task distributions, and trials of them as Gymnasium and Stable-Baselines3 environments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sb3_hyper.envs.grid_navi import GridNavi, GridNaviDense, GridNaviShow
from sb3_hyper.envs.registration import TASK_DISTRIBUTIONS, make_trial, make_trials, register_environments
from sb3_hyper.envs.rl2_observation import RL2Observation
from sb3_hyper.envs.t_maze import TMazeAgreement, TMazeChecks, TMazeLatent, TMazeLS, TMazeOrder
from sb3_hyper.envs.task import TaskDistribution
from sb3_hyper.envs.task_env import TaskEnv
from sb3_hyper.envs.trial import TrialWrapper

if TYPE_CHECKING:
    from sb3_hyper.envs.vec_env import TrialVecEnv, batched_vec_env

__all__ = [
    "TASK_DISTRIBUTIONS",
    "GridNavi",
    "GridNaviDense",
    "GridNaviShow",
    "RL2Observation",
    "TMazeAgreement",
    "TMazeChecks",
    "TMazeLS",
    "TMazeLatent",
    "TMazeOrder",
    "TaskDistribution",
    "TaskEnv",
    "TrialVecEnv",
    "TrialWrapper",
    "batched_vec_env",
    "make_trial",
    "make_trials",
    "register_environments",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in ("TrialVecEnv", "batched_vec_env"):
        from sb3_hyper.envs import vec_env

        return getattr(vec_env, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
