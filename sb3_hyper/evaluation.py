"""Evaluation over whole trials: the return of the first, second, ... episode on a task that is not known at first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecTransposeImage, is_vecenv_wrapped

from sb3_hyper.adaptation import AdaptationResult
from sb3_hyper.envs.task import TaskDistribution
from sb3_hyper.envs.vec_env import batched_vec_env

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
    max_trial_length: int = 100_000,
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
    vec_env = _with_channels_first(_as_vec_env(env, n_trials))
    try:
        check_spaces(model, vec_env)
        with th.random.fork_rng(range(th.cuda.device_count()), enabled=seed is not None):
            if seed is not None:
                th.manual_seed(seed)
                vec_env.seed(seed)
                if isinstance(model, RandomBaseline):
                    model.seed(seed)
            returns = _play(model, vec_env, n_trials, deterministic, max_trial_length)
        return AdaptationResult(
            environment=_environment_name(vec_env),
            policy=_policy_name(model),
            returns=_as_table(returns),
            deterministic=deterministic and not isinstance(model, RandomBaseline),
            seed=seed,
            reference_returns=reference_returns(vec_env),
        )
    finally:
        if isinstance(env, str):
            vec_env.close()


def _as_vec_env(env: VecEnv | gym.Env[Any, Any] | str, n_trials: int) -> VecEnv:
    if isinstance(env, VecEnv):
        return env
    if isinstance(env, str):
        return make_vec_env(env, min(n_trials, MOST_ENVS), vec_env_cls=batched_vec_env)  # type: ignore[arg-type]
    return batched_vec_env([lambda: env])


def _with_channels_first(env: VecEnv) -> VecEnv:
    """What SB3's algorithms do to images before they train on them."""
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
                "Evaluate it where it was trained, with the same arguments (full_transitions, size, ...)."
            )


def _where_different(trained: spaces.Space[Any], given: spaces.Space[Any]) -> tuple[spaces.Space[Any], ...]:
    if not (isinstance(trained, spaces.Dict) and isinstance(given, spaces.Dict)):
        return trained, given
    same = {key for key in trained.keys() & given.keys() if trained[key] == given[key]}
    return tuple(spaces.Dict({k: s for k, s in space.items() if k not in same}) for space in (trained, given))


def _play(
    model: PolicyPredictor, env: VecEnv, n_trials: int, deterministic: bool, max_trial_length: int
) -> list[list[float]]:
    n_envs = env.num_envs
    # As evenly as possible, as evaluate_policy does.
    missing = (n_trials + np.arange(n_envs)) // n_envs
    is_monitored = is_vecenv_wrapped(env, VecMonitor) or env.env_is_wrapped(Monitor)[0]
    reward_sums, lengths = np.zeros(n_envs), np.zeros(n_envs, dtype=int)
    returns: list[list[float]] = []
    observations, state, episode_starts = _to_numpy(env.reset()), None, np.ones(n_envs, dtype=bool)
    while missing.any():
        actions, state = model.predict(observations, state, episode_starts, deterministic)
        next_observations, rewards, dones, infos = env.step(actions)
        observations, episode_starts = _to_numpy(next_observations), _to_numpy(dones)
        reward_sums += _to_numpy(rewards)
        lengths += 1
        for index in np.flatnonzero(episode_starts):
            played = _episode_returns(infos[index], is_monitored, reward_sums[index])
            if played and missing[index]:
                returns.append(played)
                missing[index] -= 1
            reward_sums[index] = lengths[index] = 0
        if lengths.max() >= max_trial_length:
            raise ValueError(
                f"Environment {lengths.argmax()} played {lengths.max()} steps without an end of its episode or trial. "
                "Give it a time limit (gymnasium.wrappers.TimeLimit, or max_episode_steps where it is registered), or "
                "raise max_trial_length."
            )
    return returns


def _episode_returns(info: dict[str, Any], is_monitored: bool, reward_sum: float) -> list[float]:
    """The episodes of a trial that has ended; none where a Monitor says that "done" was not the end."""
    if "episode_returns" in info:
        return list(info["episode_returns"])
    if is_monitored:
        return [info["episode"]["r"]] if "episode" in info else []
    return [float(reward_sum)]


def _to_numpy(value: Any) -> Any:
    """Environments that live on a device speak tensors; models' ``predict`` speaks numpy."""
    if isinstance(value, Mapping):
        return {key: _to_numpy(part) for key, part in value.items()}
    return value.cpu().numpy() if isinstance(value, th.Tensor) else value


def _as_table(returns: list[list[float]]) -> npt.NDArray[np.float64]:
    lengths = sorted({len(row) for row in returns})
    if len(lengths) > 1:
        raise ValueError(
            f"Trials have {lengths} episodes; wanted the same number in all of them, so that the k-th can be compared. "
            "Let every trial play all its episodes (see TrialWrapper)."
        )
    return np.array(returns, dtype=np.float64)


def reference_returns(env: VecEnv) -> dict[str, float]:
    """
    Mean returns per trial of known policies.

    :param env: the environments
    :return: the task distribution's ``reference_returns``; empty unless these are its trials, at its default settings
    """
    if not (env.has_attr("distribution") and env.has_attr("n_episodes")):
        return {}
    distribution, n_episodes = env.get_attr("distribution", 0)[0], env.get_attr("n_episodes", 0)[0]
    if not isinstance(distribution, TaskDistribution) or n_episodes != distribution.n_episodes:
        return {}
    try:
        default = type(distribution)()  # type: ignore[call-arg]
    except TypeError:
        return {}
    return dict(distribution.reference_returns) if distribution == default else {}


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
