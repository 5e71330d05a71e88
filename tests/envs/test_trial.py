import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from hypothesis import given
from hypothesis import strategies as st

from sb3_hyper.envs import TaskEnv, TMazeLS, TrialWrapper, make_trial


@pytest.mark.parametrize("ends_by", ["terminated", "truncated"])
@pytest.mark.parametrize("n_episodes", [1, 2, 4])
def test_boundaries(counting_env, ends_by, n_episodes):
    env = TrialWrapper(counting_env(ends_by=ends_by), n_episodes)
    observation, info = env.reset(seed=3)
    task = info["task"]
    assert observation.tolist() == [0, task] and info["new_episode"] is False
    for episode in range(n_episodes):
        for count in range(1, task + 2):
            observation, reward, terminated, truncated, info = env.step(0)
            ends_episode = count == task + 1
            ends_trial = ends_episode and episode == n_episodes - 1
            assert reward == task == info["task"]
            assert info["new_episode"] is (ends_episode and not ends_trial)
            assert observation.tolist() == [0 if info["new_episode"] else count, task]
            assert (terminated, truncated) == (
                ends_trial and ends_by == "terminated",
                ends_trial and ends_by == "truncated",
            )
            assert "TimeLimit.truncated" not in info and "episode" not in info
            assert ("episode_final_observation" in info) == info["new_episode"]
            if info["new_episode"]:
                assert info["episode_final_observation"].tolist() == [count, task]
            assert ("episode_returns" in info) == ("episode_lengths" in info) == ends_trial
    assert info["episode_lengths"] == [task + 1] * n_episodes
    assert info["episode_returns"] == [float(task * (task + 1))] * n_episodes


@given(seed=st.integers(0, 2**31))
def test_a_seed_decides_the_tasks_and_trials_differ(seed):
    def tasks():
        env = TrialWrapper(TaskEnv(TMazeLS(corridor_length=3)), 1)
        return [float(env.reset(seed=seed if trial == 0 else None)[1]["task"][0]) for trial in range(40)]

    first = tasks()
    assert first == tasks() and set(first) == {-1.0, 1.0}


class SpeedEnv(gym.Env):
    """Needs a task, of which it reports what it is told to."""

    observation_space = spaces.Box(-9.0, 9.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, reports=True):
        self.reports = reports

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = options["task"] if options else None
        return np.zeros(1, np.float32), {"task": self.task} if self.reports else {}

    def step(self, action):
        return np.zeros(1, np.float32), float(self.task["speed"]), True, False, {}


def test_a_task_sampler_draws_the_task_of_each_trial():
    env = TrialWrapper(SpeedEnv(), 3, task_sampler=lambda random: {"speed": random.normal()})
    seen = []
    for trial in range(5):
        _, info = env.reset(seed=11 if trial == 0 else None)
        rewards = [env.step(0)[1] for _ in range(3)]
        assert rewards == [info["task"]["speed"]] * 3
        seen.append(rewards[0])
    assert len(set(seen)) == 5
    assert env.reset(seed=11)[1]["task"]["speed"] == seen[0]
    assert env.reset(options={"task": {"speed": 8.0}})[1]["task"] == {"speed": 8.0} == env.task


def test_a_set_task_lasts_for_the_trial(counting_env):
    env = TrialWrapper(counting_env(), 3)
    env.reset(seed=0, options={"task": 7})
    assert [env.step(0)[1] for _ in range(24)] == [7.0] * 24


def test_an_inner_time_limit_does_not_leak(counting_env):
    env = TrialWrapper(TimeLimit(counting_env(), max_episode_steps=1), 3)
    env.reset(seed=0)
    steps = [env.step(0) for _ in range(3)]
    assert [step[2:4] for step in steps] == [(False, False), (False, False), (False, True)]
    assert not any("TimeLimit.truncated" in step[4] for step in steps)


@pytest.mark.parametrize("task_sampler", [None, lambda random: {"speed": 1.0}])
def test_an_environment_that_confirms_no_task_is_refused(task_sampler):
    with pytest.raises(ValueError, match=r"reports no info\['task'\].*task_sampler"):
        TrialWrapper(SpeedEnv(reports=False), 2, task_sampler).reset(seed=0)


def test_successes_are_listed_by_episode():
    class Lucky(SpeedEnv):
        def step(self, action):
            return *super().step(action)[:4], {"is_success": bool(action)}

    env = TrialWrapper(Lucky(), 3)
    env.reset(options={"task": {"speed": 1.0}})
    infos = [env.step(action)[4] for action in (1, 0, 1)]
    assert ["episode_successes" in info for info in infos] == [False, False, True]
    # SB3 takes the trial's end for an episode's: its success is the last episode's.
    assert infos[-1]["episode_successes"] == [True, False, True] and infos[-1]["is_success"] is True


def test_an_environment_without_success_has_none():
    env = TrialWrapper(SpeedEnv(), 1)
    env.reset(options={"task": {"speed": 1.0}})
    assert not {"is_success", "episode_successes"} & set(env.step(0)[4])


def test_an_environment_that_ignores_the_task_is_refused(counting_env):
    class DeafEnv(counting_env):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed)

    env = TrialWrapper(DeafEnv(n_tasks=1000), 2)
    _, info = env.reset(seed=0)
    with pytest.raises(ValueError, match="ignores the option"):
        for _ in range(info["task"] + 1):
            env.step(0)


def test_errors_name_the_task_and_keep_their_cause(counting_env):
    class BrittleEnv(counting_env):
        def step(self, action):
            raise ZeroDivisionError("a wheel came off")

    env = TrialWrapper(BrittleEnv(), 2)
    env.reset(options={"task": 4})
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError in step\(\).*episode 1 of 2, task 4: a wheel") as caught:
        env.step(0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("n_episodes", [0, -3])
def test_a_trial_has_episodes(counting_env, n_episodes):
    with pytest.raises(ValueError, match=f"at least 1, got {n_episodes}"):
        TrialWrapper(counting_env(), n_episodes)


def test_stepping_beyond_the_end():
    env = TrialWrapper(TaskEnv(TMazeLS(corridor_length=3)), 1)
    env.reset()
    for _ in range(3):
        env.step(0)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(0)


def test_a_fractional_number_of_episodes_never_ends():
    with pytest.raises(ValueError, match=r"whole number of at least 1, got 2\.5"):
        make_trial("TMazeLS-v0", n_episodes_per_trial=2.5)
