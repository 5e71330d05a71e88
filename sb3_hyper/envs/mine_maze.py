"""Mine mazes: a walk through rooms, seen in first person, and a choice at its end that depends on its beginning."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.finite_tasks import FiniteTaskDistribution, task_table
from sb3_hyper.envs.mine_maze_frames import FRAMES, ROOM_CELLS, Frame, frame_image, frame_images
from sb3_hyper.envs.picture_noise import noise_lanes, normal_pieces, put_together
from sb3_hyper.envs.random_stream import Array, RandomStream, mix
from sb3_hyper.envs.task import Split

LEFT, FORWARD, RIGHT = range(3)
_PILLARS = ("iron", "diamond")
_MOVES = {
    (0, 0): {FORWARD: (0, 1)},
    (0, 1): {LEFT: (-1, 1), RIGHT: (1, 1)},
    (-1, 1): {FORWARD: (-1, 2)},
    (-1, 2): {FORWARD: (-1, 3)},
    (-1, 3): {RIGHT: (0, 3)},
    (1, 1): {FORWARD: (1, 2)},
    (1, 2): {FORWARD: (1, 3)},
    (1, 3): {LEFT: (0, 3)},
}
"""Cell of a room -> what is possible there, and where it leads; (0, 3) leads on by FORWARD."""
_MOVES_PER_ROOM = 6
_DRAWN_SIZE, _DRAWN_SCALE = 128, 2


class MineMazeState(NamedTuple):
    """The state of a batch of mine mazes."""

    place: Array
    """Where the agent is: the indicators, then the nine cells of each room, then the end; int64, shape ``(B,)``."""
    pillar: Array
    """The material of the present room's pillar, 0 iron or 1 diamond, int64, shape ``(B,)``."""
    noise_key: Array
    """What the picture's noise is hashed from, int64, shape ``(B,)``; 0 without noise."""
    n_steps: Array
    """Steps taken in this episode, int64, shape ``(B,)``."""


class MineMaze(FiniteTaskDistribution):
    """
    MC-LS of AMRL (Beck et al., 2020) as SplAgger uses it, with pictures of our own: remember a colour for 100 moves.

    The observation is the agent's view, an RGB picture of ``image_size`` x ``image_size`` pixels in [-1, 1], rows from
    the top, flattened to ``(3 * image_size**2,)``. Actions: 0 left, 1 forward, 2 right; one that is not possible
    changes nothing but the time.

    An episode begins before the indicator, a wall of emerald (up) or redstone (down), which is left by *right*. Then
    come ``rooms`` rooms. Facing +y, a room's cells (x, y) are (0, 0), (0, 1), then (-1, 1), (-1, 2), (-1, 3) on one
    side of a pillar in (0, 2) or (1, 1), (1, 2), (1, 3) on the other, and (0, 3). Only forward moves the agent, but in
    (0, 1) left and right do, in (-1, 3) only right and in (1, 3) only left. An iron pillar wants to be passed on the
    left, a diamond one on the right; each room has one or the other, fair and drawn anew in every episode. At the end,
    a wall of obsidian, right is correct for up and left for down; either ends the episode.

    The reward is +0.1 for every move that changes the place, but 0 for passing a pillar on the wrong side, and at the
    end +4 for the right choice and -3 for the wrong one. So the best return of an episode is
    0.1 * (indicators + 6 * rooms) + 4, which is 13.7. After ``time_limit`` steps the episode ends with nothing more.

    The task is the indicator, ``[1]`` for up and ``[-1]`` for down, each with probability one half.

    The papers' pictures are screenshots of Minecraft; these are drawn by
    :mod:`~sb3_hyper.envs.mine_maze_frames`, once for each size, when they are first looked at.

    :param rooms: Number of rooms, at least 1; None for as many as in the paper (16).
    :param image_size: Pixels along an edge, at least 6; None for 10.
    :param noise: Standard deviation of Gaussian noise on every number of the picture, drawn afresh at every step; the
        sum is clipped to [-1, 1]. None for that of the paper (0).
    :param time_limit: The most steps of an episode, at least as many as the way has moves.
    :param split: Must be None: a learner needs both tasks.
    :raises ValueError: If a number is out of range, or a split is asked for.
    """

    n_episodes = 2
    task_names: ClassVar[str] = "the indicators (1 emerald, -1 redstone)"
    # "random" is the expectation over the Markov chain of random moves; "no_memory" guesses at the end.
    reference_returns: ClassVar[Mapping[str, float]] = {"random": 13.3, "no_memory": 20.4, "good": 27.4}
    needs_all_tasks: ClassVar[bool] = True
    n_indicators: ClassVar[int] = 1
    default_rooms: ClassVar[int] = 16
    default_image_size: ClassVar[int] = 10
    default_noise: ClassVar[float] = 0.0

    def __init__(
        self,
        rooms: int | None = None,
        image_size: int | None = None,
        noise: float | None = None,
        time_limit: int = 200,
        split: Split | None = None,
    ) -> None:
        super().__init__(task_table(list(product((1.0, -1.0), repeat=self.n_indicators))), split)
        self.rooms = operator.index(self.default_rooms if rooms is None else rooms)
        self.image_size = operator.index(self.default_image_size if image_size is None else image_size)
        self.noise = float(self.default_noise if noise is None else noise)
        self.time_limit = operator.index(time_limit)
        self.n_moves = self.n_indicators + _MOVES_PER_ROOM * self.rooms + 1
        self._check_settings()
        self.episode_length = self.time_limit
        self.observation_space = self._image_space()
        self.action_space = spaces.Discrete(3)
        self.end = self.n_indicators + len(ROOM_CELLS) * self.rooms
        self.next_place = self._next_places()
        self.rewards = self._rewards()
        self.frame_numbers = self._frame_numbers()

    def _check_settings(self) -> None:
        if self.rooms < 1:
            raise ValueError(f"rooms must be at least 1, got {self.rooms}.")
        if self.image_size < 6:
            raise ValueError(f"image_size must be at least 6, or the pictures look alike; got {self.image_size}.")
        if not 0.0 <= self.noise < math.inf:
            raise ValueError(f"noise is a standard deviation and must be at least 0, got {self.noise}.")
        if self.time_limit < self.n_moves:
            raise ValueError(
                f"time_limit must be at least {self.n_moves}, the moves through {self.rooms} rooms, or nobody reaches "
                f"the end; got {self.time_limit}. Raise it or take fewer rooms."
            )

    def _image_space(self) -> spaces.Box[Any]:
        return spaces.Box(-1.0, 1.0, (3 * self.image_size**2,), np.float32)

    @property
    def frames(self) -> npt.NDArray[Any]:
        """All pictures as they are observed, one a row."""
        return _flat_frames(self.image_size)

    @property
    def noise_lanes(self) -> npt.NDArray[np.int64]:
        """The places of pieces of noise in a picture."""
        return noise_lanes(math.prod(self.observation_space.shape))

    @property
    def noise_pieces(self) -> npt.NDArray[Any]:
        """What is added to pictures, in pieces."""
        return _noise_pieces(self.noise)

    def up_is_correct(self, task: Array) -> Array:
        """
        Say which choice is right.

        :param task: The tasks, shape ``(B, task_dim)``.
        :return: Bool, shape ``(B,)``: True where it is up.
        """
        return task[:, 0] > 0

    def shown_indicator(self, task: npt.NDArray[np.float32], index: int) -> str:
        """
        Say of what the wall is that the agent sees first, second, ...

        :param task: A task, shape ``(task_dim,)``.
        :param index: Which of the indicators.
        :return: A place of :class:`~sb3_hyper.envs.mine_maze_frames.Frame`.
        """
        return "emerald" if task[index] > 0 else "redstone"

    def _next_places(self) -> npt.NDArray[np.int64]:
        """Tabulate where a move leads, (n_places, 3); the last place is reached when the episode is over."""
        places = np.arange(self.end + 2)[:, None].repeat(3, axis=1)
        for indicator in range(self.n_indicators):
            places[indicator, RIGHT] = indicator + 1
        for first in range(self.n_indicators, self.end, len(ROOM_CELLS)):
            for cell, moves in _MOVES.items():
                for action, reached in moves.items():
                    places[first + ROOM_CELLS.index(cell), action] = first + ROOM_CELLS.index(reached)
            places[first + ROOM_CELLS.index((0, 3)), FORWARD] = first + len(ROOM_CELLS)
        places[self.end, [LEFT, RIGHT]] = self.end + 1
        return places

    def _rewards(self) -> npt.NDArray[np.float32]:
        """Tabulate the rewards, (n_places, 3 actions, 2 pillars, n_tasks)."""
        moved = self.next_place != np.arange(self.end + 2)[:, None]
        rewards = np.zeros((*moved.shape, 2, len(self.tasks)), np.float32)
        rewards[moved] = 0.1
        before_pillar = np.arange(self.n_indicators, self.end, len(ROOM_CELLS)) + ROOM_CELLS.index((0, 1))
        rewards[before_pillar, LEFT, _PILLARS.index("diamond")] = 0.0
        rewards[before_pillar, RIGHT, _PILLARS.index("iron")] = 0.0
        up = self.up_is_correct(self.tasks)
        rewards[self.end, RIGHT] = np.where(up, 4.0, -3.0)
        rewards[self.end, LEFT] = np.where(up, -3.0, 4.0)
        return rewards

    def _frame_numbers(self) -> npt.NDArray[np.int64]:
        """Tabulate the pictures, (n_places, 2 pillars, n_tasks), as rows of ``frames``."""
        numbers = np.full((self.end + 2, 2, len(self.tasks)), FRAMES.index(Frame("end")))
        for column, task in enumerate(self.tasks):
            for index in range(self.n_indicators):
                numbers[index, :, column] = FRAMES.index(Frame(self.shown_indicator(task, index)))
        for kind, pillar in enumerate(_PILLARS):
            room = [FRAMES.index(Frame("room", pillar, cell)) for cell in ROOM_CELLS]
            numbers[self.n_indicators : self.end, kind] = np.tile(room, self.rooms)[:, None]
        return numbers

    def _task_number(self, task: Array) -> Array:
        """Give the rows of ``tasks``, (B, task_dim) -> (B,)."""
        xp = array_namespace(task)
        number = xp.astype(task[:, 0] < 0, xp.int64)
        for index in range(1, self.n_indicators):
            number = 2 * number + xp.astype(task[:, index] < 0, xp.int64)
        return number

    def _look_up(self, name: str, index: Array) -> Array:
        """Read a table at flat indices."""
        xp = array_namespace(index)
        return xp.take(xp.reshape(self._constant(name, index), (-1,)), index, axis=0)

    def reset(self, stream: RandomStream, task: Array, mask: Array | None = None) -> MineMazeState:
        """Put every agent before the first indicator."""
        zero = stream.xp.zeros_like(stream.counter)
        return MineMazeState(zero, zero, self._noise_key(stream, mask), zero)

    def _noise_key(self, stream: RandomStream, mask: Array | None) -> Array:
        if not self.noise:
            return stream.xp.zeros_like(stream.counter)
        return mix(stream.integers(2**24, mask=mask)[:, 0])

    def step(
        self, stream: RandomStream, task: Array, state: MineMazeState, action: Array
    ) -> tuple[MineMazeState, Array, Array]:
        """Move where it is possible, and reward it."""
        xp = stream.xp
        move = state.place * 3 + action
        place = self._look_up("next_place", move)
        reward = self._look_up("rewards", self._situation(move, state.pillar, task))
        is_entrance = (place - self.n_indicators) % len(ROOM_CELLS) == 0
        pillar = xp.where(is_entrance & (place != state.place), stream.integers(2)[:, 0], state.pillar)
        n_steps = state.n_steps + 1
        next_state = MineMazeState(place, pillar, self._noise_key(stream, None), n_steps)
        return next_state, reward, (place > self.end) | (n_steps >= self.time_limit)

    def _situation(self, row: Array, pillar: Array, task: Array) -> Array:
        """Flatten the indices of a table (rows, 2 pillars, n_tasks)."""
        return (row * 2 + pillar) * len(self.tasks) + self._task_number(task)

    def observe(self, task: Array, state: MineMazeState) -> Array:
        """Show the picture."""
        number = self._look_up("frame_numbers", self._situation(state.place, state.pillar, task))
        images = array_namespace(task).take(self._constant("frames", number), number, axis=0)
        return self._with_noise(images, self._picture_noise(state.noise_key)) if self.noise else images

    def _picture_noise(self, key: Array) -> Array:
        """Hash keys to noise, (B,) -> (B, *observation shape)."""
        shape = self.observation_space.shape
        pieces, lanes = self._constant("noise_pieces", key), self._constant("noise_lanes", key)
        return array_namespace(key).reshape(put_together(pieces, lanes, key, math.prod(shape)), (-1, *shape))

    def _with_noise(self, images: Array, noise: Array) -> Array:
        return array_namespace(images).clip(images + noise, -1.0, 1.0)

    def _frame(self, task: npt.NDArray[np.float32], state: MineMazeState) -> Frame:
        situation = self._situation(state.place, state.pillar, task)
        return FRAMES[int(self.frame_numbers.reshape(-1)[situation[0]])]

    def render_text(self, task: npt.NDArray[np.float32], state: MineMazeState) -> str:
        """Draw the room from above: the agent A, the pillar I or D; or say what the agent sees."""
        frame = self._frame(task, state)
        way_out = "right" if self.up_is_correct(task)[0] else "left"
        last_line = f"correct at the end: {way_out}, step {int(state.n_steps[0])}"
        if frame.place != "room":
            place = "end" if frame.place == "end" else f"indicator {int(state.place[0]) + 1} of {self.n_indicators}"
            return f"{place}: A sees {'obsidian' if frame.place == 'end' else frame.place}\n{last_line}"
        rows = [list(row) for row in ("##.##", "#...#", "#...#", "#...#", "##.##")]
        rows[2][2] = frame.pillar[0].upper()
        x, y = frame.cell
        rows[4 - y][2 + x] = "A"
        room = (int(state.place[0]) - self.n_indicators) // len(ROOM_CELLS) + 1
        lines = ["".join(row) for row in rows]
        return "\n".join([f"room {room} of {self.rooms}, {frame.pillar} pillar", *lines, last_line])

    def render_rgb(self, task: npt.NDArray[np.float32], state: MineMazeState) -> npt.NDArray[np.uint8]:
        """Draw the agent's view in fine, without noise."""
        image = frame_image(self._frame(task, state), _DRAWN_SIZE)
        return image.repeat(_DRAWN_SCALE, axis=0).repeat(_DRAWN_SCALE, axis=1)


class MineMazeOrder(MineMaze):
    """
    MC-LSO: two indicators one after the other; *up* is correct if and only if emerald comes first and redstone second.

    The task is ``[first indicator, second indicator]``, two fair signs: up has probability 1/4, each of the three down
    pairs too. Both indicators are left by *right*, each for +0.1. The paper's maze has 10 rooms, so an episode's best
    return is 10.2. With full transitions the second observation shows both pictures at once; build the trials with
    ``full_transitions=False`` where the order has to be kept by the memory. Everything else is as in :class:`MineMaze`.

    :param rooms: Number of rooms, at least 1; None for as many as in the paper (10).
    :param image_size: Pixels along an edge, at least 6; None for 10.
    :param noise: Standard deviation of the noise; None for that of the paper (0).
    :param time_limit: The most steps of an episode, at least as many as the way has moves.
    :param split: Must be None.
    :raises ValueError: If a number is out of range, or a split is asked for.
    """

    # Without memory "down" is right with probability 3/4: 6.2 + 0.75 * 4 - 0.25 * 3 per episode.
    reference_returns: ClassVar[Mapping[str, float]] = {"random": 12.3, "no_memory": 16.9, "good": 20.4}
    n_indicators = 2
    default_rooms = 10

    def up_is_correct(self, task: Array) -> Array:
        """Up is right after emerald, then redstone."""
        return (task[:, 0] > 0) & (task[:, 1] < 0)


class MineMazeNoise(MineMaze):
    """
    MC-LSN: 10 rooms, and Gaussian noise of standard deviation 0.05 on the picture.

    Everything else is as in :class:`MineMaze`.

    :param rooms: Number of rooms, at least 1; None for as many as in the paper (10).
    :param image_size: Pixels along an edge, at least 6; None for 10.
    :param noise: Standard deviation of the noise; None for that of the paper (0.05).
    :param time_limit: The most steps of an episode, at least as many as the way has moves.
    :param split: Must be None.
    :raises ValueError: If a number is out of range, or a split is asked for.
    """

    reference_returns: ClassVar[Mapping[str, float]] = {"random": 12.1, "no_memory": 13.2, "good": 20.2}
    default_rooms = 10
    default_noise = 0.05


class MineMazeHidden(MineMaze):
    """
    MC-LS in the dark: the indicator's picture is black, so the right choice must be found by trying.

    The first episode's choice is a guess; its reward tells the task. Everything else is as in :class:`MineMaze`.

    :param rooms: Number of rooms, at least 1; None for as many as in the paper (16).
    :param image_size: Pixels along an edge, at least 6; None for 10.
    :param noise: Standard deviation of the noise; None for that of the paper (0).
    :param time_limit: The most steps of an episode, at least as many as the way has moves.
    :param split: Must be None.
    :raises ValueError: If a number is out of range, or a split is asked for.
    """

    reference_returns: ClassVar[Mapping[str, float]] = {"random": 13.3, "no_memory": 20.4, "good": 23.9}

    def shown_indicator(self, task: npt.NDArray[np.float32], index: int) -> str:
        """Show nothing."""
        return "dark"


@lru_cache(maxsize=16)
def _flat_frames(size: int) -> npt.NDArray[np.float32]:
    return frame_images(size).reshape(len(FRAMES), -1).astype(np.float32) / np.float32(127.5) - np.float32(1.0)


@lru_cache(maxsize=4)
def _noise_pieces(standard_deviation: float) -> npt.NDArray[np.float32]:
    return normal_pieces() * np.float32(standard_deviation)
