"""Rows that are repeated are computed once, and nothing else changes."""

import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from sb3_hyper.envs import TMazeLS, TrialVecEnv
from sb3_hyper.hyper_ppo import HyperPPO
from sb3_hyper.hypernetworks import distinct_rows
from sb3_hyper.hypernetworks.distinct_rows import DistinctRows, find_distinct_rows
from sb3_hyper.policies import HyperActorCriticPolicy, features


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000), st.integers(1, 8))
def test_rows_are_what_they_were(n_distinct, width, seed, limit):
    generator = th.Generator().manual_seed(seed)
    different = th.randn(n_distinct, width, generator=generator)
    x = different[th.randint(n_distinct, (80,), generator=generator)]
    rows, indices = found = find_distinct_rows(x, limit)
    assert th.equal(found.expand(), x)
    assert rows is x if indices is None else len(x.unique(dim=0)) <= len(rows) <= limit


def test_rows_that_are_alike_are_written_once():
    different = th.randn(5, 3)
    x = different[th.arange(80) % 5]
    assert find_distinct_rows(x, 4).indices is None
    rows, indices = find_distinct_rows(x, 5)
    assert len(rows) == 5 and th.equal(indices, indices[:5].repeat(16))


def test_rows_with_a_gradient_or_too_few_of_them_stay():
    x = th.ones(80, 3)
    assert find_distinct_rows(x, 10).indices is not None
    pairs = th.arange(80.0)[:, None] // 2
    assert find_distinct_rows(pairs, 40).indices is not None
    different = th.cat((pairs[:78], th.tensor([[-1.0], [-2.0]])))
    for kept, limit in ((x.clone().requires_grad_(), 10), (different, 80), (x, 0), (x[:63], 10), (x[:0], 0)):
        rows, indices = find_distinct_rows(kept, limit)
        assert rows is kept and indices is None


def test_two_rows_with_one_number_are_told_apart(monkeypatch):
    monkeypatch.setattr(distinct_rows, "row_keys", lambda x: th.zeros(len(x)))
    x = th.eye(2).repeat(40, 1)
    rows, indices = find_distinct_rows(x, 5)
    assert rows is x and indices is None


OPTIONS = [
    {},
    {"conditioning": "film"},
    {"conditioning": "state_and_latent"},
    {"conditioned_layers": [-1]},
    {"sharing": "hidden_layers"},
    {"net_arch": []},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_losses_and_gradients_are_those_of_all_rows(options, monkeypatch):
    th.manual_seed(0)
    n_steps, n_envs = 12, 6
    space = spaces.Box(-1, 1, (3,))
    policy = HyperActorCriticPolicy(space, spaces.Discrete(4), lambda _: 0.0, encoder_dim=8, state_dim=16, **options)
    for parameter in policy.parameters():
        parameter.data.add_(0.1 * th.randn_like(parameter))
    obs = th.randn(5, 3)[th.randint(5, (n_steps * n_envs,))]
    actions = th.randint(4, (n_steps * n_envs,))
    memory, resets = th.zeros(n_envs, policy.memory_dim), th.rand(n_steps, n_envs) < 0.3

    def evaluated():
        said = policy.evaluate_sequences(obs, actions, memory, resets)
        loss = said.values.square().sum() + said.log_prob.sum() + 0.3 * said.entropy.sum()
        gradients = th.autograd.grad(loss, tuple(policy.parameters()), allow_unused=True)
        return said.values, said.log_prob, said.entropy, *(g for g in gradients if g is not None)

    assert policy.agent.features(obs)[0].indices is not None
    found = evaluated()
    monkeypatch.setattr(features, "find_distinct_rows", lambda x, limit: DistinctRows(x, None))
    expected = evaluated()
    assert len(found) == len(expected) > 10
    th.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_maze_is_written_with_its_few_states():
    model = HyperPPO("SplAggerPolicy", TrialVecEnv(TMazeLS(), 4), n_steps=200, batch_size=800, n_epochs=1, seed=0)
    seen = []
    model.policy.agent.actor.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    model.learn(800)
    assert len(seen) == 1 and 1 < seen[0] <= 12
