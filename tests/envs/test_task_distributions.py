import inspect
import pickle

import array_api_compat.numpy as xp
import numpy as np
import pytest
from gymnasium import spaces

from sb3_hyper.envs import TASK_DISTRIBUTIONS, GridNavi, MineMaze, PlanningGameJustGoal, TMazeLS
from sb3_hyper.envs.finite_tasks import FiniteTaskDistribution
from sb3_hyper.envs.mujoco import HalfCheetahDir, RobotTasks
from sb3_hyper.envs.random_stream import RandomStream


def random_actions(distribution, stream):
    space = distribution.action_space
    if isinstance(space, spaces.Box):
        return space.low + stream.uniform(space.shape[0]) * (space.high - space.low)
    return stream.integers(space.n)[:, 0]


@pytest.fixture
def distribution(env_id):
    distribution_class = TASK_DISTRIBUTIONS[env_id]
    # Physics take their time.
    return distribution_class(**{"episode_length": 20} if issubclass(distribution_class, RobotTasks) else {})


def test_observations_rewards_and_ends_keep_their_promises(distribution):
    stream = RandomStream(range(64), xp)
    task = distribution.sample_task(stream)
    state = distribution.reset(stream, task)
    length = np.zeros(64, int)
    running = np.ones(64, bool)
    for step in range(distribution.episode_length):
        observation = distribution.observe(task, state)
        assert observation.dtype == distribution.observation_space.dtype
        assert all(row in distribution.observation_space for row in observation)
        action = random_actions(distribution, stream)
        state, reward, ended = distribution.step(stream, task, state, action)
        assert reward.dtype == np.float32 and reward.shape == (64,) and ended.dtype == bool
        assert not (distribution.fixed_length and step + 1 < distribution.episode_length and ended.any())
        length += running
        running &= ~ended
    assert not running.any() and length.max() <= distribution.episode_length


def test_tasks_are_drawn_uniformly_from_the_task_space(distribution):
    tasks = distribution.sample_task(RandomStream(range(4000), xp))
    assert all(task in distribution.task_space for task in tasks[:100])
    if not isinstance(distribution, FiniteTaskDistribution):
        return
    rows, counts = np.unique(tasks, axis=0, return_counts=True)
    assert len(rows) == len(distribution.task_space.tasks)
    expected = 4000 / len(rows)
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_a_task_can_be_set_and_a_wrong_one_is_refused(distribution):
    task = distribution.task_space.sample()
    np.testing.assert_array_equal(distribution.check_task(task.tolist()), task)
    for wrong in (task + 10.0, [*task, 1.0], "up", None, np.full_like(task, np.nan), [[1], [2, 3]]):
        with pytest.raises(ValueError, match="is not a task of"):
            distribution.check_task(wrong)


def test_settings_are_the_constructor_arguments(distribution):
    assert set(distribution.settings) == set(inspect.signature(type(distribution)).parameters)
    twin = type(distribution)(**distribution.settings)
    assert twin == distribution and hash(twin) == hash(distribution) and repr(twin) == repr(distribution)
    assert pickle.loads(pickle.dumps(distribution)) == distribution


def test_different_settings_are_different():
    assert TMazeLS() != TMazeLS(50) and TMazeLS() != GridNavi() and GridNavi(split="train") != GridNavi()


def test_splits_partition_the_tasks_or_are_refused(env_id):
    distribution_class = TASK_DISTRIBUTIONS[env_id]
    with pytest.raises(ValueError, match="split"):
        distribution_class(split="validation")
    if issubclass(distribution_class, (TMazeLS, MineMaze, HalfCheetahDir, PlanningGameJustGoal)):
        with pytest.raises(ValueError, match="there is no 'test' split"):
            distribution_class(split="test")
        return
    if not issubclass(distribution_class, FiniteTaskDistribution):
        samples = {
            split: {tuple(task) for task in distribution_class(split=split).sample_task(RandomStream(range(500), xp))}
            for split in (None, "train", "test")
        }
        assert not samples["train"] & samples["test"] and samples["train"] != samples[None] != samples["test"]
        return
    parts = {
        split: {tuple(task) for task in distribution_class(split=split).tasks} for split in (None, "train", "test")
    }
    assert parts["train"] | parts["test"] == parts[None] and not parts["train"] & parts["test"]
    assert len(parts["test"]) == len(parts[None]) // 4
    drawn = distribution_class(split="test").sample_task(RandomStream(range(200), xp))
    assert {tuple(task) for task in drawn} == parts["test"]


def test_text_and_image_show_the_step(distribution):
    stream = RandomStream([0], xp)
    task = distribution.sample_task(stream)
    state = distribution.reset(stream, task)
    before = distribution.render_text(task, state), distribution.render_rgb(task, state)
    assert (
        ("A" in before[0] or isinstance(distribution, RobotTasks))
        and before[1].dtype == np.uint8
        and before[1].ndim == 3
        and before[1].shape[2] == 3
    )
    for _ in range(2):
        action = np.array([2 if state[1][0] > 0 else 3]) if isinstance(distribution, TMazeLS) else np.array([2])
        if isinstance(distribution.action_space, spaces.Box):
            action = np.ones((1, *distribution.action_space.shape), np.float32)
        state, _, _ = distribution.step(stream, task, state, action)
    after = distribution.render_text(task, state), distribution.render_rgb(task, state)
    assert before[0] != after[0] and (before[1] != after[1]).any() and before[1].shape == after[1].shape
