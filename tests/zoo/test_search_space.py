"""The search space: every sample is a legal set of arguments, and Optuna's record of a trial gives it back."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import optuna
import pytest
from hypothesis import given, settings
from rl_zoo3.exp_manager import ExperimentManager
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper import HyperPPO
from sb3_hyper.aggregators import AGGREGATORS as ALL_AGGREGATORS
from sb3_hyper.encoders import AggregatedEncoder
from sb3_hyper.envs.vec_env import batched_vec_env
from sb3_hyper.hyper_ppo.settings import sequence_length
from sb3_hyper.hypernetworks import HYPER_INITIALIZERS
from sb3_hyper.policies import POLICIES, HyperActorCriticPolicy
from sb3_hyper.zoo.search_space import (
    AGGREGATORS,
    INITIALIZERS,
    METHODS,
    convert_hyper_ppo_params,
    sample_hyper_ppo_params,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)

N_ENVS = 16
SMALLEST = {"size": "XS", "encoder_dim": 64, "n_steps": 64}


def sample(seed: int, n_envs: int, **fixed: Any) -> tuple[dict[str, Any], optuna.Trial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    study.enqueue_trial(fixed)
    trial = study.ask()
    return sample_hyper_ppo_params(trial, 0, n_envs, {}), trial


@pytest.fixture(scope="module")
def env() -> VecEnv:
    return make_vec_env("TMazeLS-v0", N_ENVS, vec_env_cls=batched_vec_env)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), n_envs=st.integers(1, 64))
def test_minibatches_are_whole_sequences_and_fill_the_rollout(seed: int, n_envs: int) -> None:
    hyperparams, _ = sample(seed, n_envs)
    n_steps, batch_size = hyperparams["n_steps"], hyperparams["batch_size"]
    assert sequence_length(n_steps, n_envs, batch_size, None) == n_steps


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), n_envs=st.integers(1, 64))
def test_record_of_a_trial_converts_to_what_was_sampled(seed: int, n_envs: int) -> None:
    hyperparams, trial = sample(seed, n_envs)
    loaded = convert_hyper_ppo_params(trial.params)
    sampled = FloatSchedule(hyperparams.pop("learning_rate"))
    read = ExperimentManager._preprocess_schedules({"learning_rate": loaded.pop("learning_rate")})["learning_rate"]
    assert loaded == hyperparams
    rate = trial.params["learning_rate"]
    final_rate = 0.0 if trial.params["anneal_learning_rate"] else rate
    assert [sampled(1.0), sampled(0.0)] == [read(1.0), read(0.0)] == [rate, final_rate]
    assert trial.user_attrs == {name: hyperparams[name] for name in ("gamma", "gae_lambda", "batch_size")}


def test_conversion_leaves_the_record_alone() -> None:
    _, trial = sample(0, 4)
    before = trial.params
    convert_hyper_ppo_params(before)
    assert before == trial.params


def test_every_trial_samples_the_same_names() -> None:
    trials = [sample(seed, 4)[1] for seed in range(50)]
    assert {trial.params["policy"] for trial in trials} == set(METHODS)
    assert {frozenset(trial.params) for trial in trials} == {frozenset(trials[0].params)}


def test_the_documentation_says_what_is_searched() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text(encoding="utf-8")
    searched = text.split("\n## What is searched\n")[1].split("\n## ")[0]
    hyperparams, _ = sample(0, 4)
    names = {*hyperparams, *hyperparams["policy_kwargs"]} - {"policy", "policy_kwargs", "clip_range_vf"}
    for name in (*METHODS, *AGGREGATORS, *INITIALIZERS, *(names - {"aggregator", "initializer", "normalize_latent"})):
        assert f"`{name}`" in searched


@pytest.mark.parametrize("policy", METHODS)
@pytest.mark.parametrize("initializer", INITIALIZERS)
@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_every_method_of_the_search_builds(env: VecEnv, policy: str, initializer: str, aggregator: str) -> None:
    hyperparams, _ = sample(1, N_ENVS, policy=policy, initializer=initializer, aggregator=aggregator, **SMALLEST)
    model = HyperPPO(env=env, device="cpu", **hyperparams)
    assert model.policy_class is POLICIES[policy]
    check_settings(model.policy, policy, initializer, aggregator)


def check_settings(built: HyperActorCriticPolicy, policy: str, initializer: str, aggregator: str) -> None:
    """The method gets what is sampled for it, and stays as it is where that is none of its settings."""
    encoder = built.agent.encoder
    if policy in ("SplAggerPolicy", "MaxPolicy", "AMRLPolicy"):
        assert isinstance(encoder, AggregatedEncoder)
        assert type(encoder.aggregator) is ALL_AGGREGATORS["Max" if policy == "AMRLPolicy" else aggregator]
    else:
        assert not isinstance(encoder, AggregatedEncoder)
    own = built.settings
    if policy in ("RNNPolicy", "RNNSPolicy"):
        assert own.initializer == "BiasHyperInit" and not own.normalize_latent
    else:
        assert own.initializer == initializer
        assert own.normalize_latent == HYPER_INITIALIZERS[initializer].needs_normalized_latent


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300))
def test_every_sampled_point_builds(env: VecEnv, seed: int) -> None:
    hyperparams, _ = sample(seed, N_ENVS)
    model = HyperPPO(env=env, device="cpu", **hyperparams)
    assert model.policy.settings.size == hyperparams["policy_kwargs"]["size"]
