"""HyperPPO's update against RecurrentPPO's on the same rollout, and truncated backpropagation against a loop."""

from inspect import signature

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.logger import configure

from sb3_hyper.hyper_ppo import HyperPPO

KEYS = [
    "policy_gradient_loss",
    "value_loss",
    "entropy_loss",
    "loss",
    "approx_kl",
    "clip_fraction",
    "explained_variance",
]
POLICIES = ["RNNHNPolicy", "SplAggerPolicy", "RNNFiLMPolicy", "RNNPolicy", "LSTMHNPolicy"]


@pytest.fixture
def on_the_same_rollout(make_envs, make_model, collect, monkeypatch):
    """``make(policy, action_space, **settings)``: HyperPPO and RecurrentPPO, equal policies, equal second rollout."""

    def make(policy, action_space=None, **settings):
        settings = {"n_epochs": 1, "gamma": 0.95, "gae_lambda": 0.9, **settings}
        ours = make_model(policy, make_envs(action_space=action_space), value_loss="mse", **settings)
        settings["policy_kwargs"] = ours.policy_kwargs
        env = make_envs(action_space=action_space)
        theirs = RecurrentPPO(type(ours.policy), env, n_steps=12, batch_size=36, seed=0, **settings)
        theirs.set_logger(configure(None, []))
        theirs.policy.load_state_dict(ours.policy.state_dict())
        for model in (ours, theirs):
            th.manual_seed(0)
            for _ in range(2):
                collect(model)
        return ours, theirs

    # RecurrentPPO cuts its one minibatch at a random step.
    monkeypatch.setattr(np.random, "randint", lambda high: 0)
    return make


def shift_alike(*models):
    """The update must not begin where the rollout was made: ratios of 1 would hide the clipping."""
    shifts = [0.1 * th.randn_like(p) for p in models[0].policy.parameters()]
    with th.no_grad():
        for model in models:
            for parameter, shift in zip(model.policy.parameters(), shifts, strict=True):
                parameter.add_(shift)


def check_same_update(ours, theirs):
    shift_alike(ours, theirs)
    for model in (ours, theirs):
        model.train()
    for key in KEYS:
        expected = theirs.logger.name_to_value[f"train/{key}"]
        assert ours.logger.name_to_value[f"train/{key}"] == pytest.approx(expected, rel=1e-4, abs=1e-5), key
    for (name, p), q in zip(ours.policy.named_parameters(), theirs.policy.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            # Sums in another order: what is lost to rounding goes by the largest entry.
            atol = 2e-5 * max(1.0, q.grad.abs().max().item())
            th.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=atol, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("policy", POLICIES)
def test_rollouts_are_recurrent_ppos(on_the_same_rollout, collect, policy):
    """Bootstrapped rewards, values, advantages; rollouts that begin and end in the middle of trials."""
    models = on_the_same_rollout(policy)
    for seed in range(4):
        buffers = []
        for model in models:
            th.manual_seed(seed)
            buffers.append(collect(model))
        ours, theirs = buffers
        np.testing.assert_array_equal(ours.episode_starts, theirs.episode_starts)
        np.testing.assert_array_equal(ours.actions, theirs.actions[..., 0])
        for key in ("rewards", "values", "log_probs", "advantages", "returns"):
            np.testing.assert_allclose(getattr(ours, key), getattr(theirs, key), rtol=1e-5, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("clip_range_vf", [None, 0.1])
@pytest.mark.parametrize("normalize_advantage", [True, False])
def test_losses_and_gradients_are_recurrent_ppos(on_the_same_rollout, policy, clip_range_vf, normalize_advantage):
    settings = {"ent_coef": 0.1, "vf_coef": 0.7, "max_grad_norm": 1e6}
    models = on_the_same_rollout(
        policy, clip_range_vf=clip_range_vf, normalize_advantage=normalize_advantage, **settings
    )
    check_same_update(*models)
    assert 0 < models[0].logger.name_to_value["train/clip_fraction"] < 1


@pytest.mark.parametrize("kind", ["box", "multi-discrete", "multi-binary"])
def test_every_kind_of_action(on_the_same_rollout, kind):
    action_space = {
        "box": spaces.Box(-1, 1, (2,)),
        "multi-discrete": spaces.MultiDiscrete([3, 2]),
        "multi-binary": spaces.MultiBinary(3),
    }[kind]
    check_same_update(*on_the_same_rollout("SplAggerPolicy", action_space, ent_coef=0.1, max_grad_norm=1e6))


@pytest.mark.parametrize("squash_output", [True, False])
def test_state_dependent_exploration(on_the_same_rollout, squash_output):
    """Squashed, the entropy has no closed form and is estimated."""
    kwargs = {"use_sde": True, "sde_sample_freq": 5, "policy_kwargs": {"squash_output": squash_output}}
    models = on_the_same_rollout("RNNHNPolicy", spaces.Box(-1, 1, (2,)), ent_coef=0.1, max_grad_norm=1e6, **kwargs)
    check_same_update(*models)


@pytest.mark.parametrize("max_grad_norm", [0.05, 0.5])
def test_gradients_are_clipped_alike(on_the_same_rollout, max_grad_norm):
    ours, theirs = on_the_same_rollout("RNNHNPolicy", max_grad_norm=max_grad_norm)
    check_same_update(ours, theirs)
    gradients = [p.grad.flatten() for p in ours.policy.parameters() if p.grad is not None]
    assert th.cat(gradients).norm().item() == pytest.approx(max_grad_norm, rel=1e-3)


def test_every_setting_that_both_have_is_called_the_same():
    ours, theirs = (signature(algorithm.__init__).parameters for algorithm in (HyperPPO, RecurrentPPO))
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
    added = {"value_loss", "latent_kl_coef", "normalize_reward", "bptt_length", "auxiliary_class", "auxiliary_kwargs"}
    assert set(ours) - set(theirs) == added


@pytest.mark.parametrize("length", [1, 3, 4, 12])
def test_gradients_flow_through_sequences_and_no_further(make_model, collect, length):
    """The loop: detach the memory every ``length`` steps."""
    model = make_model("RNNHNPolicy", bptt_length=length)
    buffer = collect(model)
    policy, parameters = model.policy, tuple(model.policy.agent.encoder.parameters())
    memory, values = th.zeros(3, policy.memory_dim), []
    for t in range(12):
        memory = memory.detach() if t % length == 0 else memory
        now = {key: x[t] for key, x in buffer.observations.items()}
        encoded = policy.agent.encode(now, memory, buffer.episode_starts[t : t + 1])
        memory = encoded.memory
        values.append(policy.values(encoded.critic))
    expected = th.autograd.grad(th.stack(values).square().sum(), parameters)
    objective = 0.0
    for batch in buffer.get(12):
        objective += policy.evaluate_values(batch.observations, batch.memory, batch.resets).square().sum()
    th.testing.assert_close(th.autograd.grad(objective, parameters), expected, rtol=1e-3, atol=1e-4)
