"""Means by episode against a loop that counts."""

import math
from itertools import pairwise

import hypothesis.strategies as st
import torch as th
from hypothesis import given, settings

from sb3_hyper.task_inference.episode_means import N_LOGGED_EPISODES, episode_means, named_episode_means


def counted(values, resets, new_episode, mask):
    found = {}
    for b in range(values.shape[1]):
        episode = None
        for t in range(len(values)):
            if resets[t, b]:
                episode = 0
            elif episode is not None and new_episode[t, b]:
                episode += 1
            if episode is not None and episode < N_LOGGED_EPISODES and mask[t, b]:
                found.setdefault(episode, []).append(values[t, b].item())
    return [sum(found[k]) / len(found[k]) if k in found else math.nan for k in range(N_LOGGED_EPISODES)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), T=st.integers(1, 40), B=st.integers(1, 4), rate=st.sampled_from([0.1, 0.5, 1.0]))
def test_means_are_those_of_a_loop(seed, T, B, rate):
    generator = th.Generator().manual_seed(seed)
    values = th.rand(T, B, generator=generator)
    resets = th.rand(T, B, generator=generator) < 0.1
    new_episode = (th.rand(T, B, generator=generator) < rate) & ~resets
    mask = th.rand(T, B, generator=generator) < 0.8
    expected = th.tensor(counted(values, resets, new_episode, mask))
    th.testing.assert_close(episode_means(values, resets, new_episode, mask), expected, equal_nan=True)
    everything = th.tensor(counted(values, resets, new_episode, th.ones_like(mask)))
    th.testing.assert_close(episode_means(values, resets, new_episode), everything, equal_nan=True)


def test_names_count_from_one():
    named = named_episode_means("error", th.arange(N_LOGGED_EPISODES))
    assert all(b - a == 1 for a, b in pairwise(value.item() for value in named.values()))
    assert named["episode_1_error"] == 0
