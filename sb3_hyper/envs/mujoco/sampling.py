"""From uniform numbers to tasks and initial states, on the host, where every device gets the same bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sb3_hyper.envs.task import Split

Floats = npt.NDArray[np.float64]
N_CELLS = 20
_MOST = 1 - 2.0**-16


def restrict(uniform: Floats, split: Split | None) -> Floats:
    """
    Bring uniform numbers into the cells of a split.

    [0, 1) is cut into 20 equal cells. Every fourth of them is "test", the others are "train".

    :param uniform: Numbers in [0, 1).
    :param split: None changes nothing.
    :return: Numbers of the same shape, uniform in the split's cells; a hair below a cell's upper end, so that rounding
        takes none out of it.
    """
    if split is None:
        return uniform
    scaled = uniform * (N_CELLS // 4 if split == "test" else N_CELLS - N_CELLS // 4)
    index = np.floor(scaled)
    cell = 4 * index + 3 if split == "test" else index + index // 3
    return (cell + np.minimum(scaled - index, _MOST)) / N_CELLS


def standard_normal(uniform: Floats) -> Floats:
    """
    Make normal numbers of uniform ones by the method of Box and Muller (1958).

    :param uniform: Numbers in [0, 1), shape ``(B, 2 * n)``.
    :return: Shape ``(B, n)``.
    """
    first, second = np.split(uniform, 2, axis=1)
    normal: Floats = np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)
    return normal
