"""PointNav: steer a point to an unseen goal on the plane."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sb3_hyper.envs.finite_tasks import task_table
from sb3_hyper.envs.random_stream import Array, RandomStream
from sb3_hyper.envs.task import Split, TaskDistribution

_N_CELLS = 4
_TEST_CELLS = ((1, 0), (3, 1), (0, 2), (2, 3))
_N_SECTORS = 16
_N_ANGLES = 4096
# Whole multiples of 2^-23 below one half are exact in float32 whatever is added, so a goal never leaves its cell.
_N_PLACES = 2**22
_N_CHARACTERS, _N_PIXELS, _SHOWN = 25, 240, 1.5
_OUTSIDE, _SQUARE, _REWARDED, _POSSIBLE_GOALS = (200,) * 3, (230,) * 3, (180, 220, 180), (120,) * 3
_GOAL, _AGENT = (60, 160, 60), (40, 80, 200)


class PointNavState(NamedTuple):
    """The state of a batch of points."""

    position: Array
    """Where the agent is, float32, shape ``(B, 2)``."""
    n_steps: Array
    """Steps taken in this episode, int64, shape ``(B,)``."""


class PointNav(TaskDistribution):
    """
    Point navigation with a dense reward, after the 2-D navigation of MAML (Finn et al., 2017, section 5.3).

    | | meaning | range |
    |---|---|---|
    | observation | the agent's position (x, y) | [-6, 6]^2, in general 1 + ``episode_length * max_speed`` |
    | action | the velocity (x, y) as a share of ``max_speed`` | [-1, 1]^2; values outside are clipped |
    | reward | minus the distance between agent and goal after the move | at most 0 |

    The start is uniform in the square [-1, 1]^2, anew in every episode. The goal is not observed: the rewards of a few
    steps give it away. An episode lasts ``episode_length`` steps, whatever happens; a trial is one episode by default.

    The task is the goal ``(x, y)``, uniform in the square [-1, 1]^2. For the splits the square is cut into 4 x 4 cells;
    (column, row), counted from 0 at the lower left, four are "test" cells: (1, 0), (3, 1), (0, 2) and (2, 3), one in
    every column and row. The others are "train" cells. Any point of the square may be set as a task.

    Reference points: ``knows_task`` takes the straight way to the goal, on each axis as fast as it may, and stays. No
    agent does better; its mean is the integral over start and goal. ``random`` plays uniform actions, measured.

    Departures: the papers' velocities in [-0.05, 0.05]^2 are the actions times ``max_speed`` here, because a Gaussian
    policy starts with a standard deviation of 1, and nearly all its actions would be clipped. MAML's reward is the
    squared distance, and its episode ends at the goal. There are no walls, as in MAML. The splits are ours.

    :param episode_length: Steps per episode, at least 1.
    :param max_speed: The longest way along one axis in a step, above 0.
    :param split: None for all goals, "train" or "test" for disjoint parts of the square.
    :raises ValueError: If a number is out of range, or there is no such split.
    """

    n_episodes: ClassVar[int] = 1
    fixed_length = True
    task_names: ClassVar[str] = "the goal (x, y)"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": -107.2, "knows_task": -10.9}

    def __init__(self, episode_length: int = 100, max_speed: float = 0.05, split: Split | None = None) -> None:
        if episode_length < 1:
            raise ValueError(f"episode_length must be at least 1, got {episode_length}.")
        if not 0.0 < max_speed < np.inf:
            raise ValueError(f"max_speed must be above 0 and finite, got {max_speed}.")
        super().__init__(self._task_space(), split)
        self.episode_length = operator.index(episode_length)
        self.max_speed = float(max_speed)
        self.places = self._places(split)
        # The factor covers the rounding of so many float32 additions.
        reach = (1.0 + self.episode_length * self.max_speed) * (1.0 + self.episode_length * 2.0**-22)
        self.observation_space = spaces.Box(-reach, reach, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def _task_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), np.float32)

    def _places(self, split: Split | None) -> npt.NDArray[np.float32]:
        """The lower left corners of the split's cells, shape ``(n_cells, 2)``."""
        cells = [(x, y) for x in range(_N_CELLS) for y in range(_N_CELLS)]
        if split is not None:
            cells = [cell for cell in cells if (cell in _TEST_CELLS) == (split == "test")]
        return task_table([(2 * x / _N_CELLS - 1, 2 * y / _N_CELLS - 1) for x, y in cells])

    def _random_place(self, stream: RandomStream, mask: Array | None) -> Array:
        row = stream.integers(len(self.places), mask=mask)[:, 0]
        return stream.xp.take(self._constant("places", row), row, axis=0)

    def sample_task(self, stream: RandomStream, mask: Array | None = None) -> Array:
        """Draw a goal uniformly from the split's cells."""
        inside = stream.xp.astype(stream.integers(_N_PLACES, 2, mask), stream.xp.float32)
        return self._random_place(stream, mask) + inside * (2.0 / _N_CELLS / _N_PLACES)

    def reset(self, stream: RandomStream, task: Array, mask: Array | None = None) -> PointNavState:
        """Put every agent on a random point of the square."""
        return PointNavState(stream.uniform(2, mask) * 2.0 - 1.0, stream.xp.zeros_like(stream.counter))

    def step(
        self, stream: RandomStream, task: Array, state: PointNavState, action: Array
    ) -> tuple[PointNavState, Array, Array]:
        """Move, and reward the point that is reached."""
        xp = stream.xp
        position = state.position + action * self.max_speed
        offset = position - task
        # Torch rounds the last bit of a float32 root otherwise than numpy; a float64 root, rounded, has all bits right.
        squared = xp.astype(xp.sum(offset * offset, axis=1), xp.float64)
        distance = xp.astype(xp.sqrt(squared), xp.float32)
        n_steps = state.n_steps + 1
        return PointNavState(position, n_steps), self._reward(xp, distance), n_steps >= self.episode_length

    def _reward(self, xp: Any, distance: Array) -> Array:
        """Map the distance between agent and goal (B,) -> (B,)."""
        return -distance

    def observe(self, task: Array, state: PointNavState) -> Array:
        """Show the agent's position."""
        return state.position + 0.0

    def render_text(self, task: npt.NDArray[np.float32], state: PointNavState) -> str:
        """Draw the plane up to 1.5, y upwards: the agent A, the goal G, and @ where they meet; beyond, at the edge."""
        rows = [["."] * _N_CHARACTERS for _ in range(_N_CHARACTERS)]
        (goal_x, goal_y), (x, y) = _cells(task[0], _N_CHARACTERS), _cells(state.position[0], _N_CHARACTERS)
        rows[goal_y][goal_x] = "G"
        rows[y][x] = "@" if (x, y) == (goal_x, goal_y) else "A"
        lines = [" ".join(row) for row in reversed(rows)]
        places = [f"({place[0]:.2f}, {place[1]:.2f})" for place in (state.position[0], task[0])]
        return "\n".join([*lines, f"step {int(state.n_steps[0])}, at {places[0]}, goal {places[1]}"])

    def render_rgb(self, task: npt.NDArray[np.float32], state: PointNavState) -> npt.NDArray[np.uint8]:
        """Draw the plane up to 1.5, y upwards: the agent blue, the goal green, beyond at the edge."""
        image = np.full((_N_PIXELS, _N_PIXELS, 3), _OUTSIDE, np.uint8)
        low, high = _cells(np.array([-1.0, 1.0]), _N_PIXELS)
        image[low : high + 1, low : high + 1] = _SQUARE
        self._draw_goal(image, task[0])
        _draw_disc(image, state.position[0], 0.06, _AGENT)
        return np.ascontiguousarray(image[::-1])

    def _draw_goal(self, image: npt.NDArray[np.uint8], goal: npt.NDArray[np.float32]) -> None:
        _draw_disc(image, goal, 0.06, _GOAL)


class PointNavSparse(PointNav):
    """
    Point navigation with a sparse reward, after the sparse point robot of PEARL (Rakelly et al., 2019, section 6.3).

    The reward is 1 minus the distance between agent and goal after the move where that is at most ``goal_radius``, in
    [0.8, 1], and 0 elsewhere. Every episode starts in (0, 0). Observation, actions and ends: see :class:`PointNav`.

    The task is the goal ``(x, y)``, uniform over the half of the unit circle with y > 0: over the middles of 4096 equal
    arcs, so that every device draws the same bits. For the splits the half circle is cut into 16 sectors of 11.25
    degrees: counted from 1 at the x axis, each fourth is in "test", the others are in "train". Any point of the
    rectangle [-1, 1] x [0, 1] may be set as a task.

    Reference points: ``knows_task`` takes the straight way to the goal, on each axis as fast as it may, and stays (the
    mean over all goals). ``sweep`` goes to (1, 0) and along the half circle until a reward tells how far the goal is,
    then to the goal (measured). ``random`` plays uniform actions, measured.

    Departures: as in :class:`PointNav`. PEARL's agent has 20 steps of at most 0.1, and two further episodes.

    :param episode_length: Steps per episode, at least 1.
    :param max_speed: The longest way along one axis in a step, above 0.
    :param goal_radius: How near to the goal there is a reward, in (0, 1].
    :param split: None for all goals, "train" or "test" for disjoint parts of the half circle.
    :raises ValueError: If a number is out of range, or there is no such split.
    """

    reference_returns: ClassVar[Mapping[str, float]] = {"random": 0.01, "sweep": 55.4, "knows_task": 86.1}

    def __init__(
        self,
        episode_length: int = 100,
        max_speed: float = 0.05,
        goal_radius: float = 0.2,
        split: Split | None = None,
    ) -> None:
        if not 0.0 < goal_radius <= 1.0:
            raise ValueError(f"goal_radius must be above 0 and at most 1, or rewards are negative; got {goal_radius}.")
        super().__init__(episode_length, max_speed, split)
        self.goal_radius = float(goal_radius)

    def _task_space(self) -> spaces.Box:
        return spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 1.0], np.float32), dtype=np.float32)

    def _places(self, split: Split | None) -> npt.NDArray[np.float32]:
        """The goals of the split, shape ``(n_goals, 2)``."""
        index = np.arange(_N_ANGLES)
        is_test = index * _N_SECTORS // _N_ANGLES % 4 == 3
        if split is not None:
            index = index[is_test == (split == "test")]
        angle = np.pi * (index + 0.5) / _N_ANGLES
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    def sample_task(self, stream: RandomStream, mask: Array | None = None) -> Array:
        """Draw one of the split's goals uniformly."""
        return self._random_place(stream, mask)

    def reset(self, stream: RandomStream, task: Array, mask: Array | None = None) -> PointNavState:
        """Put every agent on (0, 0)."""
        return PointNavState(stream.xp.zeros_like(task), stream.xp.zeros_like(stream.counter))

    def _reward(self, xp: Any, distance: Array) -> Array:
        return xp.astype(distance <= self.goal_radius, xp.float32) * (1.0 - distance)

    def _draw_goal(self, image: npt.NDArray[np.uint8], goal: npt.NDArray[np.float32]) -> None:
        _draw_disc(image, goal, self.goal_radius, _REWARDED)
        x, y = np.transpose(_cells(self.places, _N_PIXELS))
        image[y, x] = _POSSIBLE_GOALS
        super()._draw_goal(image, goal)


def _cells(place: npt.NDArray[Any], n_cells: int) -> npt.NDArray[np.int64]:
    """Say in which of the cells between -1.5 and 1.5 each coordinate lies; beyond, in the outermost."""
    scaled = np.floor((place.astype(np.float64) + _SHOWN) / (2 * _SHOWN) * n_cells)
    return np.clip(scaled, 0, n_cells - 1).astype(np.int64)


def _draw_disc(
    image: npt.NDArray[np.uint8], center: npt.NDArray[np.float32], radius: float, color: tuple[int, int, int]
) -> None:
    """Fill a disc; row 0 of the image is at y = -1.5."""
    middle_x, middle_y = _cells(center, _N_PIXELS)
    y, x = np.ogrid[:_N_PIXELS, :_N_PIXELS]
    radius_in_pixels = radius * _N_PIXELS / (2 * _SHOWN)
    image[(x - middle_x) ** 2 + (y - middle_y) ** 2 < radius_in_pixels**2] = color
