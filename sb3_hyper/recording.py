"""Recording a trial: pictures of every episode as an agent plays it."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_hyper.envs.trial import TrialWrapper
from sb3_hyper.evaluation import evaluate_adaptation

MOST_FRAMES = 128
"""How many pictures of an episode are kept: of longer ones every second, fourth, ... step."""

_USUAL_FPS = 10.0


class Frame(NamedTuple):
    """
    One picture of an episode.

    :param image: uint8, shape ``(height, width, 3)``
    :param step: how many steps the episode has had, 0 for its first state
    :param episode_return: sum of the episode's rewards so far
    """

    image: npt.NDArray[np.uint8]
    step: int
    episode_return: float


class Recording(NamedTuple):
    """
    What was seen in a trial.

    :param environment: the environment's id
    :param policy: the agent's name
    :param episodes: the pictures of each episode, its first and its last state among them
    :param fps: steps per second, as the environment is meant to be watched
    """

    environment: str
    policy: str
    episodes: tuple[tuple[Frame, ...], ...]
    fps: float


def record_trial(
    model: PolicyPredictor,
    env: VecEnv | gym.Env[Any, Any] | str,
    deterministic: bool = True,
    seed: int | None = None,
) -> Recording:
    """
    Play one trial and keep pictures of its episodes.

    An environment that is no trial counts as a trial of one episode. At most ``MOST_FRAMES`` pictures of an episode are
    kept, evenly spread over its steps.

    :param model: anything with SB3's ``predict``: an algorithm, a policy or a baseline
    :param env: an environment with ``render_mode="rgb_array"``, a ``DummyVecEnv`` (in ``VecNormalize``, say) of one, or
        the id of a registered one
    :param deterministic: whether to take the likeliest actions
    :param seed: seed of environment and actions; None: they go on with their random streams
    :return: the pictures
    :raises ValueError: when the environment does not draw images, is not one, or does not fit the model
    :raises OSError: when drawing fails, for example because there is no OpenGL
    """
    vec_env = _as_vec_env(env)
    outermost = _only_env(vec_env)
    trial = _find_trial(outermost)
    recorder = _Recorder(outermost if trial is None else trial.env)
    envs = vec_env.unwrapped.envs  # type: ignore[attr-defined]
    try:
        if trial is None:
            envs[0] = recorder
        else:
            # Below the trial, which goes on to the next episode before anybody above sees the last state of this one.
            trial.env = recorder
        result = evaluate_adaptation(model, vec_env, 1, deterministic, seed)
    except Exception as error:
        if recorder.failure is None:
            raise
        raise OSError(f"A picture could not be drawn: {recorder.failure}") from error
    finally:
        if trial is None:
            envs[0] = outermost
        else:
            trial.env = recorder.env
        if isinstance(env, str):
            vec_env.close()
    # A vectorised environment begins another trial at once.
    played = tuple(tuple(frames) for frames in recorder.episodes if len(frames) > 1)
    fps = float(outermost.metadata.get("render_fps") or _USUAL_FPS)
    return Recording(result.environment, result.policy, played, fps)


def _as_vec_env(env: VecEnv | gym.Env[Any, Any] | str) -> VecEnv:
    if isinstance(env, str):
        return make_vec_env(env, 1, env_kwargs={"render_mode": "rgb_array"}, vec_env_cls=DummyVecEnv)
    return env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])


def _only_env(vec_env: VecEnv) -> gym.Env[Any, Any]:
    """The environment in a ``DummyVecEnv``, if it is the only one and draws images."""
    base = vec_env.unwrapped
    if not isinstance(base, DummyVecEnv) or base.num_envs != 1:
        raise ValueError(
            f"Got a {type(base).__name__} of {base.num_envs} environments, wanted a DummyVecEnv of one: a batch does "
            "not show an episode's last state. Give the environment itself, or DummyVecEnv([lambda: env])."
        )
    env = base.envs[0]
    if env.render_mode != "rgb_array":
        raise ValueError(no_images(str(env.spec.id if env.spec else env), env.metadata.get("render_modes", [])))
    return env


def no_images(name: str, render_modes: list[str]) -> str:
    """
    The message for an environment that does not draw images.

    :param name: of the environment
    :param render_modes: what it says that it knows
    :return: what to do about it
    """
    known = ", ".join(map(repr, render_modes)) or "none"
    how = (
        'make it with render_mode="rgb_array"'
        if "rgb_array" in render_modes
        else 'its author has to implement render() for render_mode="rgb_array"'
    )
    return f"{name} draws no images (its render modes: {known}): {how}."


def _find_trial(env: gym.Env[Any, Any]) -> TrialWrapper[Any, Any] | None:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TrialWrapper):
            return env
        env = env.env
    return None


class _Recorder(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps pictures of every episode."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.episodes: list[list[Frame]] = []
        self.failure: Exception | None = None
        self._step, self._return, self._stride = 0, 0.0, 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        result = self.env.reset(seed=seed, options=options)
        self.episodes.append([])
        self._step, self._return, self._stride = 0, 0.0, 1
        self._keep_frame()
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        _, reward, terminated, truncated, _ = result
        self._step += 1
        self._return += float(reward)
        if terminated or truncated or self._step % self._stride == 0:
            self._keep_frame()
        return result

    def _keep_frame(self) -> None:
        frames = self.episodes[-1]
        if len(frames) == MOST_FRAMES:
            del frames[1::2]
            self._stride *= 2
        try:
            image = np.array(self.env.render(), np.uint8)
        except Exception as error:
            self.failure = error
            raise
        frames.append(Frame(image, self._step, self._return))
