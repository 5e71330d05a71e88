"""Latents that are distributions, and latents that are held."""

import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from sb3_hyper.encoders import PointwiseEncoder
from sb3_hyper.policies import POLICIES
from sb3_hyper.policies.generation import hold, renewals
from sb3_hyper.policies.latent import make_latent

T, B, LATENT = 6, 4, 3


def make(kind):
    th.manual_seed(0)
    encoder, latent = make_latent(kind, PointwiseEncoder(5, 8), None, LATENT)
    return encoder.double(), latent.double()


def gaussian_of(kind, encoder, latent, x, resets):
    """Mean and standard deviation at every step, as defined."""
    if kind == "gaussian":
        mean, log_variance = latent.projection(encoder.linear(x).tanh()).chunk(2, dim=-1)
        return mean, (0.5 * log_variance).exp()
    hidden, factors = encoder.encoder.encoders
    means, raw = factors.linear(hidden.linear(x).tanh()).chunk(2, dim=-1)
    precisions, parts = th.nn.functional.softplus(raw), []
    for t, b in th.cartesian_prod(th.arange(T), th.arange(B)).tolist():
        start = max([s for s in range(t + 1) if resets[s, b]], default=0)
        total = precisions[start : t + 1, b].sum(dim=0)
        mean = (precisions[start : t + 1, b] * means[start : t + 1, b]).sum(dim=0) / total
        parts.append(th.stack((mean, total.rsqrt())))
    mean, deviation = th.stack(parts).unflatten(0, (T, B)).unbind(dim=2)
    return mean, deviation


@pytest.mark.parametrize("kind", ["gaussian", "gaussian_product"])
def test_gaussian_latents_are_their_definition(kind):
    encoder, latent = make(kind)
    x, resets, noise = th.randn(T, B, 5).double(), th.rand(T, B) < 0.3, th.randn(T, B, LATENT).double()
    encodings, _ = encoder(x, encoder.initial_state(B).double(), resets)
    mean, deviation = gaussian_of(kind, encoder, latent, x, resets)
    close = {"rtol": 1e-5, "atol": 1e-5}
    th.testing.assert_close(latent(encodings), mean, **close)
    th.testing.assert_close(latent(encodings, noise), mean + deviation * noise, **close)
    divergence = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0)).sum(dim=-1)
    th.testing.assert_close(latent.kl_to_prior(encodings), divergence, **close)


def test_product_of_gaussians_does_not_know_the_order():
    encoder, latent = make("gaussian_product")
    x, none = th.randn(T, B, 5).double(), th.zeros(T, B, dtype=th.bool)
    memory = encoder.initial_state(B).double()
    last = [latent(encoder(order, memory, none)[0][-1]) for order in (x, x[th.randperm(T)])]
    th.testing.assert_close(*last)


def test_linear_latent_has_no_noise_and_no_divergence():
    encoder, latent = make("linear")
    encoding = encoder(th.randn(1, B, 5).double(), encoder.initial_state(B), th.zeros(1, B, dtype=th.bool))[0]
    assert latent.noise_dim == 0 and latent.kl_to_prior(encoding) is None
    assert th.equal(latent(encoding, th.zeros(1, B, 0)), th.nn.functional.linear(encoding, latent.weight, latent.bias))


@given(st.integers(1, 8), st.integers(1, 3), st.floats(0, 1), st.integers(0, 10**6))
def test_hold_is_its_loop(n_steps, n_envs, density, seed):
    generator = th.Generator().manual_seed(seed)
    latents = th.randn(n_steps, n_envs, 2, generator=generator, dtype=th.float64, requires_grad=True)
    held = th.randn(n_envs, 3, generator=generator, dtype=th.float64)
    held[:, 2] = th.arange(n_envs) % 2
    held.requires_grad_()
    renew = th.rand(n_steps, n_envs, generator=generator) < density
    now, is_empty, expected = held[:, :2], held[:, 2:] == 0, []
    for latent, is_new in zip(latents, renew, strict=True):
        now = th.where(is_new[:, None] | is_empty, latent, now)
        is_empty = th.zeros_like(is_empty)
        expected.append(now)
    kept, last = hold(latents, held, renew)
    assert th.equal(kept, th.stack(expected)) and th.equal(last[:, :2], now) and (last[:, 2] == 1).all()
    weight = th.randn(n_steps, n_envs, 2, generator=generator, dtype=th.float64)
    gradients = [
        th.autograd.grad((weight * result).sum(), (latents, held), allow_unused=True)
        for result in (kept, th.stack(expected))
    ]
    for ours, theirs in zip(*gradients, strict=True):
        th.testing.assert_close(ours, th.zeros_like(ours) if theirs is None else theirs)


@pytest.mark.parametrize(("generation", "n_factors"), [("step", 7), ("episode", 3), ("trial", 1)])
def test_factors_change_where_they_are_renewed(generation, n_factors, make_policy, sample, scramble):
    policy = scramble(make_policy(POLICIES["RNNHNPolicy"], generation=generation))
    obs = policy.obs_to_tensor(sample(policy.observation_space, 7))[0]
    obs["new_episode"] = th.tensor([0.0, 0, 1, 0, 0, 1, 0])[:, None]
    resets = th.zeros(7, 1, dtype=th.bool)
    resets[0] = True
    encoded = policy.agent.encode(obs, th.zeros(1, policy.memory_dim), resets)
    factors = encoded.actor.factors.detach()
    # A matrix product may round equal rows differently.
    changes = (~factors[1:].isclose(factors[:-1], atol=1e-6)).any(dim=1).nonzero().flatten() + 1
    assert len(changes) == n_factors - 1
    assert changes.tolist() == {"step": [1, 2, 3, 4, 5, 6], "episode": [2, 5], "trial": []}[generation]
    assert policy.memory_dim == policy.agent.encoder.state_dim + (0 if generation == "step" else 25)


@pytest.mark.parametrize("generation", ["step", "episode", "trial"])
def test_nothing_of_the_trial_before_is_held(generation, make_policy, sample, scramble):
    policy = scramble(make_policy(POLICIES["RNNHNPolicy"], generation=generation))
    obs = policy.obs_to_tensor(sample(policy.observation_space, 7))[0]
    obs["new_episode"].zero_()
    resets = th.zeros(7, 1, dtype=th.bool)
    resets[3] = True
    rest = {key: x[3:] for key, x in obs.items()}
    th.manual_seed(0)
    whole = policy.agent.encode(obs, th.randn(1, policy.memory_dim), resets).actor.factors
    alone = policy.agent.encode(rest, th.zeros(1, policy.memory_dim), resets[3:]).actor.factors
    th.testing.assert_close(whole[3:], alone)


@pytest.mark.parametrize("generation", ["episode", "trial"])
def test_zeros_are_an_empty_trial_even_where_nobody_says_that_it_starts(generation, make_policy, sample, scramble):
    policy = scramble(make_policy(POLICIES["RNNHNPolicy"], generation=generation))
    obs = policy.obs_to_tensor(sample(policy.observation_space, 4))[0]
    obs["new_episode"].zero_()
    starts, silent = th.zeros(2, 4, 1, dtype=th.bool)
    starts[0] = True
    expected, found = (policy.agent.encode(obs, th.zeros(1, policy.memory_dim), resets) for resets in (starts, silent))
    assert th.equal(found.actor.factors, expected.actor.factors) and th.equal(found.memory, expected.memory)


def test_stacked_frames_end_in_the_present_flag():
    flags = {"new_episode": th.tensor([[0.0, 1], [1, 0], [0, 0]])}
    assert renewals("episode", flags, th.zeros(3, 1, dtype=th.bool)).tolist() == [[True], [False], [False]]


def test_episodes_need_trial_observations(make_policy):
    plain = (spaces.Box(-1, 1, (3,)), spaces.Discrete(2))
    assert make_policy(POLICIES["RNNHNPolicy"], plain, generation="trial").agent.held_dim == 25
    with pytest.raises(ValueError, match="the observations are not a trial's"):
        make_policy(POLICIES["RNNHNPolicy"], plain, generation="episode")
