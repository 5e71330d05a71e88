"""T-mazes: a long corridor, a cue near its start, and a choice at its end that depends on the cue."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.finite_tasks import FiniteTaskDistribution, task_table
from sb3_hyper.envs.random_stream import Array, RandomStream
from sb3_hyper.envs.task import Split

LEFT, RIGHT, UP, DOWN = range(4)
_DEFAULT_LENGTH = 100
_PIXELS_PER_CELL = 6
_FLOOR, _AGENT, _RIGHT_ARM, _WRONG_ARM = (220, 220, 220), (40, 80, 200), (60, 160, 60), (190, 60, 60)
_NOISE = (230, 180, 40)


class TMazeState(NamedTuple):
    """The state of a batch of T-mazes."""

    position: Array
    """Cell of the corridor, int64 in [0, corridor_length), shape ``(B,)``."""
    noise: Array
    """The noise bit that is shown now, float32, +1 or -1, shape ``(B,)``."""
    n_steps: Array
    """Steps taken in this episode, int64, shape ``(B,)``."""


class TMazeLS(FiniteTaskDistribution):
    """
    T-LS of AMRL (Beck et al., 2020) as SplAgger uses it: a long corridor with a cue at position 1.

    The observation is ``[at start, indicator, at end, noise]``, each in {-1, 0, 1}. The indicator (+1 up, -1 down) is
    shown at position 1 only and is 0 elsewhere; the noise bit is a fresh fair +1 or -1 at every step, the episode's
    first and last observation included. Whatever it does, the agent is moved right until it stands in the last cell;
    the action taken there is the choice, and ends the episode: so an episode lasts exactly ``corridor_length`` steps.
    Actions: 0 left, 1 right, 2 up, 3 down; in the last cell left counts as up and right as down. The reward is +4 if
    the choice matches the indicator, -3 if it does not, and 0 at every other step.

    The task is the indicator, ``[1]`` for up and ``[-1]`` for down, each with probability one half.

    Two variants of ours, for every T-maze. ``positional_encoding`` appends the position to the observation, divided by
    that of the last cell: 0 at the start, 1 at the end. ``random_length`` draws the corridor's length for every trial,
    to test what an agent learned in corridors of one length: ``(low, high)`` are the shortest and the longest, all
    lengths between are equally likely, and the length is the last number of the task. Spaces stay the same but for the
    task's, so an agent that was trained without it can be evaluated with it.

    :param corridor_length: Number of cells, at least 3.
    :param split: Must be None: a learner needs both tasks.
    :param positional_encoding: Whether the observation has a fifth entry, the position in [0, 1].
    :param random_length: None, or the range of the corridors' lengths; ``corridor_length`` is then the longest.
    :raises ValueError: If a corridor is too short, a range is empty or contradicts ``corridor_length``, or a split is
        asked for.
    """

    fixed_length = True
    task_names: ClassVar[str] = "the indicators (1 up, -1 down) and, where it is random, the corridor's length"
    reference_returns: ClassVar[Mapping[str, float]] = {"random": 2.0, "no_memory": 2.0, "good": 16.0}
    needs_all_tasks: ClassVar[bool] = True
    n_indicators: ClassVar[int] = 1
    shortest_corridor: ClassVar[int] = 3

    def __init__(
        self,
        corridor_length: int = _DEFAULT_LENGTH,
        split: Split | None = None,
        positional_encoding: bool = False,
        random_length: tuple[int, int] | None = None,
    ) -> None:
        self.random_length = self._checked_range(random_length, corridor_length)
        low, high = self.random_length or (operator.index(corridor_length),) * 2
        if low < self.shortest_corridor:
            raise ValueError(
                f"{type(self).__name__} needs corridor_length >= {self.shortest_corridor}, so that every indicator has "
                f"a cell of its own before the last one; got {low}."
            )
        tasks = list(product((1.0, -1.0), repeat=self.n_indicators))
        if self.random_length is not None:
            tasks = [(*task, float(length)) for task in tasks for length in range(low, high + 1)]
        super().__init__(task_table(tasks), split)
        self.corridor_length = self.episode_length = high
        self.fixed_length = self.fixed_length and low == high
        self.positional_encoding = positional_encoding
        lowest = np.array([-1.0] * 4 + [0.0] * bool(positional_encoding), np.float32)
        self.observation_space = spaces.Box(lowest, np.ones_like(lowest), dtype=np.float32)
        self.action_space = spaces.Discrete(4)

    def _checked_range(self, random_length: Sequence[int] | None, corridor_length: int) -> tuple[int, int] | None:
        if random_length is None:
            return None
        if len(random_length) != 2 or random_length[0] > random_length[1]:
            raise ValueError(f"random_length must be None or (shortest, longest), got {random_length}.")
        low, high = operator.index(random_length[0]), operator.index(random_length[1])
        if corridor_length not in (_DEFAULT_LENGTH, high):
            raise ValueError(
                f"corridor_length={corridor_length} contradicts random_length={random_length}: set one of the two."
            )
        return low, high

    @property
    def indicator_positions(self) -> tuple[int, ...]:
        """The cells where indicator 0, 1, ... is shown, in the longest corridor."""
        return self._positions(self.corridor_length)

    def _positions(self, length: Any) -> tuple[Any, ...]:
        """The cells where indicator 0, 1, ... is shown, each a number or an array like the length."""
        return (1,)

    def _length(self, task: Array) -> Any:
        """The corridors' lengths: one for all, or one each, int64, (B, task_dim) -> (B,)."""
        if self.random_length is None:
            return self.corridor_length
        xp = array_namespace(task)
        return xp.astype(task[:, -1], xp.int64)

    def up_is_correct(self, task: Array) -> Array:
        """
        Say which choice is right.

        :param task: The tasks, shape ``(B, task_dim)``.
        :return: Bool, shape ``(B,)``: True where it is up.
        """
        return task[:, 0] > 0

    def noise_probability(self, task: Array) -> Array | float:
        """
        Say how likely the noise bit is +1.

        :param task: The tasks, shape ``(B, task_dim)``.
        :return: A probability for all, or one each, shape ``(B,)``.
        """
        return 0.5

    def _noise(self, stream: RandomStream, task: Array, mask: Array | None) -> Array:
        is_up = stream.uniform(mask=mask)[:, 0] < self.noise_probability(task)
        return stream.xp.astype(is_up, stream.xp.float32) * 2.0 - 1.0

    def reset(self, stream: RandomStream, task: Array, mask: Array | None = None) -> TMazeState:
        """Put every agent into the first cell."""
        zero = stream.xp.zeros_like(stream.counter)
        return TMazeState(zero, self._noise(stream, task, mask), zero)

    def step(
        self, stream: RandomStream, task: Array, state: TMazeState, action: Array
    ) -> tuple[TMazeState, Array, Array]:
        """Move right, or choose in the last cell."""
        xp = stream.xp
        at_end = state.position == self._length(task) - 1
        reward = self._choice_reward(xp, task, at_end, action % 2 == 0)
        position = state.position + xp.astype(~at_end, xp.int64)
        return TMazeState(position, self._noise(stream, task, None), state.n_steps + 1), reward, at_end

    def _choice_reward(self, xp: Any, task: Array, chooses: Array, chooses_up: Array) -> Array:
        is_correct = xp.astype(chooses_up == self.up_is_correct(task), xp.float32)
        return xp.astype(chooses, xp.float32) * (is_correct * 7.0 - 3.0)

    def observe(self, task: Array, state: TMazeState) -> Array:
        """Show ``[at start, indicator, at end, noise]``, and the position with ``positional_encoding``."""
        xp = array_namespace(task)
        length = self._length(task)
        at_start = xp.astype(state.position == 0, xp.float32)
        at_end = xp.astype(state.position == length - 1, xp.float32)
        indicator = xp.zeros_like(state.noise)
        for i, position in enumerate(self._positions(length)):
            indicator = indicator + xp.astype(state.position == position, xp.float32) * task[:, i]
        features = [at_start, indicator, at_end, state.noise]
        if self.positional_encoding:
            # Of two arrays: some devices multiply by the rounded inverse where the divisor is a number.
            last = xp.zeros_like(state.position) + (length - 1)
            features.append(xp.astype(state.position, xp.float32) / xp.astype(last, xp.float32))
        return xp.stack(features, axis=1)

    def _drawn_length(self, task: npt.NDArray[np.float32]) -> int:
        """The length of one environment's corridor, (1, task_dim) -> a number."""
        return self.corridor_length if self.random_length is None else int(task[0, -1])

    def render_text(self, task: npt.NDArray[np.float32], state: TMazeState) -> str:
        """Draw the corridor: the agent A, the indicators ^ and v, the right arm + and the wrong one -."""
        length = self._drawn_length(task)
        cells = ["."] * length
        for i, position in enumerate(self._positions(length)):
            cells[position] = "^" if task[0, i] > 0 else "v"
        cells[int(state.position[0])] = "A"
        arms = ("+", "-") if self.up_is_correct(task)[0] else ("-", "+")
        shown = [
            int(entry) if entry.is_integer() else round(entry, 3) for entry in self.observe(task, state)[0].tolist()
        ]
        indent = " " * (length - 1)
        return f"{indent}{arms[0]}\n{''.join(cells)}\n{indent}{arms[1]}\nstep {int(state.n_steps[0])}, observes {shown}"

    def render_rgb(self, task: npt.NDArray[np.float32], state: TMazeState) -> npt.NDArray[np.uint8]:
        """
        Draw the corridor in room for the longest: the agent blue, what says up or is right green, else red.

        The noise bit is yellow, above the agent for +1 and below for -1; in the last cell the arms hide it.
        """
        cells = np.zeros((3, self.corridor_length, 3), np.uint8)
        length = self._drawn_length(task)
        cells[1, :length] = _FLOOR
        for i, position in enumerate(self._positions(length)):
            cells[1, position] = _RIGHT_ARM if task[0, i] > 0 else _WRONG_ARM
        cells[0 if state.noise[0] > 0 else 2, int(state.position[0])] = _NOISE
        up = bool(self.up_is_correct(task)[0])
        cells[0, length - 1] = _RIGHT_ARM if up else _WRONG_ARM
        cells[2, length - 1] = _WRONG_ARM if up else _RIGHT_ARM
        cells[1, int(state.position[0])] = _AGENT
        return cells.repeat(_PIXELS_PER_CELL, axis=0).repeat(_PIXELS_PER_CELL, axis=1)


class TMazeAgreement(TMazeLS):
    """
    T-LS with a second cue half-way: *up* is correct if and only if the two indicators differ.

    The task is ``[first indicator, second indicator]``, two fair signs. The first is shown at position 1, the second at
    position ``corridor_length // 2``, which is 50 by default. Everything else is as in :class:`TMazeLS`.

    :param corridor_length: Number of cells, at least 4.
    :param split: Must be None.
    :param positional_encoding: As in :class:`TMazeLS`.
    :param random_length: As in :class:`TMazeLS`.
    :raises ValueError: As in :class:`TMazeLS`.
    """

    n_indicators = 2
    shortest_corridor = 4

    def _positions(self, length: Any) -> tuple[Any, ...]:
        return (1, length // 2)

    def up_is_correct(self, task: Array) -> Array:
        """Up is right where the two indicators differ."""
        return task[:, 0] != task[:, 1]


class TMazeLatent(TMazeLS):
    """
    T-LS without a cue: the task must be read off the frequency of the noise bits.

    The noise bit is +1 with probability ``up_probability`` if the task is up, and one half if it is down; the indicator
    is always 0. Everything else is as in :class:`TMazeLS`. The agent sees ``corridor_length`` bits before its first
    choice; that choice's reward then tells the task.

    :param corridor_length: Number of cells, at least 3.
    :param up_probability: Probability of +1 under the task up, in [0, 1].
    :param split: Must be None.
    :param positional_encoding: As in :class:`TMazeLS`.
    :param random_length: As in :class:`TMazeLS`.
    :raises ValueError: If the probability is none, and as in :class:`TMazeLS`.
    """

    reference_returns: ClassVar[Mapping[str, float]] = {"random": 2.0, "no_memory": 2.0, "good": 15.86}

    def __init__(
        self,
        corridor_length: int = _DEFAULT_LENGTH,
        up_probability: float = 0.7,
        split: Split | None = None,
        positional_encoding: bool = False,
        random_length: tuple[int, int] | None = None,
    ) -> None:
        if not 0.0 <= up_probability <= 1.0:
            raise ValueError(f"up_probability must be in [0, 1], got {up_probability}.")
        self.up_probability = float(up_probability)
        super().__init__(corridor_length, split, positional_encoding, random_length)

    def _positions(self, length: Any) -> tuple[Any, ...]:
        return ()

    def noise_probability(self, task: Array) -> Array:
        """Tell the tasks apart: ``up_probability`` or one half."""
        return 0.5 + (self.up_probability - 0.5) * (task[:, 0] + 1.0) / 2.0


class TMazeOrder(TMazeLS):
    """
    T-LS with two cues whose order matters: *up* is correct if and only if the first says up and the second says down.

    The indicators are shown at positions 3 and 5. A transition that shows one looks the same as a transition that shows
    the other, so a memory that is a function of the set of transitions cannot tell "up, then down" from "down, then
    up". With ideal play otherwise it gets 0.5 * 4 + 0.5 * 0.5 = 2.25 in the first episode, and learns the rest from
    that episode's reward: 14.25 per trial. The task is ``[first indicator, second indicator]``, two fair signs.
    Everything else is as in :class:`TMazeLS`.

    :param corridor_length: Number of cells, at least 7.
    :param split: Must be None.
    :param positional_encoding: As in :class:`TMazeLS`.
    :param random_length: As in :class:`TMazeLS`.
    :raises ValueError: As in :class:`TMazeLS`.
    """

    n_indicators = 2
    shortest_corridor = 7
    reference_returns: ClassVar[Mapping[str, float]] = {
        "random": 2.0,
        "no_memory": 9.0,
        "unordered_memory": 14.25,
        "good": 16.0,
    }

    def _positions(self, length: Any) -> tuple[Any, ...]:
        return (3, 5)

    def up_is_correct(self, task: Array) -> Array:
        """Up is right after up, then down."""
        return (task[:, 0] > 0) & (task[:, 1] < 0)


class TMazeChecks(TMazeLS):
    """
    T-LS with checks: the agent advances only by playing the bit that it is shown.

    Before the last cell, playing up when the noise bit is +1, or down when it is -1, moves the agent one cell and pays
    +0.1; every other action leaves it where it is and pays 0. A fresh bit is shown at every step either way. Nothing is
    forced: in the last cell up and down are the choice, which pays +4 or -3 and ends the episode as in
    :class:`TMazeLS`, while left and right wait. After ``time_limit`` steps the episode ends, with no further reward.
    The best return is 0.1 * (corridor_length - 1) + 4 per episode, in ``corridor_length`` steps.

    :param corridor_length: Number of cells, at least 3.
    :param time_limit: The most steps of an episode, at least ``corridor_length``; None for 1.5 times that length (150).
        It is the same for all corridors if their lengths are random.
    :param split: Must be None.
    :param positional_encoding: As in :class:`TMazeLS`.
    :param random_length: As in :class:`TMazeLS`.
    :raises ValueError: If the time limit is shorter than the corridor, and as in :class:`TMazeLS`.
    """

    fixed_length = False
    reference_returns: ClassVar[Mapping[str, float]] = {"random": 15.0, "no_memory": 41.6, "good": 55.6}

    def __init__(
        self,
        corridor_length: int = _DEFAULT_LENGTH,
        time_limit: int | None = None,
        split: Split | None = None,
        positional_encoding: bool = False,
        random_length: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(corridor_length, split, positional_encoding, random_length)
        self.time_limit = self.corridor_length * 3 // 2 if time_limit is None else int(time_limit)
        if self.time_limit < self.corridor_length:
            raise ValueError(
                f"time_limit must be at least corridor_length = {self.corridor_length}, or nobody reaches the end; "
                f"got {time_limit}."
            )
        self.episode_length = self.time_limit

    def step(
        self, stream: RandomStream, task: Array, state: TMazeState, action: Array
    ) -> tuple[TMazeState, Array, Array]:
        """Move right if the shown bit is played, or choose in the last cell."""
        xp = stream.xp
        at_end = state.position == self._length(task) - 1
        plays_up, plays_down = action == UP, action == DOWN
        passes = ~at_end & ((plays_up & (state.noise > 0)) | (plays_down & (state.noise < 0)))
        chooses = at_end & (plays_up | plays_down)
        reward = self._choice_reward(xp, task, chooses, plays_up) + xp.astype(passes, xp.float32) * 0.1
        position = state.position + xp.astype(passes, xp.int64)
        next_state = TMazeState(position, self._noise(stream, task, None), state.n_steps + 1)
        return next_state, reward, chooses | (next_state.n_steps >= self.time_limit)
