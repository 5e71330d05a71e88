"""Our policies in sb3-contrib's unmodified RecurrentPPO."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch as th
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES, RNNHNPolicy, SplAggerPolicy

EVERY_POLICY = {**POLICIES, **PRIVILEGED_POLICIES}
SMALL = {"size": "XS", "encoder_dim": 8}


@pytest.mark.parametrize("policy_class", [RNNHNPolicy, SplAggerPolicy])
@pytest.mark.parametrize("env_id", ["TMazeLS-v0", "CartPole-v1"])
def test_stock_recurrent_ppo_trains_our_policies(policy_class, env_id, tmp_path):
    model = RecurrentPPO(
        policy_class, make_vec_env(env_id, 2), n_steps=48, batch_size=24, n_epochs=2, policy_kwargs=SMALL, seed=0
    )
    before = {name: p.detach().clone() for name, p in model.policy.named_parameters()}
    model.learn(2 * 48 * 2)
    assert all(p.isfinite().all() for p in model.policy.parameters())
    still = {name for name, p in model.policy.named_parameters() if th.equal(p, before[name])}
    # T-mazes reward a trial's last step, which no transition of the trial shows.
    assert still <= {"agent.features.transition.embed_reward.0.weight"}
    model.save(tmp_path / "model")
    loaded = RecurrentPPO.load(tmp_path / "model")
    obs = model.env.reset()
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], model.predict(obs, deterministic=True)[0])


@pytest.mark.parametrize("policy_class", [RNNHNPolicy, SplAggerPolicy])
@pytest.mark.parametrize("env_id", ["TMazeLS-v0", "CartPole-v1"])
def test_stock_recurrent_ppo_finds_the_ratios_at_one(policy_class, env_id):
    """Before a step the log-probabilities are the old ones: padding, resets and carried memories are understood."""
    model = RecurrentPPO(
        policy_class, make_vec_env(env_id, 3), n_steps=40, batch_size=120, n_epochs=1, policy_kwargs=SMALL, seed=0
    )
    with th.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.2 * th.randn_like(parameter))
    model.learn(120)
    assert abs(model.logger.name_to_value["train/approx_kl"]) < 1e-8
    assert model.logger.name_to_value["train/clip_fraction"] == 0
    model.learning_rate = 0.0
    model._setup_lr_schedule()
    # The second rollout begins in the middle of trials.
    model.learn(120, reset_num_timesteps=False)
    assert not np.all(model._last_episode_starts)
    assert abs(model.logger.name_to_value["train/approx_kl"]) < 1e-8


@pytest.mark.parametrize("name", EVERY_POLICY)
def test_every_policy_trains_saves_and_loads(name, tmp_path):
    kwargs = dict(SMALL)
    if EVERY_POLICY[name].preset.get("encoder") == "transformer":
        # sb3-contrib stores the memory at every step.
        kwargs["encoder_kwargs"] = {"context_length": 20}
    env = make_vec_env("TMazeLS-v0", 2, env_kwargs={"expose_task": name in PRIVILEGED_POLICIES})
    model = RecurrentPPO(EVERY_POLICY[name], env, n_steps=24, batch_size=24, n_epochs=1, policy_kwargs=kwargs)
    before = [parameter.detach().clone() for parameter in model.policy.agent.inferring_parameters()]
    is_detached = model.policy.settings.detach_latent
    with pytest.warns(UserWarning, match="the encoder: it stays") if is_detached else nullcontext():
        model.learn(2 * 24 * 2)
    assert all(p.isfinite().all() for p in model.policy.parameters())
    after = model.policy.agent.inferring_parameters()
    assert any(not th.equal(*pair) for pair in zip(before, after, strict=True)) != is_detached
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    obs = model.env.reset()
    for loaded in (RecurrentPPO.load(tmp_path / "model").policy, EVERY_POLICY[name].load(tmp_path / "policy")):
        constructor, expected = loaded._get_constructor_parameters(), model.policy._get_constructor_parameters()
        assert {key: constructor[key] for key in model.policy.settings.as_kwargs()} == model.policy.settings.as_kwargs()
        assert constructor.keys() == expected.keys()
        actions = [policy.predict(obs, deterministic=True)[0] for policy in (loaded, model.policy)]
        np.testing.assert_array_equal(*actions)
