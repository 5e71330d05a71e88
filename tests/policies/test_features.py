"""Who sees what: the encoder the transition, the base network the state, nobody the task."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN

from sb3_hyper.policies import POLICIES
from sb3_hyper.policies.features import is_trial_space

N = 4


def observations(policy, sample):
    obs, _ = policy.obs_to_tensor(sample(policy.observation_space, N))
    return obs


def test_a_transition_is_all_of_the_observation_but_the_task(make_policy, sample, trial_case):
    policy = make_policy(POLICIES["RNNHNPolicy"], trial_case)
    obs = observations(policy, sample)
    obs = {key: x.float() if x.dtype != th.uint8 else x // 2 for key, x in obs.items()}
    state, transition = policy.agent.features(obs)
    state = state.expand()
    discrete = not isinstance(trial_case[0]["observation"], spaces.Box)
    for key in obs:
        value = 1 - obs[key].clamp(max=1) if discrete and "observation" in key else obs[key] + 1
        other = {**obs, key: value}
        other_state, other_transition = policy.agent.features(other)
        assert th.equal(other_state.expand(), state) == (key != "observation"), key
        assert th.equal(other_transition, transition) == (key == "task"), key


@pytest.mark.parametrize("name", ["RNNPolicy", "RNNSPolicy", "RNNHNPolicy", "RNNFiLMPolicy"])
def test_what_the_base_networks_see(name, make_policy, sample, scramble):
    policy = scramble(make_policy(POLICIES[name]))
    agent, obs = policy.agent, observations(policy, sample)
    memory, starts = th.zeros(N, policy.memory_dim), th.ones(1, N, dtype=th.bool)
    inputs, factors, _ = agent.encode(obs, memory, starts).actor
    rows, transition = agent.features(obs)
    state = rows.expand()
    encodings, _ = agent.encoder(transition[None], memory, starts)
    expected_factors = agent.trunk(agent.to_latent(encodings[0]))
    th.testing.assert_close(factors, expected_factors)
    latent = expected_factors[:, :-1]
    seen = {"RNNPolicy": latent, "RNNSPolicy": th.cat((state, latent), dim=1)}.get(name, state)
    th.testing.assert_close(inputs, seen)


def test_base_networks_can_see_the_state_itself(make_policy, sample):
    policy = make_policy(POLICIES["RNNSPolicy"], state_dim=0)
    obs = observations(policy, sample)
    policy.update_normalization(obs)
    memory, starts = th.zeros(N, policy.memory_dim), th.ones(1, N, dtype=th.bool)
    state, factors, _ = policy.agent.encode(obs, memory, starts).actor
    normalised = policy.agent.features.normalization(obs["observation"])
    assert th.equal(state, th.cat((normalised, factors[:, :-1]), dim=1))


def test_both_losses_train_the_encoder_unless_they_stop_at_the_latent(make_policy, sample, scramble, policy_class):
    policy = scramble(make_policy(policy_class))
    stops = policy.settings.detach_latent
    obs, memory = observations(policy, sample), th.zeros(2, policy.memory_dim)
    actions, resets = th.zeros(N, dtype=th.long), th.zeros(2, 2, dtype=th.bool)
    for part in policy.evaluate_sequences(obs, actions, memory, resets)[:3]:
        policy.optimizer.zero_grad()
        part.sum().backward(retain_graph=True)
        agent = policy.agent
        for module in (agent.encoder, agent.features.transition, agent.to_latent, agent.trunk):
            parameters = list(module.parameters())
            is_trained = any(p.grad is not None and th.count_nonzero(p.grad) for p in parameters)
            # PEARL's latent is what its encoder says: there is nothing to train.
            assert not parameters or is_trained == (module is agent.trunk or not stops)


def check_every_parameter_is_trained(policy, sample):
    optimized = {id(p) for group in policy.optimizer.param_groups for p in group["params"]}
    assert optimized == {id(p) for p in policy.parameters()}
    obs, memory = observations(policy, sample), th.zeros(2, policy.memory_dim)
    noise = th.randn(4, policy.noise_dim)
    encoded = policy.agent.encode(obs, memory, th.zeros(2, 2, dtype=th.bool), noise)
    distribution = policy._distribution(encoded.actor)
    objective = policy.values(encoded.critic).sum() + distribution.log_prob(distribution.sample()).sum()
    if policy.settings.detach_latent:
        # Then it is an auxiliary objective that trains what comes before the latent.
        objective = objective + encoded.latents.sum()
    objective.backward()
    assert all(p.grad is not None for p in policy.parameters())


def test_every_parameter_of_every_policy_is_trained(make_policy, sample, scramble, policy_class):
    check_every_parameter_is_trained(scramble(make_policy(policy_class)), sample)


def test_every_parameter_is_trained_in_every_space(make_policy, sample, scramble, case):
    check_every_parameter_is_trained(scramble(make_policy(POLICIES["SplAggerPolicy"], case)), sample)


@pytest.mark.parametrize("missing", ["observation", "previous_action", "previous_reward", "new_episode"])
def test_a_dict_without_one_of_the_keys_is_a_state(missing, make_policy):
    trial, action_space = make_policy(POLICIES["RNNHNPolicy"]).observation_space, spaces.Discrete(4)
    entries = {key: space for key, space in trial.spaces.items() if key != missing}
    assert is_trial_space(trial)
    assert not is_trial_space(spaces.Dict(entries))
    policy = make_policy(POLICIES["RNNHNPolicy"], (spaces.Dict(entries), action_space))
    assert isinstance(policy.features_extractor, CombinedExtractor)


def test_extractor_suits_the_state(make_policy, case):
    space = case[0]["observation"] if is_trial_space(case[0]) else case[0]
    expected = CombinedExtractor if isinstance(space, spaces.Dict) else FlattenExtractor
    if space.dtype == np.uint8:
        expected = NatureCNN
    assert type(make_policy(POLICIES["RNNHNPolicy"], case).features_extractor) is expected


def test_extractor_of_ones_own(make_policy):
    class Wide(FlattenExtractor):
        def __init__(self, space, factor):
            super().__init__(space)
            self.linear, self._features_dim = th.nn.Linear(self._features_dim, factor), factor

        def forward(self, obs):
            return self.linear(super().forward(obs))

    kwargs = {"features_extractor_class": Wide, "features_extractor_kwargs": {"factor": 11}}
    policy = make_policy(POLICIES["RNNHNPolicy"], **kwargs)
    assert policy.agent.features.embed_state[0].in_features == 11


def test_flat_states_are_normalised_and_nothing_else(make_policy, case):
    space = case[0]["observation"] if is_trial_space(case[0]) else case[0]
    is_flat = isinstance(space, spaces.Box) and space.dtype != np.uint8
    features = make_policy(POLICIES["RNNHNPolicy"], case).agent.features
    assert (features.normalization is not None) == is_flat
    assert make_policy(POLICIES["RNNHNPolicy"], case, normalize_states=False).agent.features.normalization is None


def test_both_states_of_a_transition_are_normalised_alike(make_policy, sample):
    policy = make_policy(POLICIES["RNNHNPolicy"])
    obs = observations(policy, sample)
    obs["previous_observation"] = obs["observation"]
    seen = []
    policy.agent.features.transition.register_forward_pre_hook(lambda module, arguments: seen.extend(arguments))
    policy.update_normalization({**obs, "observation": 5 + 3 * obs["observation"]})
    policy.agent.features(obs)
    width = obs["observation"].shape[1]
    state, previous_state = seen[0][:, :width], seen[0][:, -width:]
    assert th.equal(state, previous_state)
    moments = policy.agent.features.normalization
    expected = (obs["observation"] - moments.mean) / moments.variance.sqrt()
    th.testing.assert_close(state.double(), expected, rtol=1e-3, atol=1e-3)
