"""Rows that are repeated: in grids, mazes and tables many frames show the same state."""

from functools import cache
from typing import NamedTuple

import torch as th

FEWEST_ROWS = 64
"""Fewer rows are not worth a look: computing them all takes no longer."""


class DistinctRows(NamedTuple):
    """
    N rows, those that are alike written once.

    :param rows: ``(U, D)``
    :param indices: ``(N,)`` which of them each of the N is; None: they are the N rows themselves
    """

    rows: th.Tensor
    indices: th.Tensor | None

    def expand(self) -> th.Tensor:
        """All rows, ``(N, D)``."""
        return self.rows if self.indices is None else self.rows[self.indices]


def row_keys(x: th.Tensor) -> th.Tensor:
    """
    A number for each row, by which rows that are alike can be found: ``(N, D) -> (N,)``.

    Numbers are sorted a hundred times faster than rows. They are no proof: different rows may get the same one, and
    rows that are alike two that differ in the last digit.
    """
    return x @ _direction(x.shape[1], x.dtype)


@cache
def _direction(width: int, dtype: th.dtype) -> th.Tensor:
    return th.randn(width, generator=th.Generator().manual_seed(0), dtype=dtype, device="cpu")


def find_distinct_rows(x: th.Tensor, limit: int) -> DistinctRows:
    """
    Write rows that are alike once, where there are few of them.

    What is a function of a row alone then has to be computed ``limit`` times at most, instead of N times. Rows that
    carry a gradient stay as they are, because alike ones may have come from different things. So do those on a GPU,
    which would have to be waited for.

    :param x: ``(N, D)`` rows
    :param limit: how many distinct rows are still few; more than half of N never are
    :return: the rows
    """
    limit = min(limit, len(x) // 2)
    if x.requires_grad or x.device.type != "cpu" or limit < 1 or len(x) < FEWEST_ROWS:
        return DistinctRows(x, None)
    _, indices = th.unique(row_keys(x), return_inverse=True)
    n_rows = int(indices.max()) + 1
    if n_rows > limit:
        return DistinctRows(x, None)
    rows = x[indices.new_empty(n_rows).scatter_(0, indices, th.arange(len(x), device=x.device))]
    return DistinctRows(rows, indices) if th.equal(rows[indices], x) else DistinctRows(x, None)
