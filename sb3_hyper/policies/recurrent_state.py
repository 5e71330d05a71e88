"""
The border to sb3-contrib: the whole memory as one vector, packed into the hidden and cell state of a pretended one-
layer LSTM.
"""

from typing import NamedTuple

import torch as th
from sb3_contrib.common.recurrent.type_aliases import RNNStates


class RecurrentStateShape(NamedTuple):
    """
    What sb3-contrib reads off ``policy.lstm_actor``: the shape of the states that it allocates, stores and zeroes.
    """

    num_layers: int
    hidden_size: int

    @classmethod
    def of_memory(cls, state_dim: int) -> "RecurrentStateShape":
        """The smallest shape whose hidden and cell state together hold ``state_dim`` numbers."""
        return cls(num_layers=1, hidden_size=max(1, (state_dim + 1) // 2))


def pack_memory(memory: th.Tensor, shape: RecurrentStateShape) -> RNNStates:
    """
    Memory to sb3-contrib's states; actor and critic share it.

    :param memory: ``(B, state_dim)``
    :param shape: from :meth:`RecurrentStateShape.of_memory`
    :return: hidden and cell state ``(1, B, hidden_size)``, the same tensors for actor and critic
    """
    padded = th.nn.functional.pad(memory, (0, 2 * shape.hidden_size - memory.shape[1]))
    hidden, cell = padded[None].chunk(2, dim=-1)
    return RNNStates((hidden, cell), (hidden, cell))


def unpack_memory(states: tuple[th.Tensor, ...], state_dim: int) -> th.Tensor:
    """The inverse of :func:`pack_memory`: hidden and cell state ``(1, B, hidden_size)`` to ``(B, state_dim)``."""
    return th.cat(tuple(states), dim=-1)[0, :, :state_dim]


def to_time_major(x: th.Tensor, n_sequences: int) -> th.Tensor:
    """sb3-contrib's flat order, sequence after sequence, to time-major: ``(B * T, …) -> (T, B, …)``."""
    return th.unflatten(x, 0, (n_sequences, -1)).transpose(0, 1)


def to_sequence_major(x: th.Tensor, n_sequences: int) -> th.Tensor:
    """The inverse of :func:`to_time_major` for flat results: ``(T * B, …) -> (B * T, …)``."""
    return th.unflatten(x, 0, (-1, n_sequences)).transpose(0, 1).flatten(0, 1)
