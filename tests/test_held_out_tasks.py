"""Environments for evaluation, built after those of training."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecCheckNan,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from sb3_hyper import make_trial, make_trials
from sb3_hyper.envs import TASK_DISTRIBUTIONS, TrialVecEnv, batched_vec_env
from sb3_hyper.envs.mujoco import MUJOCO_TASK_DISTRIBUTIONS
from sb3_hyper.held_out_tasks import held_out_env, monitor_folder

SETTINGS = {"size": 7, "episode_length": 9, "n_episodes_per_trial": 3, "full_transitions": False, "expose_task": True}


def describe(env):
    names = ("distribution", "n_episodes", "full_transitions", "expose_task")
    return [env.get_attr(name, 0)[0] for name in names]


@pytest.mark.parametrize("vec_env_cls", [batched_vec_env, DummyVecEnv], ids=["native", "dummy"])
@pytest.mark.parametrize(("split", "expected"), [("train", "test"), ("test", "test"), (None, None)])
def test_settings_are_those_of_training_but_for_the_split(vec_env_cls, split, expected):
    env = make_vec_env("GridNavi-v0", 2, env_kwargs={**SETTINGS, "split": split}, vec_env_cls=vec_env_cls)
    built = held_out_env(env, 5)
    assert isinstance(built, TrialVecEnv) and built.num_envs == 5
    assert describe(built) == describe(make_vec_env("GridNavi-v0", 1, env_kwargs={**SETTINGS, "split": expected}))
    assert built.observation_space == env.observation_space


@pytest.mark.parametrize("env_id", TASK_DISTRIBUTIONS)
def test_every_environment_can_be_built_again(env_id):
    if env_id in MUJOCO_TASK_DISTRIBUTIONS:
        pytest.importorskip("mujoco.batch")
    env = make_vec_env(env_id, 1, vec_env_cls=batched_vec_env)
    assert describe(held_out_env(env, 2)) == describe(env)


@pytest.mark.parametrize("vec_env_cls", [batched_vec_env, DummyVecEnv], ids=["native", "dummy"])
def test_arguments_that_differ(vec_env_cls):
    env = make_vec_env("GridNavi-v0", 2, env_kwargs=SETTINGS, vec_env_cls=vec_env_cls)
    changes = {"split": "test", "size": 5, "n_episodes_per_trial": 2, "expose_task": False}
    built = held_out_env(env, 3, changes)
    assert describe(built) == describe(make_vec_env("GridNavi-v0", 1, env_kwargs={**SETTINGS, **changes}))
    # One that is not registered, as SB3 wraps it.
    single = DummyVecEnv([lambda: make_trial("GridNavi", **SETTINGS)])
    assert describe(held_out_env(single, 3, changes)) == describe(built)
    with pytest.raises(TypeError, match="corridor_length"):
        held_out_env(env, 3, {"corridor_length": 5})


@pytest.mark.filterwarnings("ignore:The environment is already wrapped with a `Monitor`")
def test_wrappers_are_put_on_again():
    env = make_vec_env("MineMazePixels-v0", 2, vec_env_cls=batched_vec_env)
    wrapped = VecMonitor(VecCheckNan(VecNormalize(env, norm_obs=False, gamma=0.5)))
    built = held_out_env(wrapped, 3)
    assert isinstance(built, VecMonitor) and isinstance(built.venv, VecCheckNan)
    normalized = built.venv.venv
    assert isinstance(normalized, VecNormalize) and (normalized.norm_obs, normalized.gamma) == (False, 0.5)
    assert not normalized.training and not normalized.norm_reward
    with pytest.raises(ValueError, match=r"is wrapped in VecFrameStack.*give it to the callback as eval_env"):
        held_out_env(VecFrameStack(make_vec_env("CartPole-v1", 1), 2), 1)


class Picture(gym.Env):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = gym.spaces.Box(0, 255, (40, 40, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)


def test_images_are_shown_as_in_training(monkeypatch):
    monkeypatch.setitem(gym.registry, "Picture-v0", gym.envs.registration.EnvSpec("Picture-v0", Picture))
    env = VecTransposeImage(make_vec_env("Picture-v0", 1))
    assert held_out_env(env, 2).observation_space == env.observation_space


def test_what_cannot_be_built_again_is_refused():
    own = DummyVecEnv([lambda: make_trials(gym.make("CartPole-v1").unwrapped.__class__(), 1)])
    own.envs[0].unwrapped.spec = None
    with pytest.raises(ValueError, match="is not registered with Gymnasium"):
        held_out_env(own, 1)
    changed = make_vec_env("CartPole-v1", 1, wrapper_class=gym.wrappers.TimeAwareObservation)
    with pytest.raises(ValueError, match=r"has the wrappers \['TimeAwareObservation'\].*CartPole-v1 stands for \[\]"):
        held_out_env(changed, 1)


def test_registered_environments_of_others():
    env = make_vec_env("CartPole-v1", 2, env_kwargs={"sutton_barto_reward": True})
    built = held_out_env(env, 3)
    assert built.num_envs == 3 and built.envs[0].unwrapped._sutton_barto_reward


@pytest.mark.slow
def test_environments_in_processes_of_their_own():
    env = SubprocVecEnv([partial(gym.make, "sb3_hyper:GridNavi-v0", split="train")] * 2, start_method="spawn")
    try:
        assert describe(held_out_env(env, 3)) == describe(make_vec_env("GridNavi-v0", 1, env_kwargs={"split": "test"}))
        assert monitor_folder(env) is None
    finally:
        env.close()


@pytest.mark.parametrize("vec_env_cls", [batched_vec_env, DummyVecEnv], ids=["native", "dummy"])
def test_the_folder_of_monitor_files(tmp_path, vec_env_cls):
    env = make_vec_env("GridNavi-v0", 2, vec_env_cls=vec_env_cls, monitor_dir=str(tmp_path / "run"))
    assert monitor_folder(VecCheckNan(env)) == (tmp_path / "run").resolve()
    env.close()
    assert monitor_folder(make_vec_env("GridNavi-v0", 2, vec_env_cls=vec_env_cls)) is None
    assert monitor_folder(TrialVecEnv(make_trial("GridNavi").get_wrapper_attr("distribution"), 2)) is None


def test_other_tasks_are_played():
    env = make_vec_env("GridNavi-v0", 50, env_kwargs={"split": "train"}, vec_env_cls=batched_vec_env)
    env.seed(0)
    built = held_out_env(env, 50)
    built.seed(0)
    tasks = []
    for one in (env, built):
        one.reset()
        tasks.append({tuple(task) for task in np.array(one.get_attr("task")).tolist()})
    assert not tasks[0] & tasks[1] and len(tasks[0] | tasks[1]) > 15
