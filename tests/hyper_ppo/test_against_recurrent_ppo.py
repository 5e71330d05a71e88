"""HyperPPO's update against RecurrentPPO's on the same rollout, and truncated backpropagation against a loop."""

from inspect import signature

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.logger import configure

from sb3_hyper.hyper_ppo import HyperPPO
from sb3_hyper.policies.recurrent_state import pack_memory

KEYS = [
    "policy_gradient_loss",
    "value_loss",
    "entropy_loss",
    "loss",
    "approx_kl",
    "clip_fraction",
    "explained_variance",
]


def fill(theirs, ours, last_values, dones):
    """Write HyperPPO's rollout into RecurrentPPO's buffer, step after step."""
    memory, buffer = ours._rollout_start, ours.rollout_buffer
    for t in range(ours.n_steps):
        obs = {key: x[t] for key, x in buffer.observations.items()}
        theirs.rollout_buffer.add(
            {key: x.numpy() for key, x in obs.items()},
            buffer.actions[t].numpy().reshape(ours.n_envs, -1),
            buffer.rewards[t].numpy(),
            buffer.episode_starts[t].numpy(),
            buffer.values[t],
            buffer.log_probs[t],
            lstm_states=pack_memory(memory, ours.policy.lstm_actor),
        )
        with th.no_grad():
            memory = ours.policy.agent.encode(obs, memory, buffer.episode_starts[t : t + 1])[2]
    theirs.rollout_buffer.compute_returns_and_advantage(last_values, dones)


@pytest.fixture
def on_the_same_rollout(make_envs, make_model, collect, monkeypatch):
    """``make(policy, **settings)``: HyperPPO and RecurrentPPO with equal policies and the same (second) rollout."""

    def make(policy, action_space, **settings):
        settings = {"n_epochs": 1, "gamma": 0.95, "gae_lambda": 0.9, **settings}
        ours = make_model(policy, make_envs(action_space=action_space), value_loss="mse", **settings)
        collect(ours)
        ours._rollout_start = ours._last_memory
        collect(ours)
        theirs = RecurrentPPO(
            type(ours.policy), ours.env, n_steps=12, batch_size=36, policy_kwargs=ours.policy_kwargs, **settings
        )
        theirs.set_logger(configure(None, []))
        last_obs, _ = ours.policy.obs_to_tensor(ours._last_obs)
        dones = ours._last_episode_starts
        with th.no_grad():
            last_values = ours.policy.evaluate_values(last_obs, ours._last_memory, th.as_tensor(dones)[None])
        fill(theirs, ours, last_values, dones)
        np.testing.assert_allclose(theirs.rollout_buffer.advantages, ours.rollout_buffer.advantages, atol=1e-5)
        # The update must not begin where the rollout was made: ratios of 1 would hide the clipping.
        with th.no_grad():
            for parameter in ours.policy.parameters():
                parameter.add_(0.1 * th.randn_like(parameter))
        theirs.policy.load_state_dict(ours.policy.state_dict())
        # RecurrentPPO cuts its one minibatch at a random step.
        monkeypatch.setattr(np.random, "randint", lambda high: 0)
        return ours, theirs

    return make


@pytest.mark.parametrize("policy", ["RNNHNPolicy", "SplAggerPolicy", "RNNFiLMPolicy", "RNNPolicy", "LSTMHNPolicy"])
@pytest.mark.parametrize("clip_range_vf", [None, 0.1])
@pytest.mark.parametrize("normalize_advantage", [True, False])
def test_losses_and_gradients_are_recurrent_ppos(on_the_same_rollout, policy, clip_range_vf, normalize_advantage):
    settings = {"ent_coef": 0.1, "vf_coef": 0.7, "max_grad_norm": 1e6}
    models = on_the_same_rollout(
        policy, None, clip_range_vf=clip_range_vf, normalize_advantage=normalize_advantage, **settings
    )
    check_same_update(*models)
    assert 0 < models[0].logger.name_to_value["train/clip_fraction"] < 1


def check_same_update(ours, theirs):
    for model in (ours, theirs):
        model.train()
    for key in KEYS:
        expected = theirs.logger.name_to_value[f"train/{key}"]
        assert ours.logger.name_to_value[f"train/{key}"] == pytest.approx(expected, rel=1e-4, abs=1e-5), key
    for (name, p), q in zip(ours.policy.named_parameters(), theirs.policy.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            th.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("kind", ["box", "multi-discrete", "multi-binary"])
def test_every_kind_of_action(on_the_same_rollout, kind):
    action_space = {
        "box": spaces.Box(-1, 1, (2,)),
        "multi-discrete": spaces.MultiDiscrete([3, 2]),
        "multi-binary": spaces.MultiBinary(3),
    }[kind]
    check_same_update(*on_the_same_rollout("SplAggerPolicy", action_space, ent_coef=0.1, max_grad_norm=1e6))


@pytest.mark.parametrize("max_grad_norm", [0.05, 0.5])
def test_gradients_are_clipped_alike(on_the_same_rollout, max_grad_norm):
    ours, theirs = on_the_same_rollout("RNNHNPolicy", None, max_grad_norm=max_grad_norm)
    check_same_update(ours, theirs)
    gradients = [p.grad.flatten() for p in ours.policy.parameters() if p.grad is not None]
    assert th.cat(gradients).norm().item() == pytest.approx(max_grad_norm, rel=1e-3)


def test_every_setting_that_both_have_is_called_the_same():
    ours, theirs = (signature(algorithm.__init__).parameters for algorithm in (HyperPPO, RecurrentPPO))
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
    assert set(ours) - set(theirs) == {"value_loss", "normalize_reward", "bptt_length"}


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
        state, factors, memory = policy.agent.encode(now, memory, buffer.episode_starts[t : t + 1])
        values.append(policy._values(state, factors))
    expected = th.autograd.grad(th.stack(values).square().sum(), parameters)
    objective = 0.0
    for batch in buffer.get(12):
        objective += policy.evaluate_values(batch.observations, batch.memory, batch.resets).square().sum()
    th.testing.assert_close(th.autograd.grad(objective, parameters), expected, rtol=1e-3, atol=1e-4)
