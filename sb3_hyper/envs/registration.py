"""Building trials, and registering them with Gymnasium."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from sb3_hyper.envs.bandit import Bandit
from sb3_hyper.envs.grid_navi import GridNavi, GridNaviDense, GridNaviShow
from sb3_hyper.envs.meta_world_benchmark import META_WORLD_IDS
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
from sb3_hyper.envs.set_task import SetTask, TaskOption
from sb3_hyper.envs.t_maze import TMazeAgreement, TMazeChecks, TMazeLatent, TMazeLS, TMazeOrder
from sb3_hyper.envs.tabular_mdp import TabularMDP
from sb3_hyper.envs.task import Split, TaskDistribution
from sb3_hyper.envs.task_samplers import TaskSource, task_sampler_of
from sb3_hyper.envs.trial import TrialWrapper, check_n_episodes
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
    env: gym.Env[Any, Any] | str | Callable[..., gym.Env[Any, Any]],
    n_episodes_per_trial: int,
    task_sampler: TaskSource | Mapping[Split, TaskSource] | None = None,
    full_transitions: bool = True,
    expose_task: bool = False,
    *,
    split: Split | None = None,
    set_task: Callable[[Any, Any], object] | None = None,
    task_option: str | None = None,
    task_space: spaces.Space[Any] | None = None,
    render_mode: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
) -> RL2Observation:
    """
    Make trials of your own environment.

    The task reaches it in one of these ways:

    - ``reset(options={"task": task})`` plays the task and returns it in ``info["task"]``: nothing else is needed.
      Without the option it may draw a task itself;
    - it has a method ``set_task(task)``, and ``reset()`` keeps the task: this is found;
    - it is set by something else: ``set_task=lambda env, task: env.reset_task(task)``;
    - ``reset`` has an option by another name: ``task_option="goal_cell"``.

    In the last three it also needs a ``task_sampler``, unless it draws tasks itself and reports them.

    :param env: The environment, the id of a registered one, or its class.
    :param n_episodes_per_trial: Episodes per trial, at least 1.
    :param task_sampler: Draws the task of a trial from a numpy generator; or a list of tasks, equally likely; or
        ``{"train": ..., "test": ...}`` with one of these for each split.
    :param full_transitions: Whether the previous observation is part of the observation.
    :param expose_task: Whether the task, which is privileged, is part of the observation.
    :param split: None for all tasks; "train" or "test": of a list, "test" has every fourth task.
    :param set_task: Sets the task of the unwrapped environment before each episode.
    :param task_option: The option of ``reset`` that sets the task, where it is not "task", or ``info["task"]`` does not
        confirm it.
    :param task_space: What the tasks are, to check them and to expose them; by default the environment's attribute.
    :param render_mode: Passed to the environment, for an id or a class.
    :param env_kwargs: Further arguments of the environment, for an id or a class.
    :return: The environment.
    :raises ValueError: If an argument is out of range, two of them contradict each other, or these are trials already.
    :raises TypeError: If ``env`` or ``task_sampler`` is of the wrong kind.
    """
    check_n_episodes(n_episodes_per_trial)
    if set_task is not None and task_option is not None:
        raise ValueError("Give set_task=... or task_option=..., the way in which the task is set: got both.")
    sampler = task_sampler_of(task_sampler, split)
    inner = _build(env, render_mode, env_kwargs or {})
    if task_space is None and inner.has_wrapper_attr("task_space"):
        task_space = inner.get_wrapper_attr("task_space")
    if task_option is not None:
        inner = TaskOption(inner, task_option)
    elif set_task is not None or inner.has_wrapper_attr("set_task"):
        inner = SetTask(inner, set_task)
    trial = TrialWrapper(inner, n_episodes_per_trial, sampler, task_space)
    return RL2Observation(trial, full_transitions, expose_task, task_space)


def _build(
    env: gym.Env[Any, Any] | str | Callable[..., gym.Env[Any, Any]],
    render_mode: str | None,
    env_kwargs: dict[str, Any],
) -> gym.Env[Any, Any]:
    kwargs = env_kwargs if render_mode is None else {**env_kwargs, "render_mode": render_mode}
    if isinstance(env, gym.Env):
        if kwargs:
            raise ValueError(f"{env} is built already: give it {sorted(kwargs)} where it is built, or pass its class.")
        built = env
    else:
        built = gym.make(env, **kwargs) if isinstance(env, str) else env(**kwargs)
    if not isinstance(built, gym.Env):
        raise TypeError(f"Wanted a Gymnasium environment, the id of one or its class, got {built!r}.")
    if built.has_wrapper_attr("n_episodes") and built.has_wrapper_attr("full_transitions"):
        raise ValueError(
            f"{built} is a trial already. Set its number of episodes where it is built: "
            f"gymnasium.make(..., n_episodes_per_trial={built.get_wrapper_attr('n_episodes')})."
        )
    return built


def register_environments() -> None:
    """
    Register the trials of every task distribution, and of Meta-World, with Gymnasium; again changes nothing.

    Building one imports what it needs: the ids of an extra that is not installed say how to install it.
    """
    for env_id in TASK_DISTRIBUTIONS:
        if env_id not in gym.registry:
            gym.register(
                id=env_id, entry_point="sb3_hyper.envs.registration:make_trial", kwargs={"distribution": env_id}
            )
    for env_id in META_WORLD_IDS:
        if env_id not in gym.registry:
            gym.register(
                id=env_id,
                entry_point="sb3_hyper.envs.meta_world:make_meta_world_trial",
                kwargs={"benchmark": env_id, "split": "train"},
            )


def _distribution_class(name: str) -> type[TaskDistribution]:
    if name in TASK_DISTRIBUTIONS or f"{name}-v0" in TASK_DISTRIBUTIONS:
        return TASK_DISTRIBUTIONS.get(name) or TASK_DISTRIBUTIONS[f"{name}-v0"]
    raise unknown_name("task distribution", name, TASK_DISTRIBUTIONS)
