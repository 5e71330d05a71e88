"""Toy environments and small settings for the tests of the environments."""

import inspect

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from sb3_hyper.envs import TASK_DISTRIBUTIONS, register_environments
from sb3_hyper.envs.mujoco import MUJOCO_TASK_DISTRIBUTIONS


class CountingEnv(gym.Env):
    """Counts its steps; the task says how long an episode lasts and what a step pays."""

    observation_space = spaces.Box(0.0, 100.0, (2,), np.float32)
    task_space = spaces.Discrete(10)

    def __init__(self, action_space=None, ends_by="terminated", n_tasks=5):
        self.action_space = action_space or spaces.Discrete(3)
        self.ends_by = ends_by
        self.n_tasks = n_tasks
        self.n_resets = 0

    def _observe(self):
        return np.array([self.count, self.task], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = (options or {}).get("task")
        if self.task is None:
            self.task = int(self.np_random.integers(1, 1 + self.n_tasks))
        self.count = 0
        self.n_resets += 1
        return self._observe(), {"task": self.task}

    def step(self, action):
        self.count += 1
        is_over = self.count == self.task + 1
        info = {"task": self.task, "TimeLimit.truncated": is_over, "episode": {"r": 0, "l": 0, "t": 0}}
        ends = (is_over, False) if self.ends_by == "terminated" else (False, is_over)
        return self._observe(), float(self.task), *ends, info


@pytest.fixture(scope="session", autouse=True)
def registered():
    register_environments()


@pytest.fixture
def counting_env():
    return CountingEnv


@pytest.fixture(params=list(TASK_DISTRIBUTIONS))
def env_id(request):
    """Every registered environment in turn."""
    if request.param in MUJOCO_TASK_DISTRIBUTIONS:
        pytest.importorskip("mujoco.batch")
    return request.param


@pytest.fixture
def small_settings(env_id):
    """Arguments that make its episodes short."""
    small = {
        "corridor_length": 8,
        "size": 3,
        "episode_length": 6,
        "rooms": 1,
        "time_limit": 10,
        "n_steps": 6,
        "horizon": 6,
    }
    parameters = inspect.signature(TASK_DISTRIBUTIONS[env_id]).parameters
    return {name: value for name, value in small.items() if name in parameters}


@pytest.fixture
def some_tasks():
    """All tasks of a distribution, or a few that are drawn where there is no list of them."""

    def some_tasks(distribution):
        space = distribution.task_space
        space.seed(0)
        return getattr(space, "tasks", [space.sample() for _ in range(5)])

    return some_tasks
