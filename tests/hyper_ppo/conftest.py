"""A restless environment, small models on it, and rollouts."""

import gymnasium as gym
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure

from sb3_hyper.envs import RL2Observation
from sb3_hyper.hyper_ppo import HyperPPO


class RestlessEnv(gym.Env):
    """Random observations and rewards; a trial has five steps on average and is terminated or truncated as it comes."""

    def __init__(self, observation_space=None, action_space=None, observe=None, end_probability=0.2):
        self.observation_space = observation_space or spaces.Box(-3, 3, (3,))
        self.action_space = action_space or spaces.Discrete(3)
        self.end_probability = end_probability
        self.observe = observe or (lambda observation, n_steps: observation)
        self.n_steps = 0

    def _observe(self):
        self.n_steps += 1
        return self.observe(self.observation_space.sample(), self.n_steps)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self._observe(), {}

    def step(self, action):
        assert action in self.action_space
        is_over, by_limit = self.np_random.random(2) < (self.end_probability, 0.5)
        reward = float(self.np_random.normal())
        return self._observe(), reward, bool(is_over and not by_limit), bool(is_over and by_limit), {}


@pytest.fixture
def make_envs():
    """``make(n_envs, trial=True, **kwargs of RestlessEnv)``."""

    def make(n_envs=3, trial=True, **kwargs):
        def make_one():
            env = RestlessEnv(**kwargs)
            return RL2Observation(env) if trial else env

        return make_vec_env(make_one, n_envs, seed=0)

    return make


@pytest.fixture
def make_model(make_envs, scramble):
    """``make(policy, **kwargs of HyperPPO)``: small, away from its initialisation, with a silent logger."""

    def make(policy="SplAggerPolicy", env=None, scrambled=True, **kwargs):
        settings = {"n_steps": 12, "batch_size": 36, "n_epochs": 1, "seed": 0, "policy_kwargs": {}, **kwargs}
        settings["policy_kwargs"] = {"size": "XS", "encoder_dim": 8, **settings["policy_kwargs"]}
        model = HyperPPO(policy, env or make_envs(), **settings)
        model.set_logger(configure(None, []))
        if scrambled:
            scramble(model.policy)
        return model

    return make


class Quiet(BaseCallback):
    def _on_step(self):
        return True


@pytest.fixture
def collect():
    """``collect(model)``: one rollout without an update; the next goes on where it ended."""

    def collect(model):
        _, callback = model._setup_learn(10**6, Quiet(), reset_num_timesteps=model._last_obs is None)
        assert model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
        return model.rollout_buffer

    return collect
