"""The privileged task on its way from the environment of training to an objective, past the policy."""

import inspect
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from sb3_hyper.policies import PRIVILEGED_POLICIES
from sb3_hyper.policies.features import is_trial_space
from sb3_hyper.task_inference import AuxiliaryObjective, find_objective

_HOW_TO_SHOW_IT = (
    "Build it with expose_task=True: gymnasium.make(id, expose_task=True), make_vec_env(id, n, "
    "env_kwargs=dict(expose_task=True)), make_trials(..., expose_task=True), or on RL-Zoo's command line "
    "--env-kwargs expose_task:True."
)


class TaskBlindSpace(spaces.Dict):
    """
    The space of trial observations for agents that do not see the task: it equals spaces that differ in ``task`` alone.

    So SB3 takes a model that was trained with the task to environments that do not show it, and back for training.

    :param space: the space of the environment's observations, with or without ``task``
    """

    def __init__(self, space: spaces.Dict) -> None:
        super().__init__(_but_task(space))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, spaces.Dict) and _but_task(self) == _but_task(other)

    __hash__ = None  # type: ignore[assignment]


def _but_task(space: spaces.Dict) -> dict[str, spaces.Space[Any]]:
    return {key: part for key, part in space.spaces.items() if key != "task"}


def task_blind(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space without the task, for the policy; one that is no trial's has none."""
    return TaskBlindSpace(space) if isinstance(space, spaces.Dict) and is_trial_space(space) else space


def with_task(space: spaces.Space[Any], task_space: spaces.Space[Any] | None) -> spaces.Space[Any]:
    """The space of what a rollout keeps: the policy's, and the flattened task where it is known."""
    if not isinstance(space, spaces.Dict) or task_space is None:
        return space
    return spaces.Dict({**space.spaces, "task": spaces.Box(-float("inf"), float("inf"), (spaces.flatdim(task_space),))})


def show_task(env_id: str) -> gym.Env[Any, Any]:
    """
    Build a registered environment that shows its task.

    :param env_id: its id
    :return: the environment
    :raises ValueError: when it cannot
    """
    try:
        return gym.make(env_id, expose_task=True)
    except TypeError as error:
        if "expose_task" not in str(error):
            raise
        raise _shows_no_task(env_id) from error


def check_shows_task(env_id: str) -> None:
    """
    Check that a registered environment may be asked to show its task, without building one.

    :param env_id: its id
    :raises ValueError: when it takes no such argument
    """
    entry_point = gym.spec(env_id).entry_point
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    parameters = inspect.signature(creator).parameters.values() if creator is not None else []
    if not any(parameter.name == "expose_task" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        raise _shows_no_task(env_id)


def _shows_no_task(env_id: str) -> ValueError:
    return ValueError(
        f"The policy or its objective learns from the task, but {env_id} takes no argument expose_task. Wrap the "
        "environment with sb3_hyper.envs.make_trials(..., expose_task=True), and pass it as env or register it."
    )


def task_space_of(env: VecEnv) -> spaces.Space[Any] | None:
    """
    The space of the tasks that the environments show.

    :param env: the environments
    :return: their attribute ``task_space``, or the observation's box where they have none; None when they show no task
    :raises ValueError: when the task is not shown as a vector of numbers, or not as the environments have it
    """
    shown = env.observation_space.spaces.get("task") if isinstance(env.observation_space, spaces.Dict) else None
    if shown is None:
        return None
    if not isinstance(shown, spaces.Box) or len(shown.shape) != 1 or not is_trial_space(env.observation_space):
        raise ValueError(
            f"The observation's 'task' is {shown}, in {env.observation_space}; wanted a trial's observation whose task "
            f"is a flat Box, as sb3_hyper.envs.RL2Observation makes it. {_HOW_TO_SHOW_IT}"
        )
    normalization = unwrap_vec_normalize(env)
    if normalization is not None and normalization.norm_obs and "task" in (normalization.norm_obs_keys or ()):
        others = [key for key in normalization.norm_obs_keys or () if key != "task"]
        raise ValueError(
            "VecNormalize changes the task, which an objective learns from, as the agent meets more tasks. Leave it "
            f"out: VecNormalize(env, norm_obs_keys={others}). Policies of sb3_hyper normalise states themselves."
        )
    space = env.get_attr("task_space", 0)[0] if env.has_attr("task_space") else None
    is_shown = isinstance(space, spaces.Space) and shown.shape == (spaces.flatdim(space),)
    return space if is_shown else shown


def check_task(env: VecEnv, task_space: spaces.Space[Any] | None, objective: str) -> None:
    """
    Check, before training, that the environments show the tasks that an objective was built for.

    :param env: the environments of training
    :param task_space: what the objective was built for; None: it was not built
    :param objective: its name
    :raises ValueError: when they do not
    """
    shown = task_space_of(env)
    if shown is None:
        raise ValueError(
            f"{objective} learns from the task, but the environment's observations have no key 'task'. "
            f"{_HOW_TO_SHOW_IT} Evaluation needs none of it."
        )
    if task_space is None:
        raise ValueError(
            f"{objective} was built without a task, because the environment of then showed none. Build the model "
            "anew with the environment that it is to train in."
        )
    if shown != task_space:
        raise ValueError(
            f"{objective} was built for tasks of {task_space}, but the environment has tasks of {shown}. Train where "
            "the model was trained before, or build a new one."
        )


def objective_of(
    policy_class: type[Any], given: str | type[AuxiliaryObjective] | None
) -> type[AuxiliaryObjective] | None:
    """The objective that was given, or else the policy's own, if it has one."""
    return getattr(policy_class, "auxiliary_class", None) if given is None else find_objective(given)


def is_privileged(policy_class: type[Any]) -> bool:
    """Whether the policy sees the task."""
    return issubclass(policy_class, tuple(PRIVILEGED_POLICIES.values()))


def sees_task(policy_class: type[Any], policy_kwargs: Mapping[str, Any]) -> bool:
    """Whether the policy sees the task, by its class or by a keyword."""
    return is_privileged(policy_class) or policy_kwargs.get("encoder_input") == "task"


def needs_task(policy_class: type[Any], objective: type[AuxiliaryObjective] | None) -> bool:
    """Whether the environment of training has to show the task, to the policy or to the objective."""
    return is_privileged(policy_class) or (objective is not None and objective.needs_task)
