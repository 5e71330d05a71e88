"""What a miner sees: the blocks, rooms and pictures of the mine maze."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sb3_hyper.envs.random_stream import mix
from sb3_hyper.envs.voxel_renderer import AIR, TEXTURE_SIZE, render

Colour = tuple[int, int, int]
Texture = npt.NDArray[np.uint8]

ROOM_CELLS = ((0, 0), (0, 1), (-1, 1), (-1, 2), (-1, 3), (1, 1), (1, 2), (1, 3), (0, 3))
"""The cells (x, y) of a room from which it is seen; the pillar stands in (0, 2)."""


class Frame(NamedTuple):
    """Names a picture."""

    place: str
    """"room", "emerald", "redstone", "dark" or "end"."""
    pillar: str = "iron"
    """"iron" or "diamond", for rooms."""
    cell: tuple[int, int] = (0, 0)
    """Where the agent stands, for rooms."""


FRAMES = (
    *(Frame("room", pillar, cell) for pillar in ("iron", "diamond") for cell in ROOM_CELLS),
    *(Frame(place) for place in ("emerald", "redstone", "dark", "end")),
)
"""All pictures that can occur."""


def _grain(seed: int) -> npt.NDArray[np.float64]:
    """Draw a fixed random number in [-1, 1) per texel, the same everywhere."""
    bits = mix(np.arange(TEXTURE_SIZE**2, dtype=np.int64) + seed * 1009)
    grain: npt.NDArray[np.float64] = (bits * 2.0**-31 - 1.0).reshape(TEXTURE_SIZE, TEXTURE_SIZE)
    return grain


def _grained(colour: Colour, roughness: float, seed: int) -> npt.NDArray[np.float64]:
    """Make a rough surface, (16, 16, 3)."""
    return np.array(colour) * (1.0 + roughness * _grain(seed)[:, :, None])


def _as_texture(values: npt.NDArray[np.float64]) -> Texture:
    return values.clip(0, 255).astype(np.uint8)


def _bricks(colour: Colour, seed: int) -> Texture:
    """Two courses of bricks with dark joints."""
    values = _grained(colour, 0.13, seed)
    values[[1, 9]] *= 1.2
    values[[0, 8]] *= 0.55
    values[1:8, 0] *= 0.55
    values[9:, 8] *= 0.55
    return _as_texture(values)


def _ore(stone: Colour, mineral: Colour, seed: int) -> Texture:
    """Nuggets in stone, lit from above."""
    values = _grained(stone, 0.18, seed)
    for i, (row, column) in enumerate([(2, 3), (3, 10), (7, 6), (8, 12), (11, 2), (12, 8)]):
        height, width = 2 + i % 2, 3 - i % 2
        values[row : row + height, column : column + width] = mineral
        values[row, column : column + width - 1] = np.minimum(255, np.array(mineral) * 1.35)
        values[row + height, column : column + width] *= 0.5
    return _as_texture(values)


def _jewel(colour: Colour, seed: int) -> Texture:
    """A bevelled block of mineral with slanting gleams."""
    values = _grained(colour, 0.05, seed)
    row, column = np.indices((TEXTURE_SIZE, TEXTURE_SIZE))
    gleam = (row + column) % 8
    values[gleam == 0] = values[gleam == 0] * 0.6 + 255 * 0.4
    values[gleam == 4] *= 0.8
    values[0], values[:, 0] = values[0] * 0.5 + 127, values[:, 0] * 0.5 + 127
    values[-1], values[:, -1] = values[-1] * 0.55, values[:, -1] * 0.55
    return _as_texture(values)


def _iron(seed: int) -> Texture:
    """Light grey plates."""
    values = _grained((212, 212, 212), 0.03, seed)
    values[::4] *= 0.72
    values[1::4] *= 1.1
    return _as_texture(values)


def _planks(seed: int) -> Texture:
    """Four boards."""
    values = _grained((158, 122, 72), 0.1, seed)
    values[3::4] *= 0.55
    for board, column in enumerate((4, 12, 7, 14)):
        values[4 * board : 4 * board + 3, column] *= 0.7
    return _as_texture(values)


def _obsidian(seed: int) -> Texture:
    """Nearly black glass with purple specks."""
    values = _grained((30, 20, 52), 0.4, seed)
    values[_grain(seed + 1) > 0.6] = (104, 70, 168)
    return _as_texture(values)


_STONE: Colour = (92, 94, 104)
_BLOCKS: dict[str, tuple[Texture, float]] = {
    "air": (_as_texture(np.zeros((16, 16, 3))), 0.0),
    "void": (_as_texture(np.zeros((16, 16, 3))), 0.0),
    "bricks": (_bricks(_STONE, 1), 0.0),
    "ceiling": (_as_texture(_grained((64, 65, 72), 0.25, 2)), 0.0),
    "floor": (_as_texture(_grained((120, 92, 64), 0.22, 3)), 0.0),
    "planks": (_planks(4), 0.0),
    "gold_ore": (_ore(_STONE, (250, 200, 50), 5), 0.15),
    "lapis_ore": (_ore(_STONE, (40, 80, 220), 6), 0.15),
    "coal_ore": (_ore(_STONE, (24, 24, 28), 7), 0.0),
    "iron": (_iron(8), 0.15),
    "diamond": (_jewel((70, 215, 214), 9), 0.3),
    "emerald": (_jewel((24, 190, 74), 10), 0.45),
    "redstone": (_jewel((200, 28, 16), 11), 0.45),
    "obsidian": (_obsidian(12), 0.0),
}
_NUMBER = {name: number for number, name in enumerate(_BLOCKS)}
_TEXTURES = np.stack([texture for texture, _ in _BLOCKS.values()])
_GLOW = np.array([glow for _, glow in _BLOCKS.values()])
_EYE_HEIGHT = 1.0 + 1.6


def _hollow(width: int, length: int) -> npt.NDArray[np.uint8]:
    """A closed hall of bricks, three blocks high, (width + 2, length + 2, 5)."""
    world = np.full((width + 2, length + 2, 5), _NUMBER["bricks"], np.uint8)
    world[:, :, 0], world[:, :, 4] = _NUMBER["floor"], _NUMBER["ceiling"]
    world[1:-1, 1:-1, 1:4] = AIR
    return world


def _room(pillar: str) -> npt.NDArray[np.uint8]:
    """A room of three by three cells of two by two blocks, between two doorways one cell deep."""
    world = _hollow(6, 10)
    for door in (slice(1, 3), slice(9, 11)):
        for wall, frame in ((slice(1, 3), 2), (slice(5, 7), 5)):
            world[wall, door, 1:4] = _NUMBER["bricks"]
            world[frame, door, 1:4] = _NUMBER["planks"]
        world[2:6, door, 3] = _NUMBER["planks"]
    world[3:5, 11, 1:3] = _NUMBER["void"]
    world[3:5, 5:7, 1:4] = _NUMBER[pillar]
    for x, ore, front in ((0, "gold_ore", 1), (7, "lapis_ore", 6)):
        for y, z in ((4, 1), (4, 2), (6, 2), (7, 3), (8, 1)):
            world[x, y, z] = _NUMBER[ore]
        world[x, 5, 3] = world[x, 8, 3] = _NUMBER["coal_ore"]
        world[front, 9, 2] = world[front, 9, 3] = _NUMBER[ore]
    return world


def _dead_end(block: str, openings: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A hall that ends at a wall of some block; dark openings lead off at some of its sides."""
    world = _hollow(4, 4)
    world[1:5, 4, 1:4] = _NUMBER[block]
    for x in openings:
        world[x, 2:4, 3] = _NUMBER["planks"]
        world[x, 2, 1:4] = _NUMBER["planks"]
        world[x, 3, 1:3] = _NUMBER["void"]
    return world


@lru_cache(maxsize=256)
def frame_image(frame: Frame, size: int) -> npt.NDArray[np.uint8]:
    """
    Draw a picture, once.

    :param frame: Which one.
    :param size: Pixels along an edge.
    :return: uint8, shape ``(size, size, 3)``; shared, not to be written to.
    """
    if frame.place == "dark":
        return np.zeros((size, size, 3), np.uint8)
    if frame.place == "room":
        x, y = frame.cell
        eye, world = (2.0 * x + 4.0, 2.0 * y + 1.2, _EYE_HEIGHT), _room(frame.pillar)
    else:
        world = _dead_end("obsidian", (0, 5)) if frame.place == "end" else _dead_end(frame.place, (5,))
        eye = (3.0, 1.2, _EYE_HEIGHT)
    return render(world, _TEXTURES, _GLOW, eye, size)


@lru_cache(maxsize=16)
def frame_images(size: int) -> npt.NDArray[np.uint8]:
    """
    Draw all pictures, once.

    :param size: Pixels along an edge.
    :return: uint8, shape ``(len(FRAMES), size, size, 3)``; shared, not to be written to.
    """
    return np.stack([frame_image(frame, size) for frame in FRAMES])
