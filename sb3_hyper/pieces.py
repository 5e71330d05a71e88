"""Pieces: a batch of sequences cut at trial starts and batched again, so that no step has to ask for resets."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th


@dataclass(frozen=True)
class Pieces:
    """
    Sequences ``(T, B)`` cut into P pieces, longest first; a piece lies inside one trial.

    :param shape: ``(T, B)`` of the sequences
    :param batch_sizes: how many pieces are longer than t, for each t: ``PackedSequence``'s meaning
    :param packed_index: ``(T * B,)`` rows of the flattened sequences in ``PackedSequence`` order
    :param sequence_index: ``(T * B,)`` the inverse permutation
    :param source: ``(P,)`` the sequence that a piece was cut from
    :param carried: ``(P, 1)`` whether a piece goes on with the memory that its sequence came with
    :param last_piece: ``(B,)`` the piece that a sequence ends with
    """

    shape: tuple[int, int]
    batch_sizes: list[int]
    packed_index: th.Tensor
    sequence_index: th.Tensor
    source: th.Tensor
    carried: th.Tensor
    last_piece: th.Tensor

    def initial_state(self, state: th.Tensor) -> th.Tensor:
        """The state that each piece starts from: carried, or zero after a reset. ``(B, S) -> (P, S)``."""
        return th.where(self.carried, state[self.source], 0.0)

    def last_state(self, piece_states: th.Tensor) -> th.Tensor:
        """The state after each sequence's last step, from the states after each piece. ``(P, S) -> (B, S)``."""
        return piece_states[self.last_piece]

    def pack(self, sequences: th.Tensor) -> th.Tensor:
        """``(T, B, D) -> (T * B, D)``, in ``PackedSequence`` order."""
        return _permute(sequences.flatten(0, 1), self.packed_index, self.sequence_index)

    def unpack(self, packed: th.Tensor) -> th.Tensor:
        """``(T * B, D) -> (T, B, D)``: the inverse of :meth:`pack`."""
        return th.unflatten(_permute(packed, self.sequence_index, self.packed_index), 0, self.shape)


class _Permutation(th.autograd.Function):
    """Rows in another order; unlike an index's, its gradient is an index too and not a scattered sum."""

    @staticmethod
    def forward(ctx: Any, rows: th.Tensor, order: th.Tensor, inverse: th.Tensor) -> th.Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: th.Tensor) -> tuple[th.Tensor, None, None]:
        return grad_outputs[0].index_select(0, ctx.saved_tensors[0]), None, None


def _permute(rows: th.Tensor, order: th.Tensor, inverse: th.Tensor) -> th.Tensor:
    permuted: th.Tensor = _Permutation.apply(rows, order, inverse)  # type: ignore[no-untyped-call]
    return permuted


def cut_at_resets(resets: th.Tensor) -> Pieces:
    """
    Cut sequences wherever a trial starts.

    The cut is planned on the CPU: one copy of ``resets`` from the device for each call.

    :param resets: ``(T, B)`` bool, whether a trial starts at this step
    :return: the pieces
    """
    n_steps, n_sequences = resets.shape
    starts = resets.detach().cpu().numpy().astype(bool)
    carried = ~starts[0]
    starts = starts.copy()
    starts[0] = True
    # Sequence after sequence, so that the piece that follows in the list starts where this one ends.
    source, start = np.nonzero(starts.T)
    stop = np.where(np.append(source[1:], -1) == source, np.append(start[1:], n_steps), n_steps)
    order = np.argsort(start - stop, kind="stable")
    source, start, stop = source[order], start[order], stop[order]
    time = np.arange(stop[0] - start[0])[:, None]
    valid = time < stop - start
    # (max length, P) -> rows of the flattened (T * B), without those behind a piece's end
    packed_index = ((start + time) * n_sequences + source)[valid]
    is_last = np.flatnonzero(stop == n_steps)
    device = resets.device
    return Pieces(
        shape=(n_steps, n_sequences),
        batch_sizes=valid.sum(axis=1).tolist(),
        packed_index=th.as_tensor(packed_index, device=device),
        sequence_index=th.as_tensor(np.argsort(packed_index), device=device),
        source=th.as_tensor(source, device=device),
        carried=th.as_tensor((carried[source] & (start == 0))[:, None], device=device),
        last_piece=th.as_tensor(is_last[np.argsort(source[is_last])], device=device),
    )
