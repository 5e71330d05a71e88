"""Pieces: cutting sequences at trial starts, and putting them together again."""

import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from sb3_hyper.pieces import cut_at_resets


@st.composite
def resets_of_sequences(draw):
    n_steps, n_sequences = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    flags = st.lists(st.booleans(), min_size=n_steps * n_sequences, max_size=n_steps * n_sequences)
    return th.tensor(draw(flags)).view(n_steps, n_sequences)


def cut_by_hand(sequences, resets):
    """``(rows of a piece, sequence, whether it starts in the middle of a trial)``, in order of sequences and time."""
    pieces = []
    for b in range(resets.shape[1]):
        starts = sorted({0, *resets[:, b].nonzero().flatten().tolist()})
        for start, stop in zip(starts, [*starts[1:], len(resets)], strict=True):
            pieces.append((sequences[start:stop, b], b, start == 0 and not resets[0, b]))
    return sorted(pieces, key=lambda piece: -len(piece[0]))


def numbered(resets, width=2):
    return th.arange(resets.numel() * width).view(*resets.shape, width)


@settings(max_examples=60, deadline=None)
@given(resets=resets_of_sequences())
def test_pieces_are_those_cut_by_hand(resets):
    sequences, pieces = numbered(resets), cut_at_resets(resets)
    expected = cut_by_hand(sequences, resets)
    assert pieces.source.tolist() == [sequence for _, sequence, _ in expected]
    assert pieces.carried.flatten().tolist() == [carried for _, _, carried in expected]
    packed = pack_sequence([rows for rows, _, _ in expected])
    assert pieces.batch_sizes == packed.batch_sizes.tolist()
    assert th.equal(pieces.pack(sequences), packed.data)


@settings(max_examples=60, deadline=None)
@given(resets=resets_of_sequences())
def test_unpack_is_the_inverse_of_pack(resets):
    sequences, pieces = numbered(resets), cut_at_resets(resets)
    assert th.equal(pieces.unpack(pieces.pack(sequences)), sequences)


@settings(max_examples=60, deadline=None)
@given(resets=resets_of_sequences())
def test_states_at_both_ends(resets):
    pieces = cut_at_resets(resets)
    state = 1.0 + th.arange(resets.shape[1])[:, None]
    initial = pieces.initial_state(state)
    expected = cut_by_hand(numbered(resets), resets)
    assert initial.flatten().tolist() == [sequence + 1.0 if carried else 0.0 for _, sequence, carried in expected]
    # The last row of each piece stands for the state after it.
    last_rows = th.stack([rows[-1] for rows, _, _ in expected])
    assert th.equal(pieces.last_state(last_rows), numbered(resets)[-1])


@settings(max_examples=30, deadline=None)
@given(resets=resets_of_sequences())
def test_gradients_go_back_to_where_the_rows_came_from(resets):
    sequences = numbered(resets).double().requires_grad_()
    pieces, weights = cut_at_resets(resets), th.rand(resets.numel(), 2, dtype=th.double)
    (pieces.pack(sequences) * weights).sum().backward()
    th.testing.assert_close(sequences.grad, pieces.unpack(weights))


def test_gradient_of_a_carried_state_stops_at_resets():
    state = th.ones(2, 3, requires_grad=True)
    resets = th.tensor([[False, True], [True, False]])
    cut_at_resets(resets).initial_state(state).sum().backward()
    assert th.equal(state.grad, th.tensor([[1.0] * 3, [0.0] * 3]))


@pytest.mark.parametrize("bad", [th.nan, th.inf])
def test_a_reset_hides_a_state_that_is_no_number(bad):
    state = th.full((1, 3), bad)
    assert th.equal(cut_at_resets(th.tensor([[True]])).initial_state(state), th.zeros(1, 3))
