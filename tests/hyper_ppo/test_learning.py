"""HyperPPO learns what needs a memory."""

import gymnasium as gym
import pytest
import torch as th
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper.hyper_ppo import HyperPPO


class WithoutVelocities(gym.ObservationWrapper):
    """CartPole's position and angle; their velocities must be remembered."""

    def __init__(self, env):
        super().__init__(env)
        space = env.observation_space
        self.observation_space = gym.spaces.Box(space.low[::2], space.high[::2])

    def observation(self, observation):
        return observation[::2]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["RNNHNPolicy", "RNNSPolicy", "SplAggerPolicy"])
def test_cartpole_without_velocities(policy):
    th.set_num_threads(1)

    def make(n_envs, seed):
        return make_vec_env("CartPole-v1", n_envs, seed=seed, wrapper_class=WithoutVelocities)

    model = HyperPPO(
        policy,
        make(8, seed=0),
        learning_rate=1e-3,
        n_steps=256,
        batch_size=512,
        n_epochs=8,
        gamma=0.98,
        normalize_reward=True,
        seed=0,
        policy_kwargs={"size": "XS", "encoder_dim": 32, "latent_dim": 8},
    )
    is_solved = StopTrainingOnRewardThreshold(400)
    evaluation = EvalCallback(make(10, seed=1), is_solved, n_eval_episodes=20, eval_freq=768, verbose=0)
    model.learn(80_000, callback=evaluation)
    assert evaluation.best_mean_reward > 400
