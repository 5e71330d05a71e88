"""Mine mazes whose pictures are bytes, larger and channel-first, as convolutional policies want them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.mine_maze import MineMaze, MineMazeHidden, MineMazeNoise, MineMazeOrder
from sb3_hyper.envs.mine_maze_frames import frame_images
from sb3_hyper.envs.picture_noise import normal_pieces
from sb3_hyper.envs.random_stream import Array

_BYTES_PER_UNIT = 127.5
"""A picture in [-1, 1] has this many bytes to the unit."""


class MineMazePixels(MineMaze):
    """
    MC-LS whose observation is a picture for a convolutional policy: uint8, shape ``(3, image_size, image_size)``.

    Everything else is as in :class:`MineMaze`. ``MultiInputPolicy`` and the policies of this package read the picture
    with SB3's ``NatureCNN``, which wants at least 36 pixels along an edge.

    :param rooms: Number of rooms, at least 1; None for as many as in the paper.
    :param image_size: Pixels along an edge, at least 6; None for 64.
    :param noise: Standard deviation of Gaussian noise, in units of which the picture spans 2; rounded and clipped. None
        for that of the paper.
    :param time_limit: The most steps of an episode, at least as many as the way has moves.
    :param split: Must be None: a learner needs all tasks.
    :raises ValueError: If a number is out of range, or a split is asked for.
    """

    default_image_size: ClassVar[int] = 64

    def _image_space(self) -> spaces.Box[Any]:
        return spaces.Box(0, 255, (3, self.image_size, self.image_size), np.uint8)

    @property
    def frames(self) -> npt.NDArray[Any]:
        """All pictures as they are observed, one a row."""
        return _channel_first_frames(self.image_size)

    @property
    def noise_pieces(self) -> npt.NDArray[Any]:
        """What is added to pictures, in pieces."""
        return _byte_noise_pieces(self.noise)

    def _with_noise(self, images: Array, noise: Array) -> Array:
        xp = array_namespace(images)
        return xp.astype(xp.clip(xp.astype(images, xp.int16) + noise, 0, 255), xp.uint8)


class MineMazePixelsOrder(MineMazePixels, MineMazeOrder):
    """:class:`MineMazeOrder`, seen as in :class:`MineMazePixels`."""


class MineMazePixelsNoise(MineMazePixels, MineMazeNoise):
    """:class:`MineMazeNoise`, seen as in :class:`MineMazePixels`."""


class MineMazePixelsHidden(MineMazePixels, MineMazeHidden):
    """:class:`MineMazeHidden`, seen as in :class:`MineMazePixels`."""


@lru_cache(maxsize=4)
def _byte_noise_pieces(standard_deviation: float) -> npt.NDArray[np.int16]:
    pieces = normal_pieces() * (standard_deviation * _BYTES_PER_UNIT)
    # More than 255 makes no difference after clipping, and int16 holds no more than 32,767.
    return pieces.round().clip(-255, 255).astype(np.int16)


@lru_cache(maxsize=16)
def _channel_first_frames(size: int) -> npt.NDArray[np.uint8]:
    # (n, height, width, 3) -> (n, 3, height, width)
    return np.ascontiguousarray(frame_images(size).transpose(0, 3, 1, 2))
