import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from sb3_hyper.envs import TASK_DISTRIBUTIONS, GridNavi, TaskEnv, TMazeLS


@pytest.mark.parametrize("render_mode", [None, "ansi", "rgb_array", "human"])
def test_both_environment_checkers_pass(env_id, render_mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check_env(gym.make(env_id, render_mode=render_mode).unwrapped)
        sb3_check_env(gym.make(env_id, render_mode=render_mode), skip_render_check=False)


def rollout(env, n_steps=20, **reset):
    env.action_space.seed(0)
    observation, info = env.reset(**reset)
    steps = [(observation, info["task"])]
    for _ in range(n_steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        steps.append((observation, reward, info["task"]))
        if terminated or truncated:
            observation, info = env.reset()
            steps.append((observation, info["task"]))
    return [tuple(np.asarray(entry).tolist() for entry in step) for step in steps]


def test_a_seed_decides_everything(env_id, small_settings):
    def new_env():
        return TaskEnv(TASK_DISTRIBUTIONS[env_id](**small_settings))

    env = new_env()
    first = rollout(env, seed=5)
    assert rollout(env, seed=5) == first == rollout(new_env(), seed=5)
    others = [rollout(env, seed=seed) for seed in range(6, 12)]
    assert any(other != first for other in others)


def test_without_a_seed_environments_differ():
    assert len({str(rollout(TaskEnv(TMazeLS()))) for _ in range(5)}) == 5


def test_a_reset_goes_on_with_the_stream():
    env = TaskEnv(GridNavi())
    tasks = {tuple(env.reset(seed=0 if trial == 0 else None)[1]["task"]) for trial in range(30)}
    assert len(tasks) > 10


def test_a_set_task_is_played_and_reported(env_id, small_settings, some_tasks):
    env = TaskEnv(TASK_DISTRIBUTIONS[env_id](**small_settings))
    for task in some_tasks(env.distribution):
        _, info = env.reset(options={"task": task.tolist()})
        np.testing.assert_array_equal(info["task"], task)
        np.testing.assert_array_equal(env.step(env.action_space.sample())[4]["task"], task)
        info["task"][:] = 9
        np.testing.assert_array_equal(env.task, task)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_go_on_alike(env_id, clone):
    env = TaskEnv(TASK_DISTRIBUTIONS[env_id]())
    env.reset(seed=1)
    env.action_space.seed(2)
    env.step(env.action_space.sample())
    twin = clone(env)
    for action in [env.action_space.sample() for _ in range(6)]:
        assert env.step(action)[0].tolist() == twin.step(action)[0].tolist()


def test_misuse_says_what_to_do(capsys):
    env = TaskEnv(TMazeLS(corridor_length=3))
    for use in (lambda: env.step(0), env.render, lambda: env.task):
        with pytest.raises(RuntimeError, match=r"reset\(\)"):
            use()
    with pytest.raises(ValueError, match=r"unknown option 'tsak'.*Did you mean 'task'"):
        env.reset(options={"tsak": 1})
    with pytest.raises(ValueError, match=r"is not a task of TMazeLS\(corridor_length=3.*1 up, -1 down"):
        env.reset(options={"task": [0]})
    env.reset(seed=0)
    for action in (4, -1, 1.0, [0], "up"):
        with pytest.raises(ValueError, match="not in the action space"):
            env.step(action)
    for _ in range(3):
        env.step(np.int64(0))
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(0)
    with pytest.raises(ValueError, match="render_mode must be None or one of"):
        TaskEnv(TMazeLS(), render_mode="pygame")


def test_human_mode_prints_every_state_once(capsys):
    env = TaskEnv(GridNavi(), render_mode="human")
    env.reset(seed=0)
    env.render()
    env.step(1)
    env.render()
    printed = capsys.readouterr().out
    assert printed.count("step 0") == 1 and printed.count("step 1") == 1


def test_rendering_without_a_mode_warns():
    env = TaskEnv(GridNavi())
    env.reset()
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None
