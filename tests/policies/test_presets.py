"""Presets: defaults of a named policy, inherited, and beaten by explicit keywords."""

from typing import ClassVar

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack

from sb3_hyper import HyperPPO, SplAggerPolicy

SPACES = (spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2), lambda _: 1e-3)


class SmallSplAgger(SplAggerPolicy):
    preset: ClassVar = {"encoder_dim": 8, "latent_dim": 3}


def test_a_preset_adds_to_its_parents():
    policy = SmallSplAgger(*SPACES)
    assert policy.settings.as_kwargs()["aggregator"] == "Max"
    assert policy.settings.as_kwargs()["latent_dim"] == 3
    assert SmallSplAgger(*SPACES, aggregator="Mean", latent_dim=4).settings.as_kwargs()["latent_dim"] == 4


def test_a_parents_constructor_runs():
    class Parent(SplAggerPolicy):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{"encoder_dim": 6, **kwargs})

    class Child(Parent):
        preset: ClassVar = {"latent_dim": 5}

    settings = Child(*SPACES).settings.as_kwargs()
    assert (settings["encoder_dim"], settings["latent_dim"], settings["aggregator"]) == (6, 5, "Max")


def test_a_preset_beside_a_constructor_is_refused():
    with pytest.raises(TypeError, match="preset"):
        type("Both", (SplAggerPolicy,), {"preset": {}, "__init__": lambda self: None})


def test_a_mistyped_policy_is_named_with_its_nearest():
    with pytest.raises(ValueError, match="Did you mean 'SplAggerPolicy'"):
        HyperPPO("SplaggerPolicy", "CartPole-v1")


@pytest.mark.parametrize(
    "setting", [{"net_arch": [{"pi": [8], "vf": [8]}]}, {"net_arch": [0]}, {"trunk_dims": 25}, {"trunk_dims": [0]}]
)
def test_impossible_widths(setting):
    with pytest.raises(ValueError, match="positive widths"):
        SplAggerPolicy(*SPACES, **setting)


def test_stacked_frames_of_trials():
    env = VecFrameStack(make_vec_env("GridNavi-v0", 2), 2)
    model = HyperPPO("RNNHNPolicy", env, n_steps=4, batch_size=8, n_epochs=1, policy_kwargs={"encoder_dim": 8})
    assert model.learn(8).num_timesteps == 8
