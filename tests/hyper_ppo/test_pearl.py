"""A sampled latent: what the rollout drew is what the update sees, and evaluation is deterministic."""

import numpy as np
import pytest
import torch as th
from sb3_contrib import RecurrentPPO

from sb3_hyper import PEARLPolicy
from sb3_hyper.hyper_ppo import HyperPPO


def test_rollouts_are_sampled_and_keep_their_noise(make_model, collect):
    (batch,) = collect(make_model("PEARLPolicy")).get(36)
    assert batch.latent_noise.shape == (36, 12) and len(th.unique(batch.latent_noise)) == 36 * 12
    assert 0.8 < batch.latent_noise.std() < 1.2


def test_mean_latents_give_other_values_than_sampled_ones(make_model, collect):
    model = make_model("PEARLPolicy")
    (batch,) = collect(model).get(36)
    with th.no_grad():
        means = model.policy.evaluate_values(batch.observations, batch.memory, batch.resets)
    assert not th.allclose(means, batch.old_values, atol=1e-2)


def test_updates_see_the_noise_of_their_rollout(make_model, collect):
    """Before the first step of an optimizer every probability ratio is 1."""
    model = make_model("PEARLPolicy", n_epochs=1, batch_size=36)
    collect(model)
    model.train()
    assert model.logger.name_to_value["train/approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert model.logger.name_to_value["train/clip_fraction"] == 0


def test_values_after_the_rollout_are_sampled_too(make_model, monkeypatch):
    model = make_model("PEARLPolicy")
    noises = []
    evaluate_values = model.policy.evaluate_values

    def record(obs, memory, resets, noise=None):
        noises.append(noise)
        return evaluate_values(obs, memory, resets, noise)

    monkeypatch.setattr(model.policy, "evaluate_values", record)
    model.learn(36)
    assert all(noise is not None and noise.abs().sum() > 0 for noise in noises) and len(noises) > 1


@pytest.mark.parametrize("coefficient", [-1, float("nan"), float("inf"), "a", None])
def test_impossible_weights_are_refused(make_model, coefficient):
    with pytest.raises(ValueError, match="latent_kl_coef=.* wanted a weight of a loss"):
        make_model("PEARLPolicy", latent_kl_coef=coefficient)


@pytest.mark.parametrize("coefficient", [0.0, 1e-2, 0.5])
def test_divergence_from_the_prior_is_a_loss(make_model, collect, coefficient):
    """Divergence and total loss as they are logged, against the policy's own evaluation."""
    model = make_model("PEARLPolicy", latent_kl_coef=coefficient, batch_size=36)
    (batch,) = collect(model).get(36)
    evaluation = model.policy.evaluate_sequences(
        batch.observations, batch.actions, batch.memory, batch.resets, batch.latent_noise
    )
    model.train()
    logged = model.logger.name_to_value
    divergence = evaluation.latent_kl.mean().item()
    assert divergence > 0 and logged["train/latent_kl"] == pytest.approx(divergence, rel=1e-4)
    others = logged["train/policy_gradient_loss"] + 0.5 * logged["train/value_loss"]
    assert logged["train/loss"] == pytest.approx(others + coefficient * divergence, rel=1e-3, abs=1e-5)


def test_a_heavy_prior_draws_the_latent_to_it(make_model, collect):
    divergences = []
    for coefficient in (0.0, 10.0):
        model = make_model("PEARLPolicy", latent_kl_coef=coefficient, learning_rate=1e-2, n_epochs=20)
        collect(model)
        model.train()
        divergences.append(model.logger.name_to_value["train/latent_kl"])
        model.train()
        divergences.append(model.logger.name_to_value["train/latent_kl"])
    assert divergences[3] < 0.8 * divergences[2] and divergences[3] < divergences[1]


def test_other_policies_log_no_divergence(make_model):
    model = make_model("SplAggerPolicy")
    model.learn(36)
    assert "train/latent_kl" not in model.logger.name_to_value


@pytest.mark.parametrize("algorithm", [HyperPPO, RecurrentPPO])
def test_prediction_is_deterministic(algorithm, make_envs):
    env = make_envs()
    model = algorithm(PEARLPolicy, env, n_steps=12, batch_size=12, n_epochs=1, policy_kwargs={"encoder_dim": 8}, seed=0)
    model.learn(36)
    obs, starts = env.reset(), np.ones(3, dtype=bool)
    answers = [model.predict(obs, None, starts, deterministic=True) for _ in range(3)]
    for actions, states in answers[1:]:
        np.testing.assert_array_equal(actions, answers[0][0])
        np.testing.assert_array_equal(states, answers[0][1])
