"""One robot, in Gymnasium's class, and what users meet: trials, copies, subprocesses, pictures, missing packages."""

import copy
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

from sb3_hyper.envs import TrialVecEnv, batched_vec_env, make_trial
from sb3_hyper.envs.mujoco import AntDir, AntGoal, HalfCheetahDir, HalfCheetahVel, Walker2DRandParams, rendering
from sb3_hyper.envs.mujoco.robot_env import RobotEnv


def test_it_is_gymnasiums_own_class():
    env = gym.make("AntGoal-v0").unwrapped
    assert isinstance(env, RobotEnv) and isinstance(env, AntEnv) and env.dt == 0.05
    assert env.metadata["render_fps"] == 20


def test_a_trial_ends_by_its_time_limit():
    for env in (
        make_vec_env("AntGoal-v0", 2, seed=0, env_kwargs={"episode_length": 3}),
        TrialVecEnv(AntGoal(episode_length=3), 2),
    ):
        env.seed(0)
        env.reset()
        steps = [env.step(np.zeros((2, 8), np.float32)) for _ in range(6)]
        assert [step[2].tolist() for step in steps] == [[False] * 2] * 5 + [[True] * 2]
        for info in steps[-1][3]:
            assert info["TimeLimit.truncated"] is True and info["episode_lengths"] == [3, 3]
            assert info["terminal_observation"]["observation"].shape == (107,)


def test_a_fall_at_the_trials_end_is_no_time_limit():
    env = TrialVecEnv(AntDir(), 2)
    env.seed(0)
    env.reset()
    env._trials.state.integration[0, 3] = 5.0
    _, _, dones, infos = env.step(np.zeros((2, 8), np.float32))
    assert dones.tolist() == [True, False] and infos[0]["TimeLimit.truncated"] is False


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("robot", [HalfCheetahVel, AntGoal, Walker2DRandParams])
def test_copies_go_on_alike(robot, clone):
    env = make_trial(robot)
    env.reset(seed=1)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(12)]
    for action in actions[:6]:
        env.step(action)
    twin = clone(env)
    for action in actions[6:]:
        expected, got = env.step(action), twin.step(action)
        np.testing.assert_array_equal(expected[0]["observation"], got[0]["observation"])
        assert expected[1] == got[1]


def make_small_trial():
    return make_trial("HalfCheetahVel", episode_length=4)


def test_subprocesses_show_the_same():
    slow, fast = SubprocVecEnv([make_small_trial], start_method="spawn"), batched_vec_env([make_small_trial])
    try:
        assert isinstance(fast, TrialVecEnv)
        for env in (slow, fast):
            env.seed(5)
        actions = np.random.default_rng(0).uniform(-1, 1, (9, 1, 6)).astype(np.float32)
        pairs = [(slow.reset(), fast.reset())] + [(slow.step(a)[0], fast.step(a)[0]) for a in actions]
        for expected, got in pairs:
            for key in got:
                np.testing.assert_array_equal(expected[key], got[key])
    finally:
        slow.close()


def test_both_draw_the_same_picture_with_its_mark():
    single = make_trial("HalfCheetahDir", render_mode="rgb_array")
    single.reset(seed=3, options={"task": [1.0]})
    fast = TrialVecEnv(HalfCheetahDir(), 2, render_mode="rgb_array")
    fast.seed(2)
    fast.set_options({"task": [1.0]})
    fast.reset()
    image = single.render()
    np.testing.assert_array_equal(image, fast.get_images()[1])
    assert image.shape == (480, 480, 3) and image.dtype == np.uint8
    red = (image[..., 0] > 120) & (image[..., 1] < 60)
    assert red.sum() > 100 and np.nonzero(red)[1].mean() > 240  # ahead, on the right


def red_place(env_id, task):
    """The middle (row, column) of the mark in the picture of a trial that begins."""
    env = make_trial(env_id, render_mode="rgb_array")
    env.reset(seed=0, options={"task": task})
    image = env.render()
    red = (image[..., 0] > 120) & (image[..., 1] < 60) & (image[..., 2] < 60)
    assert red.sum() > 100
    return np.argwhere(red).mean(axis=0)


def test_a_goal_is_in_the_picture_wherever_it_is():
    places = {task: red_place("AntGoal", task) for task in ((2.9, 0.0), (0.0, 2.9), (-2.9, 0.0), (0.0, -2.9))}
    east, north, west, south = places.values()
    assert north[0] < 200 < 280 < south[0] and west[1] < 200 < 280 < east[1]


def test_the_faster_the_farther_ahead_is_the_mark():
    slow, fast = red_place("HalfCheetahVel", [0.5]), red_place("HalfCheetahVel", [2.5])
    assert 240 < slow[1] < fast[1] - 50


def test_without_opengl_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.setitem(sys.modules, "mujoco.glfw", None)
    rendering._make_renderer.cache_clear()
    env = make_trial("HalfCheetahDir", render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match=r"no OpenGL to draw with \(glfw: .*libegl1.*libosmesa6.*MUJOCO_GL"):
        env.render()


@pytest.mark.parametrize("missing", ["mujoco", "packaging", "mujoco.batch"])
def test_missing_packages_are_named_when_an_environment_is_made(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; import gymnasium, sb3_hyper\n"
        "assert 'AntGoal-v0' in gymnasium.registry\n"
        "assert not any(sys.modules[name] for name in sys.modules if name.startswith('mujoco'))\n"
        "try:\n    gymnasium.make('AntGoal-v0')\nexcept ImportError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "sb3-hyper[mujoco]"' in result.stdout, result.stdout


def test_bad_actions_are_refused_and_wide_ones_clipped():
    env = make_trial("HalfCheetahDir")
    env.reset(seed=0, options={"task": [1.0]})
    wide = env.step(np.full(6, 7.0, np.float32))[1]
    env.reset(seed=0, options={"task": [1.0]})
    assert env.step(np.ones(6, np.float32))[1] == wide
    with pytest.raises(RuntimeError, match="NaN"):
        env.step(np.full(6, np.nan, np.float32))
