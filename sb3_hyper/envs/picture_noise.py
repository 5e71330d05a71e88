"""
Gaussian noise for whole pictures, at the cost of copying them.

Hashing one number for every pixel would cost more than all else. So a picture's noise is put together from pieces of 64
numbers: a hash of the step's key and the piece's place chooses each of them from 2^14 pieces that are drawn once.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from sb3_hyper.envs.random_stream import Array, mix

_N_PIECES_BITS, _PIECE_LENGTH = 14, 64


@lru_cache(maxsize=1)
def normal_pieces() -> npt.NDArray[np.float32]:
    """
    Draw standard normal numbers, once, by their quantiles.

    :return: Pieces of noise, shape ``(2^14, 64)``; shared, not to be written to.
    """
    inverse = NormalDist().inv_cdf
    quantiles = np.array([inverse((i + 0.5) / 2**16) for i in range(2**16)], dtype=np.float32)
    numbers = mix(mix(np.arange(2**_N_PIECES_BITS * _PIECE_LENGTH, dtype=np.int64)) + 1) >> 16
    pieces: npt.NDArray[np.float32] = quantiles[numbers].reshape(-1, _PIECE_LENGTH)
    return pieces


@lru_cache(maxsize=16)
def noise_lanes(n_numbers: int) -> npt.NDArray[np.int64]:
    """
    Number the places of pieces in a picture, hashed.

    :param n_numbers: How many numbers a picture has.
    :return: Shape ``(n_lanes,)``, enough to cover it; shared, not to be written to.
    """
    lanes: npt.NDArray[np.int64] = mix(np.arange(-(-n_numbers // _PIECE_LENGTH), dtype=np.int64) + 1)
    return lanes


def put_together(pieces: Array, lanes: Array, key: Array, n_numbers: int) -> Array:
    """
    Choose pieces by keys and join them.

    :param pieces: Pieces of noise, shape ``(2^14, 64)``.
    :param lanes: From :func:`noise_lanes`.
    :param key: Hashed numbers of 32 bits, shape ``(B,)``.
    :param n_numbers: How many numbers a picture has.
    :return: Shape ``(B, n_numbers)``, of the pieces' dtype.
    """
    xp = array_namespace(key)
    piece = mix(lanes[None, :] ^ key[:, None]) >> (32 - _N_PIECES_BITS)
    numbers = xp.take(pieces, xp.reshape(piece, (-1,)), axis=0)
    return xp.reshape(numbers, (key.shape[0], -1))[:, :n_numbers]
