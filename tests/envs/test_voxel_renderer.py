import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.envs.mine_maze_frames import FRAMES, frame_image, frame_images
from sb3_hyper.envs.voxel_renderer import AIR, TEXTURE_SIZE, cast, render

SHAPE = (6, 7, 5)
EYE = (2.3, 1.7, 2.6)


def random_world(seed, density=0.25):
    world = (np.random.default_rng(seed).random(SHAPE) < density).astype(np.uint8)
    for axis in range(3):
        np.moveaxis(world, axis, 0)[[0, -1]] = 1
    world[tuple(np.floor(EYE).astype(int))] = AIR
    return world


def slow_cast(world, eye, direction):
    """Intersect the ray with every solid cube, and take the nearest."""
    best = (np.inf, None)
    for cell in np.argwhere(world != AIR):
        enter, leave = 0.0, np.inf
        for axis in range(3):
            if direction[axis] == 0:
                if not cell[axis] <= eye[axis] < cell[axis] + 1:
                    leave = -np.inf
                continue
            ends = sorted((cell[axis] + side - eye[axis]) / direction[axis] for side in (0, 1))
            enter, leave = max(enter, ends[0]), min(leave, ends[1])
        if enter < leave:
            best = min(best, (enter, tuple(cell.tolist())))
    return best


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_rays_end_where_the_nearest_cube_begins(seed):
    world, random = random_world(seed), np.random.default_rng(seed + 1)
    directions = random.normal(size=(12, 3))
    directions[:3] = np.eye(3) * random.choice([-1, 1], size=3)
    directions[3, 1] = 0.0
    hits = cast(world, EYE, directions)
    for ray, direction in enumerate(directions):
        distance, cell = slow_cast(world, EYE, direction)
        assert hits.distance[ray] == pytest.approx(distance) and tuple(hits.cell[ray]) == cell
        axis, side = hits.axis[ray], hits.side[ray]
        face = cell[axis] + (side > 0)
        assert EYE[axis] + distance * direction[axis] == pytest.approx(face) and np.sign(direction[axis]) == -side


def plain_textures(*colours):
    return np.array([np.full((TEXTURE_SIZE, TEXTURE_SIZE, 3), colour) for colour in colours], np.uint8)


TEXTURES = plain_textures((0, 0, 0), (100, 100, 100), (200, 0, 0))


def hall(length=9):
    world = np.ones((9, length, 9), np.uint8)
    world[1:-1, 1:-1, 1:-1] = AIR
    return world


def test_a_block_is_as_large_as_perspective_says():
    world = hall()
    world[4, 5, 4] = 2
    image = render(world, TEXTURES, np.zeros(3), (4.5, 1.0, 4.5), 64)
    # 1 wide at distance 4 under 90 degrees: 1/8 of 64 pixels, in the middle.
    is_red = (image[:, :, 0] > 0) & (image[:, :, 1] == 0)
    assert np.argwhere(is_red).min(axis=0).tolist() == [28, 28] and np.argwhere(is_red).max(axis=0).tolist() == [35, 35]
    assert is_red.sum() == 64


def test_right_is_right_and_up_is_up():
    world = hall()
    world[6, 5, 7] = 2
    image = render(world, TEXTURES, np.zeros(3), (4.5, 1.0, 4.5), 64)
    rows, columns = np.nonzero((image[:, :, 0] > 0) & (image[:, :, 1] == 0))
    assert columns.min() > 32 and rows.max() < 32


def test_textures_stand_upright():
    textures = plain_textures((0, 0, 0), (100, 100, 100), (0, 0, 0))
    textures[2, 0, :, 0] = 255  # top row red
    textures[2, :, -1, 1] = 255  # right column green
    world = hall()
    world[4, 2, 4] = 2
    image = render(world, textures, np.ones(3), (4.5, 1.5, 4.5), 32)
    assert image[0, 16].tolist() == [255, 0, 0] and image[16, 31].tolist() == [0, 255, 0]
    assert not image[31, 16].any() and not image[16, 0].any()


def test_light_fades_and_glow_does_not():
    def middle(length, glow):
        return render(hall(length), TEXTURES, np.array([0.0, glow, 0.0]), (4.5, 1.0, 4.5), 65)[32, 32, 0]

    near, far = middle(4, 0.0), middle(40, 0.0)
    assert near > 85 and far < 10 and middle(40, 0.5) == 50


def test_corners_are_darker():
    image = render(hall(3), TEXTURES, np.zeros(3), (4.5, 1.0, 1.4), 64)
    wall = image[:, :, 0][:, 32].astype(int)
    bottom = np.abs(np.diff(wall)).argmax()
    assert wall[bottom - 1] < wall[:bottom].max() * 0.8


@pytest.mark.parametrize("size", [6, 10, 33])
def test_any_size_shows_the_same(size):
    frame = FRAMES[2]
    image = frame_image(frame, size)
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    large = frame_image(frame, 4 * size).reshape(size, 4, size, 4, 3).mean(axis=(1, 3))
    assert np.abs(image - large).mean() < 6.0


def test_every_machine_draws_the_same_bits():
    # Agents are trained on these pictures: a change of a texture or of the light makes them blind.
    digests = {size: hashlib.sha256(frame_images(size).tobytes()).hexdigest()[:16] for size in (10, 64)}
    assert digests == {10: "56bea2cb331de06d", 64: "328733528ba47ef6"}


def test_an_open_world_and_a_buried_eye_are_refused():
    world = hall()
    with pytest.raises(ValueError, match="eye must be in air"):
        render(world, TEXTURES, np.zeros(3), (0.5, 1.0, 4.5), 8)
    with pytest.raises(ValueError, match="eye must be in air"):
        render(world, TEXTURES, np.zeros(3), (4.5, 100.0, 4.5), 8)
    world[4, -1, 4] = AIR
    with pytest.raises(ValueError, match="world is open"):
        render(world, TEXTURES, np.zeros(3), (4.5, 1.0, 4.5), 8)
