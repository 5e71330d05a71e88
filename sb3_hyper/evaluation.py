"""Evaluation over whole trials: the return of the first, second, ... episode on a task that is not known at first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecTransposeImage

from sb3_hyper.adaptation import AdaptationResult
from sb3_hyper.adaptation_statistics import AdaptationStatistics
from sb3_hyper.envs.task import TaskDistribution
from sb3_hyper.envs.vec_env import batched_vec_env
from sb3_hyper.trial_play import MAX_TRIAL_LENGTH, PlayedTrial, play_tasks, play_trials

MOST_ENVS = 100
"""How many trials run side by side where nothing else is said."""


class RandomBaseline:
    """
    Uniform actions (for unbounded boxes: Gymnasium's samples), where a trained model could stand.

    :param action_space: the action space of one environment
    :param seed: seed of the actions; None for a fresh one
    """

    name = "random"

    def __init__(self, action_space: spaces.Space[Any], seed: int | None = None) -> None:
        self.action_space = action_space
        self._seed = seed
        self._batch: spaces.Space[Any] | None = None
        self._n_envs = 0

    def seed(self, seed: int) -> None:
        """Start the actions anew from a seed."""
        self._seed, self._batch = seed, None

    def predict(
        self,
        observation: npt.NDArray[Any] | dict[str, npt.NDArray[Any]],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """
        Draw an action for each environment.

        :param observation: read for the number of environments only
        :param state: given back
        :param episode_start: not used
        :param deterministic: not used
        :return: the actions ``(n_envs, *action shape)`` and the state
        """
        first = next(iter(observation.values())) if isinstance(observation, Mapping) else observation
        if self._batch is None or len(first) != self._n_envs:
            self._n_envs = len(first)
            self._batch = batch_space(self.action_space, self._n_envs)
            self._batch.seed(self._seed)
        return np.asarray(self._batch.sample()), state


BASELINES: dict[str, type[RandomBaseline]] = {RandomBaseline.name: RandomBaseline}
"""Agents that need no training, by name."""


def evaluate_adaptation(
    model: PolicyPredictor,
    env: VecEnv | gym.Env[Any, Any] | str,
    n_trials: int = 200,
    deterministic: bool = True,
    seed: int | None = None,
    max_trial_length: int = MAX_TRIAL_LENGTH,
) -> AdaptationResult:
    """
    Play trials and keep the return of every episode in them.

    Environments that are not trials count as trials of one episode. Every environment contributes its *first* trials,
    as many as the others (or one more): to take the first ones to finish would favour short trials.

    :param model: anything with SB3's ``predict``: an algorithm, a policy or a baseline
    :param env: a vectorised environment, one environment, or the id of a registered one (up to 100 copies are made)
    :param n_trials: number of trials, at least 1
    :param deterministic: whether to take the likeliest actions
    :param seed: seed of environments and actions; None: they go on with their random streams
    :param max_trial_length: steps after which a trial is taken for endless
    :return: the returns, with their statistics
    :raises ValueError: when there are no trials to play, spaces do not match, a trial does not end, or trials differ in
        their number of episodes
    """
    if n_trials < 1:
        raise ValueError(f"n_trials={n_trials}: wanted at least 1 trial; 200 give an interval that is narrow enough.")
    with _prepared(model, env, n_trials, seed) as vec_env:
        trials = play_trials(model, vec_env, n_trials, deterministic, max_trial_length)
        return AdaptationResult(
            environment=_environment_name(vec_env),
            policy=_policy_name(model),
            returns=as_table(trials),
            deterministic=deterministic and not isinstance(model, RandomBaseline),
            seed=seed,
            reference_returns=reference_returns(vec_env),
        )


def evaluate_tasks(
    model: PolicyPredictor,
    env: VecEnv | gym.Env[Any, Any] | str,
    n_tasks: int = 200,
    deterministic: bool = True,
    seed: int = 0,
    run: str = "run",
    max_trial_length: int = MAX_TRIAL_LENGTH,
) -> AdaptationStatistics:
    """
    Play one trial on each of many tasks, the same for every model: one run of an experiment.

    Runs are put together by :meth:`AdaptationStatistics.join`.

    :param model: anything with SB3's ``predict``: an algorithm, a policy or a baseline
    :param env: a vectorised environment, one environment, or the id of a registered one (up to 100 copies are made, and
        show the task to a model that is told it)
    :param n_tasks: number of tasks, at least 1
    :param deterministic: whether to take the likeliest actions
    :param seed: the seed that stands for these tasks, and for the actions
    :param run: the run's name
    :param max_trial_length: steps after which a trial is taken for endless
    :return: the returns of this run, with their statistics
    :raises ValueError: as :func:`evaluate_adaptation`
    """
    if n_tasks < 1:
        raise ValueError(f"n_tasks={n_tasks}: wanted at least 1 task; 200 give an interval that is narrow enough.")
    with _prepared(model, env, n_tasks, seed) as vec_env:
        trials = play_tasks(model, vec_env, n_tasks, seed, deterministic, max_trial_length)
        returns, successes = as_table(trials), success_table(trials)
        distribution = _distribution(vec_env)
        return AdaptationStatistics(
            environment=_environment_name(vec_env),
            policy=_policy_name(model),
            runs=(run,),
            returns=returns[None],
            tasks=_task_vectors(trials),
            distribution="" if distribution is None else repr(distribution),
            deterministic=deterministic and not isinstance(model, RandomBaseline),
            seed=seed,
            reference_returns=reference_returns(vec_env, of_any_split=True),
            successes=None if successes is None else successes[None],
        )


@contextmanager
def _prepared(
    model: PolicyPredictor, env: VecEnv | gym.Env[Any, Any] | str, n_trials: int, seed: int | None
) -> Iterator[VecEnv]:
    """The environments as the model saw them, seeded; the caller's random numbers go on as before."""
    vec_env = with_channels_first(as_vec_env(model, env, n_trials))
    try:
        check_spaces(model, vec_env)
        with th.random.fork_rng(range(th.cuda.device_count()), enabled=seed is not None):
            if seed is not None:
                th.manual_seed(seed)
                vec_env.seed(seed)
                if isinstance(model, RandomBaseline):
                    model.seed(seed)
            yield vec_env
    finally:
        if isinstance(env, str):
            vec_env.close()


def as_vec_env(model: PolicyPredictor, env: VecEnv | gym.Env[Any, Any] | str, n_trials: int) -> VecEnv:
    """
    Build the environments that a name stands for; they show the task to a model that is told it.

    :param model: who will play in them
    :param env: a vectorised environment, one environment, or the id of a registered one
    :param n_trials: as many copies of a registered one, but at most 100
    :return: the environments
    """
    if isinstance(env, VecEnv):
        return env
    if not isinstance(env, str):
        return batched_vec_env([lambda: env])
    space = getattr(model, "observation_space", None)
    # The multi-task upper bound is told the task.
    is_told = isinstance(space, spaces.Dict) and {"task", "previous_reward"} <= space.spaces.keys()
    shown = {"expose_task": True} if is_told else {}
    return make_vec_env(env, min(n_trials, MOST_ENVS), env_kwargs=shown, vec_env_cls=batched_vec_env)  # type: ignore[arg-type]


def with_channels_first(env: VecEnv) -> VecEnv:
    """
    Do to images what SB3's algorithms do to them before they train on them.

    :param env: the environments
    :return: the same, or a wrapper that shows images with their channels first
    """
    space = env.observation_space
    parts = space.spaces.values() if isinstance(space, spaces.Dict) else [space]
    images = [part for part in parts if isinstance(part, spaces.Box) and is_image_space(part)]
    return env if all(map(is_image_space_channels_first, images)) else VecTransposeImage(env)


def check_spaces(model: object, env: VecEnv) -> None:
    """
    Check that a model was made for environments of this kind.

    :param model: the model; one without spaces fits everything
    :param env: the environments
    :raises ValueError: when its observation or action space is another one
    """
    for name in ("observation_space", "action_space"):
        trained, given = getattr(model, name, None), getattr(env, name)
        if trained is not None and trained != given:
            trained, given = _where_different(trained, given)
            raise ValueError(
                f"The model was trained with the {name.replace('_', ' ')} {trained}, but the environment has {given}. "
                "(What both have is left out.) Evaluate it where it was trained, with the same arguments: "
                "full_transitions, size, ..., and expose_task=True for a policy that is told the task."
            )


def _where_different(trained: spaces.Space[Any], given: spaces.Space[Any]) -> tuple[spaces.Space[Any], ...]:
    if not (isinstance(trained, spaces.Dict) and isinstance(given, spaces.Dict)):
        return trained, given
    same = {key for key in trained.keys() & given.keys() if trained[key] == given[key]}
    return tuple(spaces.Dict({k: s for k, s in space.items() if k not in same}) for space in (trained, given))


def as_table(trials: Sequence[PlayedTrial]) -> npt.NDArray[np.float64]:
    """
    Line up the episodes of trials.

    :param trials: N trials
    :return: ``(N, K)`` returns
    :raises ValueError: when trials differ in their number of episodes
    """
    lengths = sorted({len(trial.episode_returns) for trial in trials})
    if len(lengths) > 1:
        raise ValueError(
            f"Trials have {lengths} episodes; wanted the same number in all of them, so that the k-th can be compared. "
            "Let every trial play all its episodes (see TrialWrapper)."
        )
    return np.array([trial.episode_returns for trial in trials], dtype=np.float64)


def success_table(trials: Sequence[PlayedTrial]) -> npt.NDArray[np.float64] | None:
    """
    Line up whether episodes succeeded.

    :param trials: N trials of K episodes
    :return: ``(N, K)`` 1 for a success, else 0; None where the environment does not say
    """
    known = [trial.episode_successes for trial in trials if trial.episode_successes is not None]
    return np.array(known, dtype=np.float64) if len(known) == len(trials) else None


def _task_vectors(trials: Sequence[PlayedTrial]) -> tuple[tuple[float, ...], ...]:
    """The tasks as numbers; none where they are anything else, or not known."""
    if any(trial.task is None for trial in trials):
        return ()
    try:
        return tuple(tuple(np.asarray(trial.task, np.float64).ravel().tolist()) for trial in trials)
    except (TypeError, ValueError):
        return ()


def reference_returns(env: VecEnv, of_any_split: bool = False) -> dict[str, float]:
    """
    Mean returns per trial of known policies.

    :param env: the environments
    :param of_any_split: whether they are wanted for the train and test tasks too, though they are means over all tasks
    :return: the task distribution's ``reference_returns``; empty unless these are its trials, at its default settings
    """
    distribution = _distribution(env)
    if distribution is None or env.get_attr("n_episodes", 0)[0] != distribution.n_episodes:
        return {}
    settings = {**distribution.settings, "split": None} if of_any_split else distribution.settings
    try:
        default = type(distribution)()  # type: ignore[call-arg]
    except TypeError:
        return {}
    return dict(distribution.reference_returns) if settings == default.settings else {}


def _distribution(env: VecEnv) -> TaskDistribution | None:
    if not (env.has_attr("distribution") and env.has_attr("n_episodes")):
        return None
    distribution = env.get_attr("distribution", 0)[0]
    return distribution if isinstance(distribution, TaskDistribution) else None


def _environment_name(vec_env: VecEnv) -> str:
    spec = vec_env.get_attr("spec", 0)[0] if vec_env.has_attr("spec") else None
    if spec is not None:
        return str(spec.id)
    if vec_env.has_attr("distribution"):
        return type(vec_env.get_attr("distribution", 0)[0]).__name__
    base = vec_env.unwrapped
    return type(base.envs[0].unwrapped if isinstance(base, DummyVecEnv) else base).__name__


def _policy_name(model: object) -> str:
    return model.name if isinstance(model, RandomBaseline) else type(getattr(model, "policy", model)).__name__
