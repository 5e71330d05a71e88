import csv

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor, load_results
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_hyper.envs import GridNavi, TaskEnv, TrialVecEnv, batched_vec_env, make_trial, make_trials


def test_a_registered_trial_becomes_a_batch(env_id):
    env = make_vec_env(env_id, 3, seed=0, vec_env_cls=batched_vec_env)
    assert isinstance(env, TrialVecEnv) and env.env_is_wrapped(Monitor) == [True] * 3
    assert env.distribution == gym.make(env_id).unwrapped.distribution and env.render_mode == "rgb_array"


def run(env, n_steps):
    env.reset()
    infos = []
    for step in range(n_steps):
        infos += [info for info in env.step(np.full(env.num_envs, step % 4))[3] if "episode" in info]
    env.close()
    return infos


def test_monitor_files_are_those_of_a_dummy_vec_env(tmp_path):
    settings = {"env_kwargs": {"corridor_length": 6, "n_episodes_per_trial": 2}, "seed": 7}
    settings["monitor_kwargs"] = {"info_keywords": ("episode_returns",)}
    results = {}
    for name, vec_env_cls in (("slow", DummyVecEnv), ("fast", batched_vec_env)):
        env = make_vec_env("TMazeChecks-v0", 3, monitor_dir=str(tmp_path / name), vec_env_cls=vec_env_cls, **settings)
        infos = run(env, 100)
        table = load_results(str(tmp_path / name))
        lines = {path.name: list(csv.reader(path.open()))[2:] for path in (tmp_path / name).iterdir()}
        rows = {file: [(row[0], row[1], row[3]) for row in rows] for file, rows in lines.items()}
        results[name] = rows, [info["episode"]["r"] for info in infos], len(table)
        assert {"r", "l", "t", "episode_returns"} <= set(infos[0]["episode"])
        assert [len(returns) for returns in env.env_method("get_episode_rewards")] == [
            len(rows[f]) for f in sorted(rows)
        ]
    assert results["slow"] == results["fast"] and results["fast"][2] > 9


@pytest.mark.parametrize(
    "kind",
    [
        "other settings",
        "other distribution",
        "half monitored",
        "wrapped",
        "time limit",
        "stranger",
        "reset rules",
        "reset keywords",
    ],
)
def test_anything_else_becomes_a_dummy_vec_env(counting_env, kind):
    def maze():
        return gym.make("TMazeLS-v0")

    pairs = {
        "other settings": [maze, lambda: gym.make("TMazeLS-v0", full_transitions=False)],
        "other distribution": [maze, lambda: gym.make("TMazeLS-v0", corridor_length=99)],
        "half monitored": [maze, lambda: Monitor(maze())],
        "wrapped": [lambda: RecordEpisodeStatistics(maze())],
        "time limit": [lambda: gym.make("TMazeLS-v0", max_episode_steps=399)],
        "stranger": [lambda: Monitor(make_trials(counting_env(), 2))],
        "reset rules": [lambda: Monitor(maze(), allow_early_resets=False)],
        "reset keywords": [lambda: Monitor(maze(), reset_keywords=("seed",))],
    }
    assert type(batched_vec_env([maze, maze])) is TrialVecEnv
    assert type(batched_vec_env(pairs[kind])) is DummyVecEnv


def test_a_time_limit_that_never_bites_is_no_obstacle():
    env = batched_vec_env([lambda: gym.make("TMazeLS-v0", max_episode_steps=400)] * 2)
    assert isinstance(env, TrialVecEnv) and env.monitors == []


def test_no_environments():
    with pytest.raises(ValueError, match="at least one function"):
        batched_vec_env([])


class Constant:
    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return np.full(len(observation["observation"]), 2), None


def test_evaluation_equals_that_of_a_dummy_vec_env():
    returns = [
        evaluate_policy(
            Constant(),
            make_vec_env("TMazeOrder-v0", 4, seed=1, env_kwargs={"corridor_length": 8}, vec_env_cls=vec_env_cls),
            n_eval_episodes=10,
            return_episode_rewards=True,
        )
        for vec_env_cls in (DummyVecEnv, batched_vec_env)
    ]
    assert returns[0] == returns[1] and len(returns[0][0]) == 10


def make_small_trial():
    return make_trial("GridNavi", n_episodes_per_trial=1, episode_length=3)


def test_subprocesses_show_the_same():
    slow, fast = SubprocVecEnv([make_small_trial], start_method="spawn"), batched_vec_env([make_small_trial])
    try:
        for env in (slow, fast):
            env.seed(5)
        for a, b in [(slow.reset(), fast.reset())] + [(slow.step([2])[0], fast.step([2])[0]) for _ in range(7)]:
            for key in b:
                np.testing.assert_array_equal(a[key], b[key])
    finally:
        slow.close()


def test_trials_with_a_task_sampler_keep_it():
    goal = np.array([3.0, 4.0], np.float32)

    def make():
        return make_trials(TaskEnv(GridNavi()), 2, task_sampler=[goal])

    env = batched_vec_env([make, make])
    env.reset()
    assert type(env) is DummyVecEnv
    np.testing.assert_array_equal([info["task"] for info in env.reset_infos], [goal, goal])


def test_errors_name_the_environment(counting_env):
    class Breaking(gym.Wrapper):
        def step(self, action):
            raise RuntimeError("out of bananas")

    env = batched_vec_env([lambda: make_trials(counting_env(), 1), lambda: make_trials(Breaking(counting_env()), 1)])
    env.reset()
    with pytest.raises(RuntimeError, match=r"step\(\) of environment 1, .*out of bananas"):
        env.step(np.zeros(2, int))
