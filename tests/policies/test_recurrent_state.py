"""The memory as sb3-contrib's hidden and cell state."""

import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.policies.recurrent_state import (
    RecurrentStateShape,
    pack_memory,
    to_sequence_major,
    to_time_major,
    unpack_memory,
)

sizes = st.integers(0, 9), st.integers(1, 5)


@settings(max_examples=50, deadline=None)
@given(*sizes)
def test_unpacking_is_the_inverse_of_packing(state_dim, n_sequences):
    memory, shape = th.randn(n_sequences, state_dim), RecurrentStateShape.of_memory(state_dim)
    states = pack_memory(memory, shape)
    assert all(x.shape == (1, n_sequences, shape.hidden_size) for pair in states for x in pair)
    assert th.equal(unpack_memory(states.pi, state_dim), memory)
    assert th.equal(unpack_memory(states.vf, state_dim), memory)
    assert 0 <= 2 * shape.hidden_size - state_dim <= (2 if state_dim == 0 else 1)


@settings(max_examples=50, deadline=None)
@given(*sizes)
def test_zero_states_are_the_empty_trial(state_dim, n_sequences):
    """What sb3-contrib allocates, and what it multiplies with 0 where a trial starts."""
    shape = RecurrentStateShape.of_memory(state_dim)
    zeros = th.zeros(shape.num_layers, n_sequences, shape.hidden_size)
    assert th.equal(unpack_memory((zeros, zeros), state_dim), th.zeros(n_sequences, state_dim))
    assert all(th.count_nonzero(x) == 0 for x in pack_memory(th.zeros(n_sequences, state_dim), shape).pi)


@pytest.mark.parametrize(("n_steps", "n_sequences"), [(4, 3), (1, 3), (4, 1)])
def test_orders(n_steps, n_sequences):
    """Element (b, t) is 10 b + t."""
    sequence_major = th.tensor([10 * b + t for b in range(n_sequences) for t in range(n_steps)])
    time_major = to_time_major(sequence_major, n_sequences)
    assert time_major.tolist() == [[10 * b + t for b in range(n_sequences)] for t in range(n_steps)]
    assert th.equal(to_sequence_major(time_major.flatten(), n_sequences), sequence_major)
