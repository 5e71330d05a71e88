"""Counter-based random numbers that are the same bits for numpy and torch, for a batch of one and of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, to_device

Array: TypeAlias = Any
"""An array of any library that follows the array API standard; here numpy arrays and torch tensors."""

_MASK_32 = 0xFFFFFFFF
_GOLDEN_RATIO = 0x9E3779B1
_MULTIPLIER_1 = 0x7FEB352D
# 0x846CA68B - 2**32: equal modulo 2**32, and |x * multiplier| < 2**63 for a 32-bit x, so int64 never overflows.
_MULTIPLIER_2 = 0x846CA68B - 2**32
_N_BITS = 24


def mix(x: Array) -> Array:
    """
    Avalanche a 32-bit integer: every input bit flips every output bit with probability close to one half.

    The finaliser "lowbias32" of C. Wellons (Hash Function Prospector): three xor-shifts and two multiplications.

    :param x: Integers of any shape (a Python int, or an int64 array); only the low 32 bits are used.
    :return: New integers in [0, 2^32), same shape.
    """
    x = x & _MASK_32
    x = ((x ^ (x >> 16)) * _MULTIPLIER_1) & _MASK_32
    x = ((x ^ (x >> 15)) * _MULTIPLIER_2) & _MASK_32
    return x ^ (x >> 16)


def key_of_seed(seed: int) -> int:
    """
    Hash a seed of any size to the 32-bit key of a stream.

    :param seed: A non-negative integer.
    :return: The key, in [0, 2^32).
    :raises ValueError: If the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"A seed must be a non-negative integer, got {seed}.")
    seed = int(seed)
    key = 0
    while True:
        key = int(mix(key ^ mix(seed + _GOLDEN_RATIO)))
        seed >>= 32
        if seed == 0:
            return key


class RandomStream:
    """
    One random stream per environment of a batch.

    Draw number ``counter`` of lane ``l`` is ``mix(mix(counter + l * golden_ratio) ^ key)``, of which 24 bits are kept
    so that a uniform number is exact in float32. Nothing depends on the other rows of the batch: environment ``i`` of a
    batch seeded with ``[s, s + 1, ...]`` sees the numbers of a single environment seeded with ``s + i``.

    :param seeds: One seed per environment, shape ``(B,)``.
    :param xp: The array namespace (``array_api_compat.numpy`` or ``array_api_compat.torch``).
    :param device: The device of the arrays; None for the namespace's default.
    """

    def __init__(self, seeds: Sequence[int], xp: Any, device: Any = None) -> None:
        self.xp = xp
        self.device = device
        keys = [key_of_seed(seed) for seed in seeds]
        self.key: Array = xp.asarray(keys, dtype=xp.int64, device=device)
        self.counter: Array = xp.zeros(len(keys), dtype=xp.int64, device=device)
        self._lanes: dict[int, Array] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "xp"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A namespace is a module, which does not pickle.
        self.xp = array_namespace(self.key)

    def reseed(self, index: int, seed: int) -> None:
        """
        Start the stream of one environment afresh.

        :param index: Which environment.
        :param seed: Its new seed.
        """
        self.key[index] = key_of_seed(seed)
        self.counter[index] = 0

    def elsewhere(self, xp: Any, device: Any = None) -> RandomStream:
        """
        Go on with other arrays: the numbers that come next are the same.

        :param xp: Their array namespace.
        :param device: Their device; None for the namespace's default.
        :return: The stream, independent of this one from here on.
        """
        stream = RandomStream([], xp, device)
        for name in ("key", "counter"):
            numbers = np.asarray(to_device(getattr(self, name), "cpu"))
            setattr(stream, name, xp.asarray(numbers.copy(), device=device))
        return stream

    def _bits(self, n_draws: int, mask: Array | None) -> Array:
        """Hash (B,), (n_draws,) -> (B, n_draws) to integers of 24 bits and advance the counters of the rows in mask."""
        lanes = self._lanes.get(n_draws)
        if lanes is None:
            lanes = self.xp.arange(n_draws, dtype=self.xp.int64, device=self.device)[None, :] * _GOLDEN_RATIO
            self._lanes[n_draws] = lanes
        bits = mix(mix(self.counter[:, None] + lanes) ^ self.key[:, None]) >> (32 - _N_BITS)
        self.counter = self.counter + (1 if mask is None else self.xp.astype(mask, self.xp.int64))
        return bits

    def uniform(self, n_draws: int = 1, mask: Array | None = None) -> Array:
        """
        Draw uniform numbers.

        :param n_draws: How many per environment.
        :param mask: Bool, shape ``(B,)``: the environments whose stream advances; None for all.
        :return: float32 in [0, 1), shape ``(B, n_draws)``.
        """
        return self.xp.astype(self._bits(n_draws, mask), self.xp.float32) * 2.0**-_N_BITS

    def integers(self, high: int, n_draws: int = 1, mask: Array | None = None) -> Array:
        """
        Draw uniform integers.

        :param high: Number of values, at most 2^24; a value's probability is exact to 2^-24.
        :param n_draws: How many per environment.
        :param mask: Bool, shape ``(B,)``: the environments whose stream advances; None for all.
        :return: int64 in [0, high), shape ``(B, n_draws)``.
        """
        return (self._bits(n_draws, mask) * high) >> _N_BITS
