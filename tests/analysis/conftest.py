"""Small trials, models on them, and encoders that are cheap to analyse."""

import matplotlib
import pytest
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper import HyperPPO
from sb3_hyper.analysis import Widths
from sb3_hyper.envs import batched_vec_env

SHORT = {"corridor_length": 4}


@pytest.fixture(autouse=True)
def always_one_thread(one_thread):
    """For every test here."""


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "savefig.dpi", 30)


@pytest.fixture
def narrow():
    """Widths that make encoders fast; the encoding is wide enough for every aggregator."""
    return Widths(input_dim=6, encoder_dim=16, latent_dim=5)


@pytest.fixture
def make_env():
    """``make(n_envs, env_id)``: trials of four short episodes."""

    def make(n_envs=2, env_id="TMazeLS-v0", **env_kwargs):
        kwargs = {**(SHORT if env_id.startswith("TMaze") else {}), **env_kwargs}
        return make_vec_env(env_id, n_envs, seed=0, env_kwargs=kwargs, vec_env_cls=batched_vec_env)

    return make


@pytest.fixture
def make_model(make_env, scramble):
    """``make(policy, env, **kwargs)``: a small agent away from its initialisation, so that the latent matters."""

    def make(policy="RNNHNPolicy", env=None, algorithm=HyperPPO, scrambled=True, **kwargs):
        settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "seed": 0, "device": "cpu", **kwargs}
        settings["policy_kwargs"] = {"size": "XS", "encoder_dim": 8, **settings.get("policy_kwargs", {})}
        model = algorithm(policy, env or make_env(), **settings)
        if scrambled:
            scramble(model.policy)
        return model

    return make
