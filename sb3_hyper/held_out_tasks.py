"""Environments to evaluate in, built after the ones of training, with the tasks that were held out from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from sb3_hyper.envs.vec_env import TrialVecEnv, batched_vec_env


def _normalized(wrapper: VecNormalize, env: VecEnv) -> VecNormalize:
    settings = ("norm_obs", "clip_obs", "clip_reward", "gamma", "epsilon", "norm_obs_keys")
    kwargs = {name: getattr(wrapper, name) for name in settings}
    return VecNormalize(env, training=False, norm_reward=False, **kwargs)


_WRAPPERS: dict[type[VecEnvWrapper], Callable[[Any, VecEnv], VecEnv]] = {
    VecNormalize: _normalized,
    VecTransposeImage: lambda _, env: VecTransposeImage(env),
    VecMonitor: lambda _, env: VecMonitor(env),
    VecCheckNan: lambda wrapper, env: VecCheckNan(env, wrapper.raise_exception),
}


def held_out_env(env: VecEnv, n_envs: int, env_kwargs: Mapping[str, Any] | None = None) -> VecEnv:
    """
    Build environments like those of training, but for the tasks: the test tasks where training has ``split="train"``.

    Where training has no split, its tasks are all tasks, and so are these; they come from seeds of their own.

    :param env: the environments of training
    :param n_envs: number of environments to build
    :param env_kwargs: further arguments of the environment that are to differ from training's
    :return: the environments, in the same vectorised wrappers; normalisation statistics are not copied
    :raises ValueError: when the environments cannot be built again from what they say about themselves
    """
    changes = dict(env_kwargs or {})
    wrappers, base = [], env
    while isinstance(base, VecEnvWrapper):
        wrappers.append(base)
        base = base.venv
    if isinstance(base, DummyVecEnv):
        # Trials are known by what they are made of, registered or not.
        first = base.envs[0]
        base = batched_vec_env([lambda: first])
    built = _like_trials(base, n_envs, changes) if isinstance(base, TrialVecEnv) else _like_spec(base, n_envs, changes)
    for wrapper in reversed(wrappers):
        if type(wrapper) not in _WRAPPERS:
            raise _not_rebuilt(f"is wrapped in {type(wrapper).__name__}")
        built = _WRAPPERS[type(wrapper)](wrapper, built)
    return built


def _like_trials(env: TrialVecEnv, n_envs: int, changes: dict[str, Any]) -> VecEnv:
    names = ("n_episodes", "full_transitions", "expose_task")
    shape = {name: env.get_attr(name, 0)[0] for name in names}
    shape["n_episodes"] = changes.pop("n_episodes_per_trial", shape["n_episodes"])
    shape.update({name: changes.pop(name) for name in names[1:] if name in changes})
    settings = env.distribution.settings
    if "split" in settings:
        settings["split"] = _held_out(settings["split"])
    return TrialVecEnv(type(env.distribution)(**{**settings, **changes}), n_envs, **shape)


def _like_spec(env: VecEnv, n_envs: int, changes: dict[str, Any]) -> VecEnv:
    spec = env.get_attr("spec", 0)[0] if env.has_attr("spec") else None
    if spec is None:
        raise _not_rebuilt("is not registered with Gymnasium")
    kwargs = dict(spec.kwargs)
    if "split" in kwargs:
        kwargs["split"] = _held_out(kwargs["split"])
    # "distribution" and the like are given by the registration already.
    registered = gym.spec(spec.id).kwargs
    own = {name: value for name, value in kwargs.items() if name not in registered or registered[name] != value}
    built = make_vec_env(spec.id, n_envs, env_kwargs={**own, **changes}, vec_env_cls=batched_vec_env)  # type: ignore[arg-type]
    wrappers, rebuilt = _wrapper_names(spec), _wrapper_names(built.get_attr("spec", 0)[0])
    if wrappers != rebuilt:
        built.close()
        raise _not_rebuilt(f"has the wrappers {wrappers}, where the id {spec.id} stands for {rebuilt},")
    return built


def _wrapper_names(spec: EnvSpec) -> list[str]:
    return [wrapper.name for wrapper in spec.additional_wrappers if wrapper.name != Monitor.__name__]


def _held_out(split: str | None) -> str | None:
    return "test" if split == "train" else split


def _not_rebuilt(reason: str) -> ValueError:
    return ValueError(
        f"The environment of training {reason}, so none for evaluation can be built after it. Build one and give it to "
        "the callback as eval_env."
    )


def monitor_folder(env: VecEnv) -> Path | None:
    """
    Find where the environments of training write their monitor files.

    :param env: the environments of training, in this process
    :return: the folder, which is RL-Zoo's folder of the run; None where nothing is written, or by other processes
    """
    base = env.unwrapped
    envs = base.monitors if isinstance(base, TrialVecEnv) else base.envs if isinstance(base, DummyVecEnv) else []
    for single in envs:
        while isinstance(single, gym.Wrapper):
            if isinstance(single, Monitor) and single.results_writer is not None:
                return Path(single.results_writer.file_handler.name).parent
            single = single.env
    return None
