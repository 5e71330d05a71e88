"""
Pieces: a batch of sequences cut at trial starts and batched again, so that no step of a scan has to ask for resets.
"""

from dataclasses import dataclass

import numpy as np
import torch as th


@dataclass(frozen=True)
class Pieces:
    """
    Sequences ``(T, B)`` cut into P pieces, longest first; a piece lies inside one trial.

    :param shape: ``(T, B)`` of the sequences
    :param lengths: length of each piece, descending
    :param batch_sizes: how many pieces are longer than t, for each t: ``PackedSequence``'s meaning
    :param padded_index: ``(max length, P)`` rows of the flattened sequences; a piece's last row fills the rest
    :param packed_index: ``(T * B,)`` the same without padding, in ``PackedSequence`` order
    :param sequence_index: ``(P,)`` the sequence that a piece was cut from
    :param carried: ``(P, 1)`` whether a piece goes on with the memory that its sequence came with
    """

    shape: tuple[int, int]
    lengths: list[int]
    batch_sizes: list[int]
    padded_index: th.Tensor
    packed_index: th.Tensor
    sequence_index: th.Tensor
    carried: th.Tensor

    def initial_state(self, state: th.Tensor) -> th.Tensor:
        """The state that each piece starts from: carried, or zero after a reset. ``(B, S) -> (P, S)``."""
        return th.where(self.carried, state[self.sequence_index], 0.0)

    def pad(self, sequences: th.Tensor) -> th.Tensor:
        """``(T, B, D) -> (max length, P, D)``."""
        return sequences.flatten(0, 1)[self.padded_index]

    def unpad(self, padded: th.Tensor) -> th.Tensor:
        """``(max length, P, D) -> (T, B, D)``: the inverse of :meth:`pad`."""
        rows = th.empty_like(self.packed_index)
        valid = th.arange(padded.shape[0], device=rows.device)[:, None] < th.tensor(self.lengths, device=rows.device)
        rows[self.packed_index] = valid.flatten().nonzero().squeeze(1)
        return th.unflatten(padded.flatten(0, 1)[rows], 0, self.shape)

    def pack(self, sequences: th.Tensor) -> th.Tensor:
        """``(T, B, D) -> (T * B, D)``, in ``PackedSequence`` order."""
        return sequences.flatten(0, 1)[self.packed_index]

    def unpack(self, packed: th.Tensor) -> th.Tensor:
        """``(T * B, D) -> (T, B, D)``: the inverse of :meth:`pack`."""
        rows = th.empty_like(self.packed_index)
        rows[self.packed_index] = th.arange(len(rows), device=rows.device)
        return th.unflatten(packed[rows], 0, self.shape)

    def last_state(self, piece_states: th.Tensor) -> th.Tensor:
        """The state after each sequence's last step, from the states after each piece. ``(P, S) -> (B, S)``."""
        n_steps, n_sequences = self.shape
        is_last = self.padded_index[-1] >= (n_steps - 1) * n_sequences
        rows = th.empty(n_sequences, dtype=th.long, device=is_last.device)
        last = is_last.nonzero().squeeze(1)
        rows[self.sequence_index[last]] = last
        return piece_states[rows]


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
    sequence, start = np.nonzero(starts.T)
    stop = np.where(np.append(sequence[1:], -1) == sequence, np.append(start[1:], n_steps), n_steps)
    order = np.argsort(start - stop, kind="stable")
    sequence, start, lengths = sequence[order], start[order], (stop - start)[order]
    time = np.arange(lengths[0])[:, None]
    # (max length, P) -> rows of the flattened (T * B)
    padded = (start + np.minimum(time, lengths - 1)) * n_sequences + sequence
    valid = time < lengths
    device = resets.device
    return Pieces(
        shape=(n_steps, n_sequences),
        lengths=lengths.tolist(),
        batch_sizes=valid.sum(axis=1).tolist(),
        padded_index=th.as_tensor(padded, device=device),
        packed_index=th.as_tensor(padded[valid], device=device),
        sequence_index=th.as_tensor(sequence, device=device),
        carried=th.as_tensor((carried[sequence] & (start == 0))[:, None], device=device),
    )
