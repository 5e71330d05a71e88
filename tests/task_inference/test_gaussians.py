"""Divergences and entropies against torch's, and the chain of beliefs against a loop."""

import hypothesis.strategies as st
import torch as th
from hypothesis import given, settings
from torch.distributions import Independent, Normal, kl_divergence

from sb3_hyper.task_inference.gaussians import gaussian_entropy, gaussian_kl, kl_chain


def normal(mean, log_variance):
    return Independent(Normal(mean, (0.5 * log_variance).exp()), 1)


def beliefs(seed, *shape):
    generator = th.Generator().manual_seed(seed)
    return th.randn(2, *shape, generator=generator, dtype=th.float64).unbind(0)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), D=st.integers(1, 5))
def test_closed_forms(seed, D):
    q, p = beliefs(seed, 3, 2, D), beliefs(seed + 1, 3, 2, D)
    th.testing.assert_close(gaussian_kl(*q, *p), kl_divergence(normal(*q), normal(*p)))
    th.testing.assert_close(gaussian_kl(*q, *q), th.zeros(3, 2, dtype=th.float64))
    th.testing.assert_close(gaussian_entropy(q[1]), normal(*q).entropy())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), T=st.integers(1, 6), to_previous=st.booleans())
def test_chain_is_a_loop(seed, T, to_previous):
    mean, log_variance = beliefs(seed, T, 2, 3)
    standard = normal(th.zeros(2, 3, dtype=th.float64), th.zeros(2, 3, dtype=th.float64))
    expected, prior = [], standard
    for t in range(T):
        belief = normal(mean[t], log_variance[t])
        expected.append(kl_divergence(belief, prior))
        prior = belief if to_previous else standard
    th.testing.assert_close(kl_chain(mean, log_variance, to_previous), th.stack(expected))
