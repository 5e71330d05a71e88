"""Actions that are vectors of numbers, in one environment and in batches of numpy arrays and tensors."""

from typing import NamedTuple

import array_api_compat.numpy as xp
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stable_baselines3 import PPO

from sb3_hyper import HyperPPO
from sb3_hyper.envs import PointNav, TaskEnv, TrialVecEnv, make_trials
from sb3_hyper.envs.action_encoding import ActionEncoder
from sb3_hyper.envs.task import TaskDistribution

BOXES = [
    spaces.Box(-1.0, 1.0, (2,), np.float32),
    spaces.Box(np.array([-2.0, 0.0, 0.25]), np.array([1.0, 5.0, 0.75]), dtype=np.float64),
    spaces.Box(-1.0, 1.0, (2, 3), np.float32),
    spaces.Box(np.array([-np.inf, 0.0], np.float32), np.array([1.0, np.inf], np.float32), dtype=np.float32),
]


class EchoState(NamedTuple):
    last_action: object
    n_steps: object


class Echo(TaskDistribution):
    """Shows the action that reached it."""

    fixed_length = True
    episode_length = 4

    def __init__(self, action_space):
        super().__init__(spaces.Box(0.0, 1.0, (1,), np.float32), None)
        self.action_space = action_space
        self.observation_space = spaces.Box(-np.inf, np.inf, (int(np.prod(action_space.shape)),), np.float32)

    def sample_task(self, stream, mask=None):
        return stream.uniform(1, mask)

    def reset(self, stream, task, mask=None):
        zeros = stream.uniform(int(np.prod(self.action_space.shape)), mask) * 0.0
        return EchoState(zeros, stream.xp.zeros_like(stream.counter))

    def step(self, stream, task, state, action):
        assert action.dtype == stream.xp.float32 and tuple(action.shape[1:]) == self.action_space.shape
        flat = stream.xp.reshape(action, (action.shape[0], -1))
        n_steps = state.n_steps + 1
        return EchoState(flat, n_steps), stream.xp.sum(flat, axis=1), n_steps >= self.episode_length

    def observe(self, task, state):
        return state.last_action + 0.0

    render_text = render_rgb = None


def host(array):
    return array.numpy() if isinstance(array, th.Tensor) else array


def actions_of(space, n_envs):
    numbers = st.floats(-10, 10, width=32)
    return arrays(np.float32, (n_envs, *space.shape), elements=numbers)


def slow_clip(space, action):
    """One number at a time."""
    rows = zip(action.reshape(-1), space.low.reshape(-1), space.high.reshape(-1), strict=True)
    return np.array([min(max(value, low), high) for value, low, high in rows], np.float32)


@pytest.mark.parametrize("space", BOXES, ids=str)
@pytest.mark.parametrize("device", [None, "cpu"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_played_and_remembered_is_the_clipped_action(space, device, data):
    actions = data.draw(actions_of(space, 3))
    expected = np.stack([slow_clip(space, action) for action in actions])
    env = TrialVecEnv(Echo(space), 3, device=device)
    env.reset()
    for given_actions in (actions, actions.astype(np.float64)):
        observation, *_ = env.step(given_actions)
        np.testing.assert_array_equal(host(observation["observation"]), expected)
        np.testing.assert_array_equal(host(observation["previous_action"]), expected)
        assert all(row in env.observation_space["previous_action"] for row in host(observation["previous_action"]))
    single = TaskEnv(Echo(space))
    single.reset()
    for action, row in zip(actions, expected, strict=True):
        np.testing.assert_array_equal(single.step(action.tolist())[0], row)


@pytest.mark.parametrize("space", BOXES, ids=str)
def test_clipping_twice_is_clipping_once_and_members_stay(space):
    encoder = ActionEncoder(space, xp)
    actions = np.random.default_rng(0).normal(scale=4, size=(50, *space.shape))
    once = encoder.clip(actions)
    np.testing.assert_array_equal(encoder.clip(once), once)
    space.seed(0)
    members = np.stack([space.sample() for _ in range(20)]).astype(np.float32)
    np.testing.assert_array_equal(encoder.clip(members), members)


def test_infinity_is_clipped_and_whole_numbers_are_numbers():
    env = TrialVecEnv(Echo(BOXES[0]), 2)
    env.reset()
    infinite = env.step(np.array([[np.inf, -np.inf], [0.0, 1e30]]))[0]
    np.testing.assert_array_equal(infinite["observation"], [[1, -1], [0, 1]])
    np.testing.assert_array_equal(env.step([[3, 0], [-1, 1]])[0]["previous_action"], [[1, 0], [-1, 1]])


BAD_ACTIONS = {
    "too few": ([0.5], r"numbers of shape \(2,\)"),
    "nested": ([[0.5, 0.5]], r"numbers of shape \(2,\)"),
    "a number": (0.5, r"numbers of shape \(2,\)"),
    "text": (["a", "b"], "numbers of shape"),
    "truth values": ([True, False], "got shape .* of bool"),
    "NaN": ([0.5, np.nan], r"Actions \[\[0.5, nan\]\] of environments \[0\] are NaN"),
}


@pytest.mark.parametrize("kind", BAD_ACTIONS)
def test_one_environment_refuses_what_is_no_action_and_stays_as_it_was(kind):
    action, message = BAD_ACTIONS[kind]
    env, twin = TaskEnv(PointNav()), TaskEnv(PointNav())
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)
    np.testing.assert_array_equal(env.step([0.1, 0.2])[0], twin.step([0.1, 0.2])[0])


def test_a_batch_refuses_what_are_no_actions():
    env = TrialVecEnv(PointNav(), 3)
    env.reset()
    for wrong in (np.zeros(3), np.zeros((3, 1)), np.zeros((2, 2)), np.zeros((3, 2, 1))):
        with pytest.raises(ValueError, match=r"Wanted actions of shape \(3, 2\)"):
            env.step(wrong)
    with pytest.raises(ValueError, match="of <U1"):
        env.step(np.full((3, 2), "a"))
    wrong = np.zeros((3, 2))
    wrong[1, 0] = wrong[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"environments \[1, 2\] are NaN"):
        env.step(wrong)


def test_on_a_device_shapes_are_checked_and_nan_shows():
    env = TrialVecEnv(PointNav(), 2, device="cpu")
    env.reset()
    with pytest.raises(ValueError, match=r"Wanted actions of shape \(2, 2\), got \(2,\)"):
        env.step(th.zeros(2))
    observation, reward, *_ = env.step(th.tensor([[0.0, th.nan], [0.0, 0.0]]))
    assert reward.isnan().tolist() == [True, False] and observation["observation"].isnan().any(1).tolist() == [
        True,
        False,
    ]


@pytest.mark.parametrize("device", [None, "cpu"])
def test_nothing_shares_memory_with_the_callers_actions(device):
    env = TrialVecEnv(PointNav(), 2, device=device)
    env.reset()
    actions = np.full((2, 2), 0.5, np.float32) if device is None else th.full((2, 2), 0.5)
    observation, *_ = env.step(actions)
    observation["previous_action"][:] = 7
    assert (host(actions) == 0.5).all()
    observation, *_ = env.step(actions)
    actions[:] = 0.25
    assert (host(observation["previous_action"]) == 0.5).all()


def test_the_memory_of_another_environment_sees_clipped_actions_too(counting_env):
    env = make_trials(counting_env(action_space=spaces.Box(-1.0, 1.0, (3,), np.float32)), 1)
    env.reset(seed=0)
    observation, *_ = env.step(np.array([5.0, -0.5, -2.0]))
    assert observation["previous_action"].tolist() == [1.0, -0.5, -1.0]


@pytest.mark.parametrize("device", [None, "cpu"])
def test_hyper_ppo_trains_on_it(device):
    env = TrialVecEnv(PointNav(episode_length=10), 4, device=device)
    model = HyperPPO("RNNHNPolicy", env, n_steps=20, batch_size=40, n_epochs=1, device="cpu", seed=0)
    model.learn(160)
    assert [episode["l"] for episode in model.ep_info_buffer] == [10] * 16


def test_ppo_trains_on_it():
    model = PPO("MultiInputPolicy", TrialVecEnv(PointNav(), 4), n_steps=100, batch_size=100, n_epochs=1, device="cpu")
    model.learn(400)
    assert [episode["l"] for episode in model.ep_info_buffer] == [100] * 4
