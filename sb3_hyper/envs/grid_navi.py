"""GridNavi: find an unseen goal cell on a small grid, then go there straight in the episodes that remain."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.finite_tasks import FiniteTaskDistribution, task_table
from sb3_hyper.envs.random_stream import Array, RandomStream
from sb3_hyper.envs.task import Split
from sb3_hyper.errors import unknown_name

Layout = Literal["open", "ring", "hall"]
_LAYOUTS: tuple[Layout, ...] = get_args(Layout)
NOOP, UP, RIGHT, DOWN, LEFT = range(5)
_PIXELS_PER_CELL = 24
_FLOOR, _WALL, _START = (230, 230, 230), (70, 70, 70), (200, 200, 170)
_GOAL, _AGENT = (60, 160, 60), (40, 80, 200)


class GridNaviState(NamedTuple):
    """The state of a batch of grids."""

    position: Array
    """The agent's cell (x, y), float32 with whole values in [0, size), shape ``(B, 2)``."""
    n_steps: Array
    """Steps taken in this episode, int64, shape ``(B,)``."""


class GridNavi(FiniteTaskDistribution):
    """
    GridNavi of VariBAD (Zintgraf et al., 2020, section 5.1).

    The observation is the agent's cell ``(x, y)``, whole numbers in [0, size); every episode starts at (0, 0).
    Actions: 0 no operation, 1 up (y + 1), 2 right (x + 1), 3 down (y - 1), 4 left (x - 1); a move against the wall
    changes nothing. The reward depends on the cell after the move: +1 on the goal, at each step there, and -0.1
    elsewhere. The goal does not end the episode, which always lasts ``episode_length`` steps.

    The task is the goal's cell ``[x, y]``, uniform over the cells outside the start and its neighbours, diagonals
    included: 21 goals on the 5 x 5 grid. Every fourth of them is in the "test" split.

    Layouts of ours change the goals or the walls, and nothing else:

    - "open": the paper's grid.
    - "ring": goals on the outermost cells only (13 of the 21); the agent may walk anywhere.
    - "hall": a hall runs along the middle row ``size // 2``, and every second column, from the start's on, is a room on
      either side of it, one cell wide. All else is wall, into which no move leads, and which is not observed. Goals are
      hall and room cells (15 of the 21).

    :param size: Cells per side, at least 3.
    :param episode_length: Steps per episode, at least 1.
    :param split: None for all goals, "train" or "test" for disjoint sets of goals.
    :param layout: "open", "ring" or "hall".
    :raises ValueError: If a number is too small, or there is no such split or layout.
    """

    fixed_length = True
    task_names: ClassVar[str] = "the goal's cell (x, y)"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": -4.7, "good": 37.2, "knows_task": 44.3}

    def __init__(
        self, size: int = 5, episode_length: int = 15, split: Split | None = None, layout: Layout = "open"
    ) -> None:
        if size < 3:
            raise ValueError(f"{type(self).__name__} needs size >= 3 to have goals away from the start, got {size}.")
        if episode_length < 1:
            raise ValueError(f"episode_length must be at least 1, got {episode_length}.")
        if layout not in _LAYOUTS:
            raise unknown_name("layout", layout, _LAYOUTS)
        self.size = operator.index(size)
        self.layout = layout
        goals = [(x, y) for x in range(size) for y in range(size) if (x > 1 or y > 1) and self._may_be_goal(x, y)]
        super().__init__(task_table(goals), split)
        self.episode_length = operator.index(episode_length)
        self.moves = task_table([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)])
        self.observation_space = spaces.Box(0.0, float(size - 1), (2,), np.float32)
        self.action_space = spaces.Discrete(5)

    def _may_be_goal(self, x: int, y: int) -> bool:
        if self.layout == "ring":
            return min(x, y) == 0 or max(x, y) == self.size - 1
        return bool(self._is_free(x, y))

    def _is_free(self, x: Any, y: Any) -> Any:
        """Whether there is no wall at (x, y), numbers or arrays of them."""
        return self.layout != "hall" or (y == self.size // 2) | (x % 2 == 0)

    def reset(self, stream: RandomStream, task: Array, mask: Array | None = None) -> GridNaviState:
        """Put every agent on (0, 0)."""
        return GridNaviState(stream.xp.zeros_like(task), stream.xp.zeros_like(stream.counter))

    def step(
        self, stream: RandomStream, task: Array, state: GridNaviState, action: Array
    ) -> tuple[GridNaviState, Array, Array]:
        """Move, and reward the cell that is reached."""
        xp = stream.xp
        moved = state.position + xp.take(self._constant("moves", action), action, axis=0)
        may_enter = xp.all((moved >= 0) & (moved < self.size), axis=1)
        if self.layout == "hall":
            may_enter = may_enter & self._is_free(moved[:, 0], moved[:, 1])
        position = xp.where(may_enter[:, None], moved, state.position)
        n_steps = state.n_steps + 1
        distance = xp.sum(xp.abs(position - task), axis=1)
        return GridNaviState(position, n_steps), self._reward(xp, distance), n_steps >= self.episode_length

    def _reward(self, xp: Any, distance: Array) -> Array:
        """Map the L1 distance between agent and goal (B,) -> (B,)."""
        return xp.astype(distance == 0, xp.float32) * 1.1 - 0.1

    def observe(self, task: Array, state: GridNaviState) -> Array:
        """Show the agent's cell."""
        return state.position + 0.0

    def render_text(self, task: npt.NDArray[np.float32], state: GridNaviState) -> str:
        """Draw the grid with walls #, the agent A, the goal G, and @ where the two meet."""
        cells = range(self.size)
        rows = [["." if self._is_free(x, y) else "#" for x in cells] for y in cells]
        (goal_x, goal_y), (x, y) = task[0].astype(int), state.position[0].astype(int)
        rows[goal_y][goal_x] = "G"
        rows[y][x] = "@" if (x, y) == (goal_x, goal_y) else "A"
        lines = [" ".join(row) for row in reversed(rows)]
        return "\n".join([*lines, f"step {int(state.n_steps[0])}"])

    def render_rgb(self, task: npt.NDArray[np.float32], state: GridNaviState) -> npt.NDArray[np.uint8]:
        """Draw the grid, y upwards: the agent blue, the goal green, the start yellowish, walls dark."""
        cells = np.full((self.size, self.size, 3), _FLOOR, np.uint8)
        cells[[[not self._is_free(x, y) for x in range(self.size)] for y in range(self.size)]] = _WALL
        (goal_x, goal_y), (x, y) = task[0].astype(int), state.position[0].astype(int)
        cells[0, 0] = _START
        cells[goal_y, goal_x] = _GOAL
        image = cells.repeat(_PIXELS_PER_CELL, axis=0).repeat(_PIXELS_PER_CELL, axis=1)
        margin = _PIXELS_PER_CELL // 4
        low_y, low_x = y * _PIXELS_PER_CELL + margin, x * _PIXELS_PER_CELL + margin
        image[low_y : low_y + 2 * margin, low_x : low_x + 2 * margin] = _AGENT
        image[::_PIXELS_PER_CELL] = image[:, ::_PIXELS_PER_CELL] = 255
        return np.ascontiguousarray(image[::-1])


class GridNaviDense(GridNavi):
    """
    GridNavi with a reward at every step: +1 on the goal, else minus the L1 distance to it, divided by ``size``.

    The distance is measured through walls where there are some. Everything else is as in :class:`GridNavi`.

    :param size: Cells per side, at least 3.
    :param episode_length: Steps per episode, at least 1.
    :param split: None for all goals, "train" or "test" for disjoint sets of goals.
    :param layout: "open", "ring" or "hall".
    :raises ValueError: If a number is too small, or there is no such split or layout.
    """

    reference_returns: ClassVar[Mapping[str, float]] = {"random": -42.2, "knows_task": 38.1}

    def _reward(self, xp: Any, distance: Array) -> Array:
        return xp.astype(distance == 0, xp.float32) - distance / self.size


class GridNaviShow(GridNavi):
    """
    GridNavi whose observation on the start cell is the goal's cell instead of the agent's.

    So the goal is seen at the first step of every episode and must be kept in memory. Everything else is as in
    :class:`GridNavi`.

    :param size: Cells per side, at least 3.
    :param episode_length: Steps per episode, at least 1.
    :param split: None for all goals, "train" or "test" for disjoint sets of goals.
    :param layout: "open", "ring" or "hall".
    :raises ValueError: If a number is too small, or there is no such split or layout.
    """

    reference_returns: ClassVar[Mapping[str, float]] = {"random": -4.7, "good": 44.3, "knows_task": 44.3}

    def observe(self, task: Array, state: GridNaviState) -> Array:
        """Show the agent's cell, or the goal's on the start cell."""
        xp = array_namespace(task)
        at_start = xp.all(state.position == 0, axis=1)
        return xp.where(at_start[:, None], task, state.position)
