"""Acting with prepared weights is acting."""

import numpy as np
import torch as th

from sb3_hyper.policies import POLICIES
from sb3_hyper.policies.sampling import sample_categorical

B = 6


def check_acting(policy, sample):
    obs = policy.obs_to_tensor(sample(policy.observation_space, B))[0]
    memory, starts = 0.1 * th.randn(B, policy.memory_dim), th.tensor([True, False] * (B // 2))
    with th.no_grad():
        act = policy.make_act()
        for noise in (None, th.randn(B, policy.noise_dim)):
            actions, log_prob, after, critic_input = act(obs, memory, starts, noise)
            assert actions.shape == (B, *policy.action_space.shape)
            expected = policy.evaluate_sequences(obs, actions, memory, starts[None], noise)
            th.testing.assert_close((policy.values(critic_input), log_prob), (expected.values, expected.log_prob))
            expected_after = policy.act(obs, memory, starts, noise=noise)[3]
            th.testing.assert_close(after, expected_after)
            memory = after


def test_every_policy(policy_class, make_policy, sample, scramble):
    check_acting(scramble(make_policy(policy_class)), sample)


def test_every_action_space(make_exploring_policy, sample):
    check_acting(make_exploring_policy(POLICIES["SplAggerPolicy"], B), sample)


def test_every_option_of_the_hypernetwork(option, make_policy, sample, scramble):
    check_acting(scramble(make_policy(POLICIES["RNNHNPolicy"], **option)), sample)


def test_every_observation_space(case, make_policy, sample, scramble):
    check_acting(scramble(make_policy(POLICIES["RNNSPolicy"], case)), sample)


def test_weights_are_prepared_anew(make_policy, sample):
    policy = make_policy(POLICIES["SplAggerPolicy"])
    obs = policy.obs_to_tensor(sample(policy.observation_space, B))[0]
    memory, starts = th.zeros(B, policy.memory_dim), th.ones(B, dtype=th.bool)
    with th.no_grad():
        policy.make_act()
        for parameter in policy.parameters():
            parameter.add_(0.1 * th.randn_like(parameter))
        acted = policy.make_act()(obs, memory, starts)
        th.testing.assert_close(policy.values(acted.critic_input), policy.act(obs, memory, starts)[1])


def test_categorical_samples_follow_their_probabilities():
    th.manual_seed(0)
    probabilities = th.tensor([0.5, 0.3, 0.15, 0.05, 0.0])
    samples, log_probs = sample_categorical(probabilities.log().expand(20_000, -1) + 3)
    frequencies = th.bincount(samples, minlength=5) / len(samples)
    np.testing.assert_allclose(frequencies, probabilities, atol=0.02)
    assert frequencies[4] == 0
    th.testing.assert_close(log_probs.exp(), probabilities[samples])
