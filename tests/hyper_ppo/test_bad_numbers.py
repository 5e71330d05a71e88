"""NaN and infinity stop the training before anything is trained on them."""

import numpy as np
import pytest
import torch as th

from sb3_hyper.hyper_ppo.collection import check_finite


def check_nothing_was_trained(model, n_steps, message):
    before = [p.detach().clone() for p in model.policy.parameters()]
    with pytest.raises(ValueError, match=message):
        model.learn(n_steps)
    assert all(th.equal(*pair) for pair in zip(model.policy.parameters(), before, strict=True))


def bad_at(step, bad):
    """An observation filter that spoils one number of the n-th observation that an environment makes."""

    def observe(observation, n_steps):
        return np.where([True, False, False], np.float32(bad), observation) if n_steps == step else observation

    return observe


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("step", [1, 2, 5, 6])
def test_observation(make_envs, make_model, bad, step):
    """Wherever it appears, the rollout's last observation included; one environment has no other to hide it."""
    env = make_envs(1, trial=False, observe=bad_at(step, bad), end_probability=0.0)
    model = make_model(env=env, n_steps=5, batch_size=5)
    check_nothing_was_trained(model, 10, "The observation of environment 0 holds NaN or infinity")


def test_infinity_that_normalisation_would_clip(make_envs, make_model):
    env = make_envs(1, trial=False, observe=bad_at(9, np.inf), end_probability=0.0)
    model = make_model(env=env, n_steps=5, batch_size=5).learn(5)
    check_nothing_was_trained(model, 5, "The observation of environment 0 holds NaN or infinity")


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_reward(make_envs, make_model, bad):
    env = make_envs()
    step_wait, n_steps = env.step_wait, []

    def spoilt():
        obs, rewards, dones, infos = step_wait()
        n_steps.append(1)
        rewards[1:] = bad if len(n_steps) == 4 else rewards[1:]
        return obs, rewards, dones, infos

    env.step_wait = spoilt
    check_nothing_was_trained(make_model(env=env), 36, "The reward of environment 1, 2 holds NaN or infinity")


@pytest.mark.parametrize("policy", ["SplAggerPolicy", "MaxPolicy"])
def test_part_of_a_trial_is_named(make_envs, make_model, policy):
    """MaxPolicy's latent would hide it: no comparison with NaN holds."""
    env = make_envs()
    step_wait = env.step_wait

    def spoilt():
        obs, *rest = step_wait()
        obs["previous_reward"][2] = np.nan
        return obs, *rest

    env.step_wait = spoilt
    message = "The observation 'previous_reward' of environment 2 holds NaN or infinity"
    check_nothing_was_trained(make_model(policy, env), 36, message)


def test_last_observation_of_a_trial_that_a_time_limit_ended(make_envs, make_model):
    """It is asked for its value only."""
    env = make_envs()
    step_wait = env.step_wait

    def spoilt():
        obs, rewards, dones, infos = step_wait()
        for info in infos:
            if info["TimeLimit.truncated"]:
                info["terminal_observation"]["observation"][:] = np.nan
        return obs, rewards, dones, infos

    env.step_wait = spoilt
    check_nothing_was_trained(make_model(env=env), 36, "The terminal observation 'observation' of environment")


def test_diverged_network(make_model):
    model = make_model()
    with th.no_grad():
        model.policy.agent.to_latent.bias.fill_(th.nan)
    with pytest.raises(ValueError, match="the network has diverged"):
        model.learn(36)


def test_large_numbers_are_no_infinity():
    """Their sum overflows, they do not."""
    large = th.full((4, 3), 3e38)
    assert large.sum().isinf()
    check_finite("observation", large)
    with pytest.raises(ValueError, match="environment 2 holds"):
        check_finite("observation", large.index_fill(0, th.tensor(2), th.inf))
