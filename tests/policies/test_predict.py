"""Every policy on every space: it acts, with and without a memory, one environment or several, saved and loaded."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from sb3_hyper.hyper_ppo import HyperPPO
from sb3_hyper.policies import POLICIES

N = 3


def take(obs, index):
    return {key: x[index] for key, x in obs.items()} if isinstance(obs, dict) else obs[index]


def roll(policy, obs, n_steps=3):
    """Deterministic actions while the same observations come again and again: only the memory changes."""
    state, actions = None, []
    for _ in range(n_steps):
        action, state = policy.predict(obs, state, deterministic=True)
        actions.append(action)
    return np.stack(actions), np.stack(state)


def test_every_policy_acts_in_every_space(policy_class, case, make_policy, sample):
    policy = make_policy(policy_class, case)
    action_space = policy.action_space
    obs = sample(policy.observation_space, N)
    actions, state = policy.predict(obs)
    assert all(part.shape == (1, N, policy.lstm_actor.hidden_size) for part in state)
    actions, state = policy.predict(obs, state, episode_start=np.array([True, False, False]))
    assert len(actions) == N
    assert all(action in action_space for action in actions.astype(action_space.dtype))
    single, _ = policy.predict(take(obs, 0))
    assert single.astype(action_space.dtype) in action_space


def test_environments_side_by_side_do_not_mix(policy_class, make_policy, sample, scramble):
    policy = scramble(make_policy(policy_class))
    obs = sample(policy.observation_space, N)
    actions, state = roll(policy, obs)
    for i in range(N):
        single_actions, single_state = roll(policy, take(obs, i))
        np.testing.assert_allclose(single_actions, actions[:, i], atol=1e-5)
        np.testing.assert_allclose(single_state[:, :, 0], state[:, :, i], atol=1e-5)


def test_a_trials_start_empties_the_memory(policy_class, make_policy, sample, scramble):
    policy = scramble(make_policy(policy_class))
    if not policy.memory_dim:
        pytest.skip("no memory")
    obs, other = np.split(np.arange(2 * N), 2)
    batch = sample(policy.observation_space, 2 * N)
    _, state = policy.predict(take(batch, other), deterministic=True)
    fresh_actions, fresh = policy.predict(take(batch, obs), deterministic=True)
    starts = np.array([True, False, True])
    actions, state = policy.predict(take(batch, obs), state, starts, deterministic=True)
    np.testing.assert_array_equal(np.stack(state)[:, :, starts], np.stack(fresh)[:, :, starts])
    np.testing.assert_array_equal(actions[starts], fresh_actions[starts])
    assert not np.allclose(np.stack(state)[:, :, 1], np.stack(fresh)[:, :, 1])


def check_policy_round_trip(policy, sample, path):
    obs = sample(policy.observation_space, N)
    policy.update_normalization(policy.obs_to_tensor(obs)[0])
    policy.save(path)
    loaded = type(policy).load(path, device="cpu")
    for before, after in zip(roll(policy, obs), roll(loaded, obs), strict=True):
        np.testing.assert_array_equal(after, before)


def generated(policy_class, **kwargs):
    """Keywords for policies that have layers which a latent conditions."""
    return kwargs if policy_class.preset.get("conditioning") in (None, "hypernetwork", "film") else {}


def test_saved_and_loaded_policy_is_the_same(policy_class, make_policy, sample, scramble, tmp_path):
    kwargs = {
        "latent_dim": 8,
        "trunk_dims": [9],
        "net_arch": {"pi": [5], "vf": [6, 4]},
        "normalize_latent": True,
        **generated(policy_class, initializer="HyperFanIn"),
    }
    check_policy_round_trip(scramble(make_policy(policy_class, **kwargs)), sample, tmp_path / "policy")


def test_saved_and_loaded_policy_is_the_same_in_every_space(case, make_policy, sample, scramble, tmp_path):
    check_policy_round_trip(scramble(make_policy(POLICIES["SplAggerPolicy"], case)), sample, tmp_path / "policy")


def test_saved_and_loaded_policy_keeps_its_options(option, make_policy, sample, scramble, tmp_path):
    policy = scramble(make_policy(POLICIES["RNNHNPolicy"], **option))
    check_policy_round_trip(policy, sample, tmp_path / "policy")
    assert POLICIES["RNNHNPolicy"].load(tmp_path / "policy").settings == policy.settings


def check_model_round_trip(model, sample, path):
    model.save(path)
    loaded = HyperPPO.load(path)
    assert type(loaded.policy) is type(model.policy)
    obs = sample(model.observation_space, N)
    for before, after in zip(roll(model, obs), roll(loaded, obs), strict=True):
        np.testing.assert_array_equal(after, before)


def test_saved_and_loaded_model_predicts_the_same(policy_class, make_env, sample, scramble, tmp_path):
    kwargs = {
        "size": "XS",
        "encoder_dim": 8,
        "latent_dim": 8,
        "trunk_dims": [9],
        "normalize_latent": True,
        **generated(policy_class, initializer="HyperFanIn"),
    }
    model = HyperPPO(policy_class, make_env(policy_class=policy_class), n_steps=8, batch_size=8, policy_kwargs=kwargs)
    scramble(model.policy)
    check_model_round_trip(model, sample, tmp_path / "model")


def test_saved_and_loaded_model_keeps_its_options(option, make_env, sample, scramble, tmp_path):
    kwargs = {"size": "XS", "encoder_dim": 8, **option}
    model = HyperPPO("RNNHNPolicy", make_env(), n_steps=8, batch_size=8, policy_kwargs=kwargs)
    scramble(model.policy)
    check_model_round_trip(model, sample, tmp_path / "model")
    assert HyperPPO.load(tmp_path / "model").policy.settings == model.policy.settings


@pytest.mark.parametrize("use_sde", [False, True])
def test_saved_and_loaded_model_for_every_action_space(use_sde, action_case, make_env, sample, scramble, tmp_path):
    if use_sde and not isinstance(action_case[1], spaces.Box):
        pytest.skip("state-dependent exploration is for Box actions")
    model = HyperPPO("SplAggerPolicy", make_env(action_case), n_steps=8, batch_size=8, use_sde=use_sde)
    scramble(model.policy)
    check_model_round_trip(model, sample, tmp_path / "model")


def test_every_policy_has_a_name_in_hyper_ppo(policy_class, make_env):
    model = HyperPPO(policy_class.__name__, make_env(policy_class=policy_class), n_steps=4, batch_size=4)
    assert type(model.policy) is policy_class


def test_state_normalisation_is_part_of_the_policy(make_policy, sample, tmp_path):
    policy = make_policy(POLICIES["RNNSPolicy"])
    obs, _ = policy.obs_to_tensor(sample(policy.observation_space, 50))
    before = policy.agent.features(obs)[0].expand()
    policy.update_normalization(obs)
    assert not th.allclose(policy.agent.features(obs)[0].expand(), before)
    policy.save(tmp_path / "policy")
    loaded = type(policy).load(tmp_path / "policy", device="cpu")
    assert th.equal(loaded.agent.features(obs)[0].expand(), policy.agent.features(obs)[0].expand())
    expected = obs["observation"].double().mean(0)
    th.testing.assert_close(loaded.agent.features.normalization.mean, expected)
