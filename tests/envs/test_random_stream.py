import copy
import pickle

import array_api_compat.numpy as numpy_namespace
import array_api_compat.torch as torch_namespace
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.envs.random_stream import RandomStream, key_of_seed, mix

SEEDS = st.lists(st.integers(0, 2**70), min_size=1, max_size=5)


def slow_mix(x):
    """The published finaliser, in Python integers of any size."""
    x %= 2**32
    x = (x ^ (x >> 16)) * 0x7FEB352D % 2**32
    x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
    return x ^ (x >> 16)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8))
def test_mix_is_the_published_hash_in_every_library(values):
    expected = [slow_mix(value) for value in values]
    assert [mix(value) for value in values] == expected
    for xp in (numpy_namespace, torch_namespace):
        assert mix(xp.asarray(values, dtype=xp.int64)).tolist() == expected


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 4), st.integers(1, 1000))
def test_numpy_and_torch_draw_the_same_bits(seeds, n_draws, high):
    streams = [RandomStream(seeds, xp) for xp in (numpy_namespace, torch_namespace)]
    for _ in range(3):
        uniform = [np.asarray(stream.uniform(n_draws)) for stream in streams]
        integers = [np.asarray(stream.integers(high, n_draws)) for stream in streams]
        np.testing.assert_array_equal(*uniform)
        np.testing.assert_array_equal(*integers)
        assert uniform[0].dtype == np.float32 and uniform[0].shape == (len(seeds), n_draws)
        assert uniform[0].min() >= 0 and uniform[0].max() < 1 and integers[0].min() >= 0 and integers[0].max() < high


@settings(max_examples=30)
@given(SEEDS, st.lists(st.integers(0, 2**5 - 1), min_size=1, max_size=6))
def test_a_row_does_not_depend_on_the_others_nor_on_draws_that_it_is_masked_from(seeds, masks):
    batch = RandomStream(seeds, numpy_namespace)
    singles = [RandomStream([seed], numpy_namespace) for seed in seeds]
    for mask_bits in masks:
        mask = np.array([bool(mask_bits >> row & 1) for row in range(len(seeds))])
        drawn = batch.uniform(2, mask)
        for row in np.flatnonzero(mask):
            np.testing.assert_array_equal(drawn[row], singles[row].uniform(2)[0])


def test_numbers_are_uniform_and_unrelated():
    numbers = RandomStream(range(200), numpy_namespace)
    draws = np.stack([numbers.uniform(2) for _ in range(500)])  # (500, 200, 2)
    counts, _ = np.histogram(draws, bins=20, range=(0, 1))
    expected = draws.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 50  # chi-squared, 19 degrees of freedom: p = 1e-4
    centred = draws - 0.5
    for product in (centred[1:] * centred[:-1], centred[:, 1:] * centred[:, :-1], centred[..., 0] * centred[..., 1]):
        assert abs(product.mean()) < 5 * (1 / 12) / np.sqrt(product.size)  # in time, between seeds, between lanes


def test_keys_of_the_first_seeds_differ():
    assert len({key_of_seed(seed) for seed in range(10_000)}) > 9_990
    assert key_of_seed(1) != key_of_seed(1 + 2**32)
    assert key_of_seed(np.uint32(2**32 - 1)) == key_of_seed(2**32 - 1)


def test_reseeding_one_row_leaves_the_others():
    stream, twin = RandomStream([1, 2], numpy_namespace), RandomStream([1, 2], numpy_namespace)
    stream.uniform(), twin.uniform()
    stream.reseed(0, 7)
    drawn = stream.uniform()
    np.testing.assert_array_equal(drawn[0], RandomStream([7], numpy_namespace).uniform()[0])
    np.testing.assert_array_equal(drawn[1], twin.uniform()[1])


@pytest.mark.parametrize("xp", [numpy_namespace, torch_namespace])
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_alike(xp, clone):
    stream = RandomStream([3, 4], xp)
    stream.uniform()
    twin = clone(stream)
    np.testing.assert_array_equal(np.asarray(stream.uniform(3)), np.asarray(twin.uniform(3)))


def test_negative_seed():
    with pytest.raises(ValueError, match="non-negative integer, got -1"):
        RandomStream([-1], numpy_namespace)
