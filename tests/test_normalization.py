"""Running moments against numpy's over all that was seen, and the scaling of rewards against VecNormalize's."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_hyper.normalization import DiscountedReturnScale, RunningMoments, RunningNormalization

batches = st.lists(
    st.integers(1, 5).flatmap(lambda n: arrays(np.float64, (n, 3), elements=st.floats(-1e3, 1e3))),
    min_size=1,
    max_size=5,
)


@settings(max_examples=50, deadline=None)
@given(batches=batches)
def test_moments_are_those_of_everything_seen(batches):
    moments = RunningMoments((3,))
    for batch in batches:
        moments.update(th.from_numpy(batch))
    everything = np.concatenate(batches)
    np.testing.assert_allclose(moments.mean, everything.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(moments.variance, everything.var(axis=0), rtol=1e-9, atol=1e-7)
    assert moments.count == len(everything)


def test_moments_keep_their_digits_far_from_zero():
    moments = RunningMoments()
    for _ in range(100):
        moments.update(1e6 + th.randn(50))
    assert moments.variance.item() == pytest.approx(1.0, abs=0.1)


def test_normalization_is_the_identity_until_the_first_update():
    x = th.tensor([[-3.0, 0.5], [900.0, 0.0]])
    assert th.equal(RunningNormalization((2,))(x), x)


def test_normalization():
    samples = 5.0 + 3.0 * th.randn(1000, 2)
    normalization = RunningNormalization((2,), clip=2.0)
    normalization.update(samples[:400])
    normalization.update(samples[400:])
    expected = (samples - samples.mean(0)) / samples.std(0, correction=0)
    th.testing.assert_close(normalization(samples), expected.clamp(-2.0, 2.0), atol=1e-4, rtol=1e-4)


def test_a_feature_that_never_moved_is_not_blown_up():
    normalization = RunningNormalization((2,))
    normalization.update(th.tensor([[7.0, 1.0], [7.0, 3.0]]))
    th.testing.assert_close(normalization(th.tensor([[7.0, 2.0], [7.5, 2.0]])), th.tensor([[0.0, 0.0], [0.5, 0.0]]))


def test_normalization_is_saved_and_loaded():
    first, second = RunningNormalization((2,)), RunningNormalization((2,))
    first.update(th.randn(10, 2))
    second.load_state_dict(first.state_dict())
    x = th.randn(5, 2)
    assert th.equal(second(x), first(x))
    for normalization in (first, second):
        normalization.update(th.ones(3, 2))
    assert th.equal(second(x), first(x))


class RandomRewards(gym.Env):
    """Random rewards in episodes of random length."""

    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        random = self.np_random
        return np.zeros(1, np.float32), 3 + 20 * random.normal(), random.random() < 0.1, False, {}


@pytest.mark.parametrize("n_envs", [1, 4])
def test_rewards_are_scaled_by_the_moments_of_vec_normalize(n_envs):
    gamma = 0.9
    env = VecNormalize(DummyVecEnv([RandomRewards] * n_envs), norm_obs=False, gamma=gamma)
    env.seed(0)
    env.reset()
    scale, done = DiscountedReturnScale(n_envs, gamma), np.ones(n_envs, dtype=bool)
    for _ in range(4):
        rewards, starts = th.zeros(50, n_envs), th.zeros(50, n_envs, dtype=th.bool)
        for t in range(50):
            starts[t] = th.as_tensor(done)
            _, _, done, _ = env.step(np.zeros(n_envs, dtype=int))
            rewards[t] = th.as_tensor(env.get_original_reward())
        # VecNormalize starts from a variance of 1 with the weight of 1e-4 samples.
        np.testing.assert_allclose(scale(rewards, starts), env.normalize_reward(rewards.numpy()), rtol=1e-3)


def test_scaled_rewards_are_clipped():
    scale = DiscountedReturnScale(2, 0.9, clip=1.5)
    rewards, dones = 0.01 * th.randn(100, 2), th.zeros(100, 2, dtype=th.bool)
    rewards[50] = th.tensor([1e3, -1e3])
    scaled = scale(rewards, dones)
    assert scaled[50].tolist() == [1.5, -1.5]
    assert scaled[:50].abs().max() < 1.5
