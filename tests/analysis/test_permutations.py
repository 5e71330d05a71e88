"""Dependence on order: what is blind to it, what is not, and the published figures."""

import numpy as np
import pytest
import torch as th
from torch import nn

from sb3_hyper.aggregators import AGGREGATORS
from sb3_hyper.analysis import LatentEncoder, Subject, find_subject, permutation_distances
from sb3_hyper.analysis.permutations import distance_to_reordered
from sb3_hyper.analysis.published import PERMUTATION, STEPS
from sb3_hyper.analysis.subjects import uniform_inputs
from sb3_hyper.encoders import AggregatedEncoder, PointwiseEncoder


@pytest.fixture(scope="module")
def measured():
    return {name: permutation_distances(find_subject(name), STEPS) for name in PERMUTATION}


@pytest.mark.parametrize("name", PERMUTATION)
def test_published_distances(measured, name):
    ours = measured[name].prefix.mean(axis=0)
    # At t = 1 every second permutation is the identity: three seeds and three permutations gave 0.2.
    np.testing.assert_allclose(ours, PERMUTATION[name], atol=0.15)


def test_what_the_paper_concludes_from_them(measured):
    rnn, splagger = (measured[name].prefix[:, -1].mean() for name in ("RNNHNPolicy", "SplAggerPolicy"))
    assert 0.35 < splagger / rnn < 0.65
    # The straight-through gradient changes no value.
    assert measured["AMRLPolicy"].prefix.tolist() == measured["SplAggerPolicy"].prefix.tolist()


@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_without_recurrence_no_aggregator_knows_the_order(aggregator):
    def make(seed):
        encoder = AggregatedEncoder(PointwiseEncoder(80, 256), aggregator, split=False)
        return LatentEncoder(encoder, nn.Linear(encoder.output_dim, 24))

    result = permutation_distances(Subject(aggregator, make), STEPS, n_seeds=2)
    assert result.prefix.max() < 1e-6 and result.past.max() < 1e-6


def test_a_skip_half_knows_the_current_transition_and_no_other():
    result = permutation_distances(find_subject("SplAggerNoRNNPolicy"), [0, 10], n_seeds=1)
    assert result.past.max() < 1e-6 and result.prefix[0, 1] > 0.1


def test_a_current_transition_that_stays(narrow):
    result = permutation_distances(find_subject("gru", narrow), [0, 1, 8], length=9, n_seeds=2)
    # Of the past alone there is nothing to permute before t = 2.
    assert (result.past[:, :2] == 0).all() and (result.past[:, 2] > 0.01).all()


def test_distances_are_those_of_one_sequence_after_the_other(narrow):
    network, x = find_subject("gru", narrow).draw(0), uniform_inputs(0, 7, narrow.input_dim)
    orders = th.stack([th.randperm(7) for _ in range(5)], dim=1)
    first = network(x)[-1, 0].detach()
    expected = []
    for order in orders.t():
        last = network(x[order])[-1, 0].detach()
        expected.append(float((first / first.norm() - last / last.norm()).norm()))
    assert distance_to_reordered(network, x, orders) == pytest.approx(np.mean(expected), rel=1e-5)
    identity = th.arange(7)[:, None]
    assert distance_to_reordered(network, x, identity) < 1e-6


def test_table_and_json(narrow):
    result = permutation_distances(find_subject("lstm", narrow), [0, 3], length=5, n_seeds=2, n_permutations=3)
    assert result.to_dict()["prefix"] == result.prefix.tolist() and result.to_dict()["steps"] == [0, 3]
    assert "lstm, t =" in result.table()
    with pytest.raises(ValueError, match="n_permutations=0"):
        permutation_distances(find_subject("lstm", narrow), [0], n_permutations=0)
