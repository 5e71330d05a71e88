"""The Memory & Planning Game: learn where unlabelled places are, then plan the way to each new goal."""

from __future__ import annotations

import colorsys
import operator
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.random_stream import Array, RandomStream
from sb3_hyper.envs.task import Split, TaskDistribution

UP, DOWN, LEFT, RIGHT, COLLECT = range(5)
_MOVES = ((0, 1), (0, -1), (-1, 0), (1, 0), (0, 0))
_KEY_RANGE = 2**24
_PIXELS_PER_CELL = 24
_GOAL, _AGENT, _LINE = (60, 160, 60), (40, 80, 200), (255, 255, 255)


class PlanningGameState(NamedTuple):
    """The state of a batch of Planning Games."""

    cell: Array
    """The agent's cell, ``y * size + x``, int64 in [0, size^2), shape ``(B,)``."""
    goal: Array
    """The goal's cell, likewise."""
    n_steps: Array
    """Steps taken in this episode, int64, shape ``(B,)``."""


class PermutationSpace(spaces.Box):
    """
    A box of which only the permutations of 0, 1, ..., n - 1 are members.

    It is a box so that every library knows its shape and bounds; membership and sampling are exact.

    :param n: How many numbers are permuted.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        super().__init__(0.0, float(n - 1), (n,), np.float32)

    def contains(self, x: Any) -> bool:
        """
        Say whether this is a permutation.

        :param x: Anything that numpy can read as a vector of n numbers.
        :return: True if it holds each of 0, 1, ..., n - 1 once.
        """
        try:
            task = np.asarray(x, dtype=np.float32)
        except (TypeError, ValueError):
            return False
        return task.shape == self.shape and bool((np.sort(task) == np.arange(self.n)).all())

    def sample(self, mask: None = None, probability: None = None) -> npt.NDArray[Any]:
        """
        Draw a permutation uniformly, with the space's own generator.

        :param mask: Unused, as in ``Box``.
        :param probability: Unused, as in ``Box``.
        :return: A permutation, float32, shape ``(n,)``.
        """
        return self.np_random.permutation(self.n).astype(np.float32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PermutationSpace) and self.n == other.n

    def __repr__(self) -> str:
        return f"PermutationSpace({self.n})"


class PlanningGame(TaskDistribution):
    """
    The Memory & Planning Game (Ritter et al., 2021) on a torus of ``size`` x ``size`` cells.

    Every cell has a label of its own. The agent sees the label of the cell that it stands on and that of the goal's
    cell, but neither coordinates nor the map: it must remember which moves led where, and plan with that.

    | observation | content | range |
    |---|---|---|
    | 0 to size^2 - 1 | one-hot label of the agent's cell | {0, 1} |
    | size^2 to 2 size^2 - 1 | one-hot label of the goal's cell | {0, 1} |

    Actions: 0 up (y + 1), 1 down (y - 1), 2 left (x - 1), 3 right (x + 1), 4 collect. A move over the edge arrives at
    the opposite one. The reward is 1 for collecting on the goal's cell and 0 for everything else, so in {0, 1}; the
    goal then moves to one of the *other* cells, uniformly. The first cell is uniform, the first goal uniform over the
    other cells. An episode always lasts ``episode_length`` steps; a trial is one episode.

    The task is the map: the labels of the cells, ``task[y * size + x]``, a uniform permutation of 0, ..., size^2 - 1.
    A map that is shifted around the torus is the same MDP again, so each has size^2 of these tasks. ``split="train"``
    has the even permutations, ``split="test"`` the odd ones: a shift is an even permutation, so no map is in both
    splits; and as long as two labels are missing from a map, nothing tells its split.

    Reference points: ``random`` (uniform actions); ``random_walk`` collects on the goal and else moves at random;
    ``no_memory`` does so with up and right only, by a fair coin, which is the best fixed mix of moves; ``good``, a
    perfect memory, goes to the goal if its cell has been seen, else to the nearest unseen cell, ties at random and
    sideways first; ``knows_task`` has the map. ``good`` is measured over 80,000 trials, standard error 0.006 (a smarter
    search gains 0.1 to 0.2), the others are exact.

    :param size: Cells per side, at least 2.
    :param episode_length: Steps per episode, at least 1.
    :param split: None for all maps, "train" or "test" for disjoint halves.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    n_episodes: ClassVar[int] = 1
    fixed_length = True
    task_names: ClassVar[str] = "the labels of the cells (0, 0), (1, 0), ..., a permutation"
    reference_returns: ClassVar[Mapping[str, float]] = {
        "random": 0.96,
        "random_walk": 5.14,
        "no_memory": 7.21,
        "good": 28.69,
        "knows_task": 31.61,
    }

    def __init__(self, size: int = 4, episode_length: int = 100, split: Split | None = None) -> None:
        if size < 2:
            raise ValueError(f"{type(self).__name__} needs size >= 2 so that the goal can move; got {size}.")
        if episode_length < 1:
            raise ValueError(f"episode_length must be at least 1, got {episode_length}.")
        self.size = operator.index(size)
        self.episode_length = operator.index(episode_length)
        self.n_cells = self.size**2
        super().__init__(PermutationSpace(self.n_cells), split)
        self.labels = np.arange(self.n_cells)
        # (n_cells, 5) -> (5 n_cells,): where each action leads from each cell
        self.next_cells = np.array(
            [(y + dy) % size * size + (x + dx) % size for y in range(size) for x in range(size) for dx, dy in _MOVES]
        )
        self.observation_space = self._make_observation_space()
        self.action_space = spaces.Discrete(5)

    def _make_observation_space(self) -> spaces.Box[np.float32]:
        return spaces.Box(0.0, 1.0, (2 * self.n_cells,), np.float32)

    def sample_task(self, stream: RandomStream, mask: Array | None = None) -> Array:
        """Draw a permutation: the order of random numbers, made distinct by their places."""
        xp = stream.xp
        draws = stream.integers(_KEY_RANGE, self.n_cells, mask)
        task = xp.argsort(draws * self.n_cells + self._constant("labels", draws), axis=1)
        if self.split is not None:
            twin = xp.concat([task[:, :-2], xp.flip(task[:, -2:], axis=1)], axis=1)
            fits = self._is_odd(xp, task) == (self.split == "test")
            task = xp.where(fits[:, None], task, twin)
        return xp.astype(task, xp.float32)

    def _is_odd(self, xp: Any, task: Array) -> Array:
        """Count inversions, (B, n_cells) -> (B, n_cells, n_cells) -> (B,), and say whether they are odd."""
        places = self._constant("labels", task)
        is_inverted = (task[:, :, None] > task[:, None, :]) & (places[:, None] < places)
        return xp.sum(xp.astype(is_inverted, xp.int64), axis=(1, 2)) % 2 == 1

    def reset(self, stream: RandomStream, task: Array, mask: Array | None = None) -> PlanningGameState:
        """Put agent and goal on two cells."""
        cell = stream.integers(self.n_cells, mask=mask)[:, 0]
        return PlanningGameState(cell, self._other_cell(stream, cell, mask), stream.xp.zeros_like(cell))

    def _other_cell(self, stream: RandomStream, cell: Array, mask: Array | None) -> Array:
        return (cell + 1 + stream.integers(self.n_cells - 1, mask=mask)[:, 0]) % self.n_cells

    def step(
        self, stream: RandomStream, task: Array, state: PlanningGameState, action: Array
    ) -> tuple[PlanningGameState, Array, Array]:
        """Move, or collect."""
        xp = stream.xp
        is_collected = (action == COLLECT) & (state.cell == state.goal)
        cell = xp.take(self._constant("next_cells", action), state.cell * len(_MOVES) + action, axis=0)
        goal = xp.where(is_collected, self._other_cell(stream, cell, None), state.goal)
        n_steps = state.n_steps + 1
        reward = xp.astype(is_collected, xp.float32)
        return PlanningGameState(cell, goal, n_steps), reward, n_steps >= self.episode_length

    def observe(self, task: Array, state: PlanningGameState) -> Array:
        """Show the labels of the agent's and the goal's cells."""
        xp = array_namespace(task)
        cells = xp.stack([state.cell, state.goal], axis=1)
        # task (B, n_cells), cells (B, 2) -> (B, 2, n_cells)
        shown = xp.take_along_axis(task, cells, axis=1)[:, :, None] == self._constant("labels", task)
        return xp.reshape(xp.astype(shown, xp.float32), (-1, 2 * self.n_cells))

    def render_text(self, task: npt.NDArray[np.float32], state: PlanningGameState) -> str:
        """Draw the map, y upwards, with the agent A, the goal G, and @ where they meet, before the labels."""
        marks = [" "] * self.n_cells
        marks[int(state.goal[0])] = "G"
        marks[int(state.cell[0])] = "@" if state.cell[0] == state.goal[0] else "A"
        cells = [f"{mark}{int(label):<2}" for mark, label in zip(marks, task[0], strict=True)]
        rows = [" ".join(cells[y * self.size : (y + 1) * self.size]).rstrip() for y in range(self.size)]
        return "\n".join([*reversed(rows), f"step {int(state.n_steps[0])}"])

    def render_rgb(self, task: npt.NDArray[np.float32], state: PlanningGameState) -> npt.NDArray[np.uint8]:
        """Draw the map, y upwards, in one pale color per label: the agent a blue square, the goal in a green frame."""
        colors = np.array([_pale_color(label / self.n_cells) for label in task[0]], np.uint8)
        image = colors.reshape(self.size, self.size, 3)
        image = image.repeat(_PIXELS_PER_CELL, axis=0).repeat(_PIXELS_PER_CELL, axis=1)
        image[::_PIXELS_PER_CELL] = image[:, ::_PIXELS_PER_CELL] = _LINE
        goal, cell = int(state.goal[0]), int(state.cell[0])
        for index, margin, color in ((goal, 2, _GOAL), (goal, 5, colors[goal]), (cell, 8, _AGENT)):
            y, x = (_PIXELS_PER_CELL * i for i in divmod(index, self.size))
            inside = slice(margin, _PIXELS_PER_CELL + 1 - margin)
            image[y:, x:][inside, inside] = color
        return np.ascontiguousarray(image[::-1])


def _pale_color(hue: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.35, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


class PlanningGame3x3(PlanningGame):
    """
    The Planning Game on 3 x 3 cells, as in SplAgger (Beck et al., 2024).

    Everything else is as in :class:`PlanningGame`.

    :param size: Cells per side, at least 2.
    :param episode_length: Steps per episode, at least 1.
    :param split: None for all maps, "train" or "test" for disjoint halves.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    reference_returns: ClassVar[Mapping[str, float]] = {
        "random": 1.76,
        "random_walk": 9.92,
        "no_memory": 12.18,
        "good": 37.99,
        "knows_task": 39.72,
    }

    def __init__(self, size: int = 3, episode_length: int = 100, split: Split | None = None) -> None:
        super().__init__(size, episode_length, split)


class PlanningGameJustGoal(PlanningGame3x3):
    """
    The Planning Game without labels: the one thing that is seen is whether the agent stands on the goal.

    | observation | content | range |
    |---|---|---|
    | 0 | 1 if the agent is on the goal's cell | {0, 1} |

    Nothing can be learnt about the map, and nothing need be: a sweep that visits every cell once before it comes back
    is the best policy, for its first k moves find the goal with probability k / (size^2 - 1), and k moves cannot visit
    more cells. Its return is the reference ``good``. Everything else is as in :class:`PlanningGame`.

    :param size: Cells per side, at least 2.
    :param episode_length: Steps per episode, at least 1.
    :param split: Must be None: without labels all tasks are alike.
    :raises ValueError: If a number is too small, or a split is asked for.
    """

    reference_returns: ClassVar[Mapping[str, float]] = {
        "random": 1.76,
        "random_walk": 9.92,
        "no_memory": 12.18,
        "good": 17.86,
    }

    def __init__(self, size: int = 3, episode_length: int = 100, split: Split | None = None) -> None:
        if split is not None:
            raise ValueError(
                f"{type(self).__name__} never shows the labels, so all its tasks look alike: there is no {split!r} "
                "split. Leave split=None and test on the same tasks with another seed."
            )
        super().__init__(size, episode_length, split)

    def _make_observation_space(self) -> spaces.Box[np.float32]:
        return spaces.Box(0.0, 1.0, (1,), np.float32)

    def observe(self, task: Array, state: PlanningGameState) -> Array:
        """Show whether the agent is on the goal."""
        xp = array_namespace(task)
        return xp.astype(state.cell == state.goal, xp.float32)[:, None]
