"""The search space: every sample is a legal set of arguments, and Optuna's record of a trial gives it back."""

from typing import Any

import hypothesis.strategies as st
import optuna
import pytest
from hypothesis import given, settings
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper import HyperPPO
from sb3_hyper.envs.vec_env import batched_vec_env
from sb3_hyper.zoo.search_space import INITIALIZERS, POLICIES, convert_hyper_ppo_params, sample_hyper_ppo_params

optuna.logging.set_verbosity(optuna.logging.WARNING)


def sample(seed: int, n_envs: int, **fixed: Any) -> tuple[dict[str, Any], optuna.Trial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    study.enqueue_trial(fixed)
    trial = study.ask()
    return sample_hyper_ppo_params(trial, 0, n_envs, {}), trial


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), n_envs=st.integers(1, 64))
def test_minibatches_are_whole_sequences_and_fill_the_rollout(seed: int, n_envs: int) -> None:
    hyperparams, _ = sample(seed, n_envs)
    assert hyperparams["batch_size"] % hyperparams["n_steps"] == 0
    assert hyperparams["n_steps"] * n_envs % hyperparams["batch_size"] == 0


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), n_envs=st.integers(1, 64))
def test_record_of_a_trial_converts_to_what_was_sampled(seed: int, n_envs: int) -> None:
    hyperparams, trial = sample(seed, n_envs)
    assert convert_hyper_ppo_params(trial.params) == hyperparams
    assert trial.user_attrs == {name: hyperparams[name] for name in ("gamma", "gae_lambda", "batch_size")}


def test_conversion_leaves_the_record_alone() -> None:
    _, trial = sample(0, 4)
    before = trial.params
    convert_hyper_ppo_params(before)
    assert before == trial.params


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_every_method_of_the_search_builds(policy: str, initializer: str) -> None:
    hyperparams, _ = sample(1, 2, policy=policy, initializer=initializer, size="XS", encoder_dim=64, n_steps=64)
    env = make_vec_env("TMazeLS-v0", 2, vec_env_cls=batched_vec_env)  # type: ignore[arg-type]
    model = HyperPPO(env=env, device="cpu", **hyperparams)
    assert type(model.policy).__name__ == policy or model.policy_class is HyperPPO.policy_aliases[policy]
