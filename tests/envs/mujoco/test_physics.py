"""The batched simulation: any number of threads, processes and Python threads; nothing written, nothing shared."""

import multiprocessing
import os
import threading
from pathlib import Path

import array_api_compat.numpy as xp
import mujoco
import numpy as np
import pytest

from sb3_hyper.envs.mujoco import AntGoal, HalfCheetahDir, HalfCheetahVel, HopperRandParams
from sb3_hyper.envs.mujoco.library import load_model, silence
from sb3_hyper.envs.mujoco.physics import useful_threads
from sb3_hyper.envs.random_stream import RandomStream


def play_some(distribution, n_envs=8, n_steps=4):
    stream = RandomStream(range(n_envs), xp)
    task = distribution.sample_task(stream)
    state = distribution.reset(stream, task)
    for _ in range(n_steps):
        action = stream.uniform(distribution.action_space.shape[0])
        state, reward, _ = distribution.step(stream, task, state, action)
    return np.concatenate([state.integration, state.derived, reward[:, None]], axis=1)


@pytest.mark.parametrize("robot", [HalfCheetahDir, AntGoal, HopperRandParams])
def test_the_number_of_threads_changes_nothing(robot):
    one, three, usual = (play_some(robot(n_threads=n)) for n in (1, 3, None))
    np.testing.assert_array_equal(one, three)
    np.testing.assert_array_equal(one, usual)


@pytest.mark.parametrize("robot", [HalfCheetahDir, HopperRandParams])
def test_robots_do_not_know_each_other(robot):
    np.testing.assert_array_equal(play_some(robot(), n_envs=8)[:3], play_some(robot(), n_envs=3))


def test_threads_are_as_many_as_are_useful():
    assert [useful_threads(n) for n in (1, 2, 3)] == [1, 1, 1]
    assert 1 <= useful_threads(1000) <= (os.cpu_count() or 1)


def test_a_masked_reset_leaves_the_others_alone():
    distribution = HopperRandParams()
    stream = RandomStream(range(4), xp)
    task = distribution.sample_task(stream)
    state = distribution.reset(stream, task)
    action = np.ones((4, 3), np.float32)
    expected, _, _ = distribution.step(stream, task, state, action)
    mask = np.array([True, False, True, False])
    fresh = distribution.reset(stream, np.where(mask[:, None], distribution.sample_task(stream, mask), task), mask)
    assert (fresh.n_steps[mask] == 0).all() and (fresh.integration[mask] != state.integration[mask]).any()
    again, _, _ = distribution.step(stream, task, state, action)
    np.testing.assert_array_equal(expected.integration, again.integration)


def test_a_state_is_all_that_counts():
    distribution = HalfCheetahDir()
    stream = RandomStream(range(2), xp)
    task = distribution.sample_task(stream)
    state = distribution.reset(stream, task)
    action = np.ones((2, 6), np.float32)
    first, _, _ = distribution.step(stream, task, state, action)
    kept = [np.copy(value) for value in first]
    distribution.step(stream, task, first, -action)
    again, _, _ = distribution.step(stream, task, state, action)
    for a, b, c in zip(first, again, kept, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def play_in_child(queue):
    queue.put(play_some(HalfCheetahDir(n_threads=2)))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_goes_on_with_the_same_distribution():
    distribution = HalfCheetahDir(n_threads=2)
    expected = play_some(distribution)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(play_some(distribution)))
    child.start()
    try:
        np.testing.assert_array_equal(queue.get(timeout=60), expected)
        child.join(60)
        assert child.exitcode == 0
    finally:
        child.kill()


def test_python_threads_share_a_distribution():
    distribution = HalfCheetahVel()
    expected, results = play_some(distribution), {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: play_some(distribution)})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2, 3]
    for result in results.values():
        np.testing.assert_array_equal(result, expected)


def test_models_are_loaded_once_and_in_silence(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    load_model.cache_clear()
    play_some(HalfCheetahDir())
    assert HalfCheetahDir.load_model() is HalfCheetahVel.load_model()
    assert list(Path().iterdir()) == [] and capfd.readouterr() == ("", "")


def test_silence_ends_when_the_last_one_leaves():
    def says():
        config = mujoco.MjLogConfig.get()
        return config.logto_file, config.logto_console

    before = says()
    first, second = silence(), silence()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert says() == (False, False) != before
    second.__exit__(None, None, None)
    assert says() == before


@pytest.mark.parametrize("robot", [HalfCheetahDir, AntGoal])
@pytest.mark.parametrize("velocity", [1e11, np.nan])
def test_an_unstable_simulation_ends_its_episode(robot, velocity, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    distribution = robot()
    stream = RandomStream(range(3), xp)
    task = distribution.sample_task(stream)
    action = np.zeros((3, distribution.action_space.shape[0]), np.float32)
    state, _, _ = distribution.step(stream, task, distribution.reset(stream, task), action)
    n_positions = distribution.sizes[0]
    state.integration[1, 1 + n_positions] = velocity
    after, reward, ended = distribution.step(stream, task, state, action)
    assert ended.tolist() == after.has_fallen.tolist() == [False, True, False]
    np.testing.assert_array_equal(after.integration[1], state.integration[1])
    assert np.isfinite(reward).all() and not distribution.truncated(after).any()
    assert list(Path().iterdir()) == [] and capfd.readouterr() == ("", "")
