"""Building trials, and registering them with Gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from sb3_hyper.envs.bandit import Bandit
from sb3_hyper.envs.grid_navi import GridNavi, GridNaviDense, GridNaviShow
from sb3_hyper.envs.mine_maze import MineMaze, MineMazeHidden, MineMazeNoise, MineMazeOrder
from sb3_hyper.envs.mine_maze_pixels import (
    MineMazePixels,
    MineMazePixelsHidden,
    MineMazePixelsNoise,
    MineMazePixelsOrder,
)
from sb3_hyper.envs.mujoco import MUJOCO_TASK_DISTRIBUTIONS
from sb3_hyper.envs.planning_game import PlanningGame, PlanningGame3x3, PlanningGameJustGoal
from sb3_hyper.envs.point_nav import PointNav, PointNavSparse
from sb3_hyper.envs.rl2_observation import RL2Observation
from sb3_hyper.envs.t_maze import TMazeAgreement, TMazeChecks, TMazeLatent, TMazeLS, TMazeOrder
from sb3_hyper.envs.tabular_mdp import TabularMDP
from sb3_hyper.envs.task import Split, TaskDistribution
from sb3_hyper.envs.trial import TaskSampler, TrialWrapper, check_n_episodes
from sb3_hyper.errors import unknown_name

TASK_DISTRIBUTIONS: dict[str, type[TaskDistribution]] = {
    "TMazeLS-v0": TMazeLS,
    "TMazeAgreement-v0": TMazeAgreement,
    "TMazeLatent-v0": TMazeLatent,
    "TMazeOrder-v0": TMazeOrder,
    "TMazeChecks-v0": TMazeChecks,
    "GridNavi-v0": GridNavi,
    "GridNaviDense-v0": GridNaviDense,
    "GridNaviShow-v0": GridNaviShow,
    "PlanningGame-v0": PlanningGame,
    "PlanningGame3x3-v0": PlanningGame3x3,
    "PlanningGameJustGoal-v0": PlanningGameJustGoal,
    "Bandit-v0": Bandit,
    "TabularMDP-v0": TabularMDP,
    "PointNav-v0": PointNav,
    "PointNavSparse-v0": PointNavSparse,
    "MineMaze-v0": MineMaze,
    "MineMazeOrder-v0": MineMazeOrder,
    "MineMazeNoise-v0": MineMazeNoise,
    "MineMazeHidden-v0": MineMazeHidden,
    "MineMazePixels-v0": MineMazePixels,
    "MineMazePixelsOrder-v0": MineMazePixelsOrder,
    "MineMazePixelsNoise-v0": MineMazePixelsNoise,
    "MineMazePixelsHidden-v0": MineMazePixelsHidden,
    **MUJOCO_TASK_DISTRIBUTIONS,
}
"""Gymnasium id -> the task distribution whose trials it names."""


def make_trial(
    distribution: type[TaskDistribution] | str,
    n_episodes_per_trial: int | None = None,
    full_transitions: bool = True,
    expose_task: bool = False,
    split: Split | None = None,
    render_mode: str | None = None,
    **distribution_kwargs: Any,
) -> RL2Observation:
    """
    Build one trial environment: ``RL2Observation(TrialWrapper(TaskEnv(distribution)))``.

    :param distribution: A task distribution class, or its name, with or without "-v0".
    :param n_episodes_per_trial: Episodes per trial, at least 1; by default the distribution's.
    :param full_transitions: Whether the previous observation is part of the observation.
    :param expose_task: Whether the task, which is privileged, is part of the observation.
    :param split: None for all tasks, "train" or "test" for disjoint parts, where a distribution has them.
    :param render_mode: None, "ansi", "rgb_array" or "human".
    :param distribution_kwargs: Further arguments of the distribution, such as ``corridor_length`` or ``size``.
    :return: The environment.
    :raises ValueError: If the name is unknown or an argument is out of range.
    :raises TypeError: If the distribution has no such argument.
    """
    distribution_class = _distribution_class(distribution) if isinstance(distribution, str) else distribution
    if split is not None:
        distribution_kwargs["split"] = split
    task_distribution = distribution_class(**distribution_kwargs)
    n_episodes = task_distribution.n_episodes if n_episodes_per_trial is None else n_episodes_per_trial
    check_n_episodes(n_episodes)
    trial = TrialWrapper(task_distribution.env_type()(task_distribution, render_mode), n_episodes)
    return RL2Observation(trial, full_transitions, expose_task)


def make_trials(
    env: gym.Env[Any, Any] | str,
    n_episodes_per_trial: int,
    task_sampler: TaskSampler | None = None,
    full_transitions: bool = True,
    expose_task: bool = False,
) -> RL2Observation:
    """
    Make trials of your own environment.

    The environment plays the task in ``reset(options={"task": task})``. Without the option it samples a task itself and
    returns it in ``info["task"]``, or ``task_sampler`` draws one. ``expose_task`` needs its attribute ``task_space``.

    :param env: The environment, or the id of a registered one.
    :param n_episodes_per_trial: Episodes per trial, at least 1.
    :param task_sampler: Draws the task of a trial from a numpy generator.
    :param full_transitions: Whether the previous observation is part of the observation.
    :param expose_task: Whether the task, which is privileged, is part of the observation.
    :return: The environment.
    :raises ValueError: If the number of episodes is less than 1.
    """
    check_n_episodes(n_episodes_per_trial)
    inner = gym.make(env) if isinstance(env, str) else env
    return RL2Observation(TrialWrapper(inner, n_episodes_per_trial, task_sampler), full_transitions, expose_task)


def register_environments() -> None:
    """Register the trials of every task distribution with Gymnasium; calling it again changes nothing."""
    for env_id in TASK_DISTRIBUTIONS:
        if env_id not in gym.registry:
            gym.register(
                id=env_id, entry_point="sb3_hyper.envs.registration:make_trial", kwargs={"distribution": env_id}
            )


def _distribution_class(name: str) -> type[TaskDistribution]:
    if name in TASK_DISTRIBUTIONS or f"{name}-v0" in TASK_DISTRIBUTIONS:
        return TASK_DISTRIBUTIONS.get(name) or TASK_DISTRIBUTIONS[f"{name}-v0"]
    raise unknown_name("task distribution", name, TASK_DISTRIBUTIONS)
