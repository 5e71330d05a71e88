"""Spaces of tasks on the plane: boxes, so that every library knows their shape, with exact membership."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces


class _PlaneSpace(spaces.Box):
    """
    Points (x, y) whose distance from the origin lies between two numbers.

    :param nearest: The smallest distance.
    :param farthest: The largest distance.
    """

    def __init__(self, nearest: float, farthest: float) -> None:
        self.nearest = nearest
        self.farthest = farthest
        super().__init__(-farthest, farthest, (2,), np.float32)

    def contains(self, x: Any) -> bool:
        """
        Say whether this is a member, up to rounding.

        :param x: Anything that numpy can read as a vector of two numbers.
        :return: True if its distance from the origin is in the range.
        """
        try:
            point = np.asarray(x, dtype=np.float32)
        except (TypeError, ValueError):
            return False
        if point.shape != (2,) or not np.isfinite(point).all():
            return False
        return self.nearest - 1e-5 <= float(np.hypot(*point.astype(np.float64))) <= self.farthest + 1e-5

    def sample(self, mask: None = None, probability: None = None) -> npt.NDArray[Any]:
        """
        Draw a member uniformly in area, with the space's own generator.

        :param mask: Unused, as in ``Box``.
        :param probability: Unused, as in ``Box``.
        :return: float32, shape ``(2,)``.
        """
        share, angle = self.np_random.uniform(), 2 * np.pi * self.np_random.uniform()
        radius = np.sqrt(self.nearest**2 + share * (self.farthest**2 - self.nearest**2))
        return np.array([radius * np.cos(angle), radius * np.sin(angle)], np.float32)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self).get("farthest") == vars(other).get("farthest")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.farthest:g})"


class Disc(_PlaneSpace):
    """
    The points of a disc.

    :param radius: Its radius.
    """

    def __init__(self, radius: float) -> None:
        super().__init__(0.0, radius)


class Circle(_PlaneSpace):
    """
    The points of a circle: directions, where the radius is 1.

    :param radius: Its radius.
    """

    def __init__(self, radius: float) -> None:
        super().__init__(radius, radius)
