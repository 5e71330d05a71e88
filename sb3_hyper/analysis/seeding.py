"""Random numbers from a seed that leave those of the caller alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch as th


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """
    Seed torch's generators for a while; afterwards the caller's random numbers go on as if nothing had happened.

    :param seed: the seed
    """
    # manual_seed reaches the generators of all CUDA devices, whatever is drawn from them.
    with th.random.fork_rng(devices=list(range(th.cuda.device_count()))):
        th.manual_seed(seed)
        yield
