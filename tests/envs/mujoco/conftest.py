"""Without MuJoCo 4 there is nothing to test here."""

import importlib

import array_api_compat.numpy as xp
import numpy as np
import pytest

from sb3_hyper.envs.mujoco import MUJOCO_TASK_DISTRIBUTIONS
from sb3_hyper.envs.random_stream import RandomStream

try:
    importlib.import_module("mujoco.batch")
except ImportError:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(params=list(MUJOCO_TASK_DISTRIBUTIONS.values()))
def robot_tasks(request):
    """Every registered distribution in turn."""
    return request.param


@pytest.fixture
def play():
    """``play(distribution, n_steps, task)``: every step's (task, before, action, reward, ended, after) of 3 robots."""

    def play(distribution, n_steps, task=None, seed=0):
        stream = RandomStream([seed, seed + 1, seed + 2], xp)
        sampled = distribution.sample_task(stream)
        task = sampled if task is None else np.tile(np.array(task, np.float32), (3, 1))
        state = distribution.reset(stream, task)
        low, high = distribution.action_space.low, distribution.action_space.high
        steps = []
        for _ in range(n_steps):
            action = low + stream.uniform(len(low)) * (high - low)
            before = state
            state, reward, ended = distribution.step(stream, task, before, action)
            steps.append((task, before, action, reward, ended, state))
        return steps

    return play
