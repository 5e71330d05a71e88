"""Task distributions, and trials of them as Gymnasium and Stable-Baselines3 environments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sb3_hyper.envs.bandit import Bandit
from sb3_hyper.envs.finite_tasks import FiniteTaskSpace
from sb3_hyper.envs.grid_navi import GridNavi, GridNaviDense, GridNaviShow
from sb3_hyper.envs.meta_world import MetaWorldEnv
from sb3_hyper.envs.meta_world_benchmark import META_WORLD_IDS
from sb3_hyper.envs.mine_maze import MineMaze, MineMazeHidden, MineMazeNoise, MineMazeOrder
from sb3_hyper.envs.mine_maze_pixels import (
    MineMazePixels,
    MineMazePixelsHidden,
    MineMazePixelsNoise,
    MineMazePixelsOrder,
)
from sb3_hyper.envs.mujoco import (
    AntDir,
    AntDir2D,
    AntGoal,
    AntGoalSparse,
    HalfCheetahDir,
    HalfCheetahDirSparse,
    HalfCheetahHop,
    HalfCheetahVel,
    HopperRandParams,
    HumanoidDir,
    Walker2DRandParams,
)
from sb3_hyper.envs.planning_game import PlanningGame, PlanningGame3x3, PlanningGameJustGoal
from sb3_hyper.envs.point_nav import PointNav, PointNavSparse
from sb3_hyper.envs.registration import TASK_DISTRIBUTIONS, make_trial, make_trials, register_environments
from sb3_hyper.envs.rl2_observation import RL2Observation
from sb3_hyper.envs.t_maze import TMazeAgreement, TMazeChecks, TMazeLatent, TMazeLS, TMazeOrder
from sb3_hyper.envs.tabular_mdp import TabularMDP
from sb3_hyper.envs.task import TaskDistribution
from sb3_hyper.envs.task_env import TaskEnv
from sb3_hyper.envs.trial import TrialWrapper, number_environments

if TYPE_CHECKING:
    from sb3_hyper.envs.vec_env import TrialVecEnv, batched_vec_env

__all__ = [
    "META_WORLD_IDS",
    "TASK_DISTRIBUTIONS",
    "AntDir",
    "AntDir2D",
    "AntGoal",
    "AntGoalSparse",
    "Bandit",
    "FiniteTaskSpace",
    "GridNavi",
    "GridNaviDense",
    "GridNaviShow",
    "HalfCheetahDir",
    "HalfCheetahDirSparse",
    "HalfCheetahHop",
    "HalfCheetahVel",
    "HopperRandParams",
    "HumanoidDir",
    "MetaWorldEnv",
    "MineMaze",
    "MineMazeHidden",
    "MineMazeNoise",
    "MineMazeOrder",
    "MineMazePixels",
    "MineMazePixelsHidden",
    "MineMazePixelsNoise",
    "MineMazePixelsOrder",
    "PlanningGame",
    "PlanningGame3x3",
    "PlanningGameJustGoal",
    "PointNav",
    "PointNavSparse",
    "RL2Observation",
    "TMazeAgreement",
    "TMazeChecks",
    "TMazeLS",
    "TMazeLatent",
    "TMazeOrder",
    "TabularMDP",
    "TaskDistribution",
    "TaskEnv",
    "TrialVecEnv",
    "TrialWrapper",
    "Walker2DRandParams",
    "batched_vec_env",
    "make_trial",
    "make_trials",
    "number_environments",
    "register_environments",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in ("TrialVecEnv", "batched_vec_env"):
        from sb3_hyper.envs import vec_env

        return getattr(vec_env, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
