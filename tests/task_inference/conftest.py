"""Small environments with tasks, and small models on them."""

import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure

from sb3_hyper import HyperPPO
from sb3_hyper.envs.vec_env import batched_vec_env
from sb3_hyper.task_inference import AgentSpaces

ENVS = {
    "GridNavi-v0": {"size": 3, "episode_length": 4, "n_episodes_per_trial": 2},
    "PointNav-v0": {"episode_length": 8},
}
TRIAL_LENGTH = 8


@pytest.fixture
def make_envs():
    """``make(env_id, n_envs, **env_kwargs)``: trials of 8 steps that show their tasks; listed ones, or numbers."""

    def make(env_id="GridNavi-v0", n_envs=4, **env_kwargs):
        kwargs = {**ENVS[env_id], "expose_task": True, **env_kwargs}
        return make_vec_env(env_id, n_envs, seed=0, env_kwargs=kwargs, vec_env_cls=batched_vec_env)

    return make


@pytest.fixture
def make_model(make_envs):
    """``make(policy, env, **kwargs of HyperPPO)``: small, with a silent logger."""

    def make(policy, env=None, **kwargs):
        settings = {"n_steps": 16, "batch_size": 32, "n_epochs": 1, "seed": 0, "policy_kwargs": {}, **kwargs}
        settings["policy_kwargs"] = {"size": "XS", "encoder_dim": 8, "latent_dim": 6, **settings["policy_kwargs"]}
        model = HyperPPO(policy, make_envs() if env is None else env, **settings)
        model.set_logger(configure(None, []))
        return model

    return make


@pytest.fixture
def make_agent_spaces():
    """``make(task_space)``: what an objective is built for, with a latent of 6 numbers, a state of 3 and 2 actions."""

    def make(task_space=None, state_space=None, action_space=None):
        th.manual_seed(0)
        state_space = state_space or spaces.Box(-1, 1, (3,))
        return AgentSpaces(6, 3, state_space, 3, action_space or spaces.Discrete(2), task_space)

    return make
