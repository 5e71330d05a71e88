"""A small deterministic ray-caster for worlds of textured unit cubes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

TEXTURE_SIZE = 16
"""Texels along an edge of a block."""
AIR = 0
"""The block that rays pass through."""

_RAYS_PER_SIDE = 64
_FACE_LIGHT = np.array([0.86, 1.00, 0.80])
_REACH = 9.0
_CORNER_SHADE = 0.45


class Hits(NamedTuple):
    """Where rays end, one row per ray."""

    cell: npt.NDArray[np.int64]
    """The block that is hit, shape ``(R, 3)``."""
    axis: npt.NDArray[np.int64]
    """The axis across which the ray enters it, shape ``(R,)``."""
    side: npt.NDArray[np.int64]
    """-1 or +1: the direction along that axis from the block to the air before it, shape ``(R,)``."""
    distance: npt.NDArray[np.float64]
    """In multiples of the direction's length, shape ``(R,)``."""


def cast(world: npt.NDArray[np.uint8], eye: tuple[float, float, float], directions: npt.NDArray[np.float64]) -> Hits:
    """
    Follow rays from block to block until they hit one that is not air (Amanatides and Woo, 1987).

    :param world: Block numbers, shape ``(X, Y, Z)``; block ``[x, y, z]`` fills the cube from (x, y, z) to
        (x + 1, y + 1, z + 1), and all blocks of the outermost layer are solid, so that every ray ends.
    :param eye: Where the rays start, in air.
    :param directions: Their directions, shape ``(R, 3)``.
    :return: Where they end.
    """
    forward = directions > 0
    step = np.where(forward, 1, -1)
    cell = np.broadcast_to(np.floor(eye).astype(np.int64), directions.shape).copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        per_block = 1.0 / np.abs(directions)
        distance = (cell + forward - np.asarray(eye)) / directions
    distance[directions == 0] = np.inf
    hits = Hits(np.zeros_like(cell), np.zeros_like(cell[:, 0]), np.zeros_like(cell[:, 0]), np.zeros(len(cell)))
    ray = np.arange(len(cell))
    while len(ray):
        row = np.arange(len(ray))
        axis = distance.argmin(axis=1)
        travelled = distance[row, axis]
        cell[row, axis] += step[row, axis]
        distance[row, axis] += per_block[row, axis]
        is_hit = world[cell[:, 0], cell[:, 1], cell[:, 2]] != AIR
        hits.cell[ray[is_hit]] = cell[is_hit]
        hits.axis[ray[is_hit]] = axis[is_hit]
        hits.side[ray[is_hit]] = -step[row, axis][is_hit]
        hits.distance[ray[is_hit]] = travelled[is_hit]
        cell, step, distance, per_block, ray = (array[~is_hit] for array in (cell, step, distance, per_block, ray))
    return hits


def render(
    world: npt.NDArray[np.uint8],
    textures: npt.NDArray[np.uint8],
    glow: npt.NDArray[np.float64],
    eye: tuple[float, float, float],
    size: int,
) -> npt.NDArray[np.uint8]:
    """
    Draw what an eye sees that looks along +y, z upwards, over 90 degrees in both directions.

    A lamp at the eye lights the blocks, with the inverse of 1 + (distance / 9)^2, darker on side walls, floor and
    ceiling and in corners. A pixel is the mean of at least two by two rays, so small images are smooth. Only exactly
    rounded operations are used: every machine draws the same bits.

    :param world: Block numbers, shape ``(X, Y, Z)``, as for :func:`cast`.
    :param textures: The faces of block number n, uint8, shape ``(n_blocks, 16, 16, 3)``, top row first.
    :param glow: The least light in which a block is seen, in [0, 1], shape ``(n_blocks,)``.
    :param eye: Its position.
    :param size: Pixels along an edge.
    :return: The image, uint8, shape ``(size, size, 3)``, top row first.
    :raises ValueError: If the world is open or the eye is not in air.
    """
    _check(world, eye)
    n_rays = max(2, -(-_RAYS_PER_SIDE // size))
    plane = (np.arange(size * n_rays) + 0.5) * 2.0 / (size * n_rays) - 1.0
    across, down = np.meshgrid(plane, plane)
    directions = np.stack([across.ravel(), np.ones(across.size), -down.ravel()], axis=1)
    hits = cast(world, eye, directions)
    points = np.asarray(eye) + hits.distance[:, None] * directions
    colours = _colours(world, textures, glow, hits, points, np.sqrt((directions**2).sum(axis=1)))
    # (size * n, size * n, 3) -> (size, size, 3); integers, so that the order of the sum does not matter.
    sums = colours.reshape(size, n_rays, size, n_rays, 3).sum(axis=(1, 3))
    image: npt.NDArray[np.uint8] = ((sums + n_rays**2 // 2) // n_rays**2).astype(np.uint8)
    return image


def _check(world: npt.NDArray[np.uint8], eye: tuple[float, float, float]) -> None:
    inner = world[1:-1, 1:-1, 1:-1]
    if np.count_nonzero(world == AIR) != np.count_nonzero(inner == AIR):
        raise ValueError("The world is open: all blocks of its outermost layer must be solid, or rays never end.")
    x, y, z = np.floor(eye).astype(int)
    if not all(0 <= i < n for i, n in zip((x, y, z), world.shape, strict=True)) or world[x, y, z] != AIR:
        raise ValueError(f"The eye must be in air, but {eye} is outside the world or inside a block.")


def _colours(
    world: npt.NDArray[np.uint8],
    textures: npt.NDArray[np.uint8],
    glow: npt.NDArray[np.float64],
    hits: Hits,
    points: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """Look up the texels and light them, (R, 3) points -> (R, 3) colours."""
    row = np.arange(len(points))
    in_plane = np.array([[1, 2], [0, 2], [0, 1]])[hits.axis]
    place = (points - hits.cell)[row[:, None], in_plane].clip(0.0, 1.0 - 2.0**-40)
    texel = (place * TEXTURE_SIZE).astype(np.int64)
    block = world[hits.cell[:, 0], hits.cell[:, 1], hits.cell[:, 2]]
    colour = textures[block, TEXTURE_SIZE - 1 - texel[:, 1], texel[:, 0]]
    light = _FACE_LIGHT[hits.axis] / (1.0 + (hits.distance * lengths / _REACH) ** 2)
    for i in range(2):
        neighbour = hits.cell.copy()
        neighbour[row, hits.axis] += hits.side
        neighbour[row, in_plane[:, i]] += np.where(place[:, i] > 0.5, 1, -1)
        is_corner = world[neighbour[:, 0], neighbour[:, 1], neighbour[:, 2]] != AIR
        light *= 1.0 - _CORNER_SHADE * is_corner * (2.0 * place[:, i] - 1.0) ** 2
    lit: npt.NDArray[np.int64] = (colour * np.maximum(light, glow[block])[:, None]).astype(np.int64)
    return lit
