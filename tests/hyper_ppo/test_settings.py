"""Settings are checked before a step is taken, and what an error proposes works."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_contrib.ppo_recurrent.policies import MlpLstmPolicy
from stable_baselines3.common.policies import ActorCriticPolicy

from sb3_hyper.hyper_ppo import HyperPPO
from sb3_hyper.hyper_ppo.settings import sequence_length

small = st.integers(1, 40)


@settings(max_examples=300, deadline=None)
@given(n_steps=small, n_envs=st.integers(1, 6), batch_size=st.integers(1, 250), bptt_length=st.none() | small)
def test_sequences_tile_minibatches_and_minibatches_the_rollout(n_steps, n_envs, batch_size, bptt_length):
    arguments = {"n_steps": n_steps, "n_envs": n_envs, "batch_size": batch_size, "bptt_length": bptt_length}
    try:
        length = sequence_length(**arguments)
    except ValueError as error:
        check_proposal(str(error), arguments)
    else:
        assert n_steps % length == batch_size % length == n_steps * n_envs % batch_size == 0
        assert bptt_length in (None, length)


def check_proposal(message, arguments):
    """Every error ends in a setting to take instead; at most one more error follows from it."""
    proposal = re.search(r"Use batch_size=(\d+)", message)
    if proposal:
        assert sequence_length(**{**arguments, "batch_size": int(proposal[1])})
        return
    name, value = re.search(r"or a (\w+) that divides n_steps, for example (\d+)", message).groups()
    fixed = {**arguments, name: int(value)}
    try:
        sequence_length(**fixed)
    except ValueError as error:
        proposal = re.search(r"Use batch_size=(\d+)", str(error))
        assert sequence_length(**{**fixed, "batch_size": int(proposal[1])})


def test_default_length():
    assert sequence_length(20, 4, 40, None) == 20
    assert sequence_length(20, 4, 10, None) == 10
    assert sequence_length(20, 4, 40, 5) == 5


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_steps": 12, "batch_size": 8}, "length 8 do not tile.*n_steps=12, n_envs=3.*another multiple of n_steps"),
        ({"n_steps": 12, "batch_size": 24}, "24 steps do not tile a rollout of 36.*Use batch_size="),
        ({"bptt_length": 5}, "length 5 do not tile.*bptt_length that divides n_steps, for example 4"),
        ({"bptt_length": 0}, "length 0 do not tile"),
        ({"value_loss": "hubert"}, "Unknown value loss 'hubert'.*Did you mean 'huber'"),
        ({"clip_range_vf": -0.1}, "clip_range_vf=-0.1 must be positive.*None"),
        ({"policy": "SplAgerPolicy"}, "SplAgerPolicy"),
        ({"policy_kwargs": {"size": "XXS"}}, "Unknown size 'XXS'"),
    ],
)
def test_impossible_settings_are_refused(make_model, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_model(**kwargs)


@pytest.mark.parametrize("policy", [MlpLstmPolicy, ActorCriticPolicy])
def test_policies_that_are_not_ours_are_refused(make_envs, policy):
    with pytest.raises(TypeError, match=rf"{policy.__name__}.*HyperActorCriticPolicy"):
        HyperPPO(policy, make_envs(trial=False))


def test_whole_rollout_is_the_minibatch_without_a_batch_size(make_model, collect):
    model = make_model(batch_size=None)
    assert [len(batch.returns) for batch in collect(model).get(36)] == [36]
    model.learn(36)
