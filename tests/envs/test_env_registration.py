import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from sb3_hyper.envs import TASK_DISTRIBUTIONS, RL2Observation, TMazeLS, make_trial, make_trials, register_environments


def test_every_id_is_a_trial(env_id):
    env = gym.make(env_id, n_episodes_per_trial=2)
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space and "task" not in observation
    assert env.unwrapped.distribution == TASK_DISTRIBUTIONS[env_id]()
    assert info["task"] in env.unwrapped.task_space and env.spec.id == env_id
    for _ in range(2 * env.unwrapped.distribution.episode_length):
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        if terminated or truncated:
            break
    assert terminated != truncated and len(info["episode_returns"]) == 2


def test_a_specification_makes_the_same_environment(env_id, small_settings):
    env = gym.make(env_id, full_transitions=False, expose_task=True, n_episodes_per_trial=3, **small_settings)
    twin = gym.make(env.spec)
    assert twin.observation_space == env.observation_space
    assert twin.unwrapped.distribution == env.unwrapped.distribution
    assert twin.get_wrapper_attr("n_episodes") == 3


def test_registering_twice_changes_nothing():
    before = dict(gym.registry)
    register_environments()
    assert dict(gym.registry) == before and set(TASK_DISTRIBUTIONS) <= set(before)


@pytest.mark.parametrize("distribution", [TMazeLS, "TMazeLS", "TMazeLS-v0"])
def test_a_distribution_goes_by_its_class_or_name(distribution):
    env = make_trial(distribution, corridor_length=5)
    assert isinstance(env, RL2Observation) and env.unwrapped.distribution == TMazeLS(5)
    assert env.get_wrapper_attr("n_episodes") == 4


def test_unknown_names_and_arguments():
    with pytest.raises(ValueError, match=r"task distribution 'TMazeSL'. Did you mean 'TMazeLS-v0'\?.*GridNavi-v0"):
        make_trial("TMazeSL")
    with pytest.raises(ValueError, match="n_episodes_per_trial must be a whole number of at least 1, got 0"):
        gym.make("TMazeLS-v0", n_episodes_per_trial=0)
    with pytest.raises(TypeError, match="corridor"):
        gym.make("GridNavi-v0", corridor=3)
    with pytest.raises(ValueError, match="a learner needs them all"):
        gym.make("TMazeLS-v0", split="test")


def test_splits_reach_the_distribution():
    test = gym.make("GridNavi-v0", split="test")
    tasks = {tuple(test.reset(seed=0 if i == 0 else None)[1]["task"]) for i in range(60)}
    assert tasks == {tuple(task) for task in test.unwrapped.distribution.tasks} and len(tasks) == 5


def test_trials_of_an_own_environment(counting_env):
    env = make_trials(counting_env(), n_episodes_per_trial=2, expose_task=True)
    observation, info = env.reset(seed=1)
    np.testing.assert_array_equal(observation["task"], np.eye(10)[info["task"]])
    with pytest.raises(ValueError, match="n_episodes_per_trial must be a whole number of at least 1, got 0"):
        make_trials(counting_env(), n_episodes_per_trial=0)


def test_trials_of_a_registered_environment():
    def set_length(env, task):
        env.length = task

    env = make_trials("CartPole-v1", 2, [0.5, 1.0], set_task=set_length, render_mode="rgb_array")
    observation, info = env.reset(seed=0)
    assert observation["previous_observation"].shape == (4,) and env.render_mode == "rgb_array"
    assert env.unwrapped.length == info["task"] and info["task"] in (0.5, 1.0)
    heavy = make_trials("CartPole-v1", 2, [1.0], set_task=set_length, env_kwargs={"sutton_barto_reward": True})
    assert heavy.unwrapped._sutton_barto_reward


def test_environments_need_neither_torch_nor_sb3():
    code = (
        "import sys, sb3_hyper.envs as envs; envs.make_trial('TMazeLS').reset(); "
        "print({'torch', 'stable_baselines3'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
