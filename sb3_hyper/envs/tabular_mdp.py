"""Random finite MDPs: learn transitions and rewards by heart, and exploit them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import cache
from statistics import NormalDist
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from gymnasium import spaces

from sb3_hyper.envs.bandit import N_LEVELS, uniform_levels
from sb3_hyper.envs.random_stream import Array, RandomStream
from sb3_hyper.envs.task import Split, TaskDistribution

_N_NORMALS = 2**16
_SUM_TOLERANCE = 1e-4
_PIXELS_PER_CELL = 16
_BACKGROUND, _AGENT, _GAIN, _LOSS = (230, 230, 230), (40, 80, 200), (60, 160, 60), (190, 60, 60)


@cache
def normal_quantiles() -> npt.NDArray[np.float32]:
    """
    Tabulate the standard normal distribution: a logarithm has other last bits in every library, a table has not.

    :return: The quantiles at the middles of 2^16 equal parts of [0, 1], float32, from -4.3 to 4.3.
    """
    inverse = NormalDist().inv_cdf
    upper = np.array([inverse((i + 0.5) / _N_NORMALS) for i in range(_N_NORMALS // 2, _N_NORMALS)], np.float32)
    return np.concatenate([-upper[::-1], upper])


class TabularMDPSpace(spaces.Box):
    """
    A box of which only the finite MDPs are members: vectors whose probabilities sum to 1.

    It is a box so that every library knows its shape and bounds.

    :param n_states: Number of states.
    :param n_actions: Number of actions.
    """

    def __init__(self, n_states: int, n_actions: int) -> None:
        self.n_states, self.n_actions = n_states, n_actions
        low = np.tile(np.array([0.0] * n_states + [-np.inf], np.float32), n_states * n_actions)
        high = np.tile(np.array([1.0] * n_states + [np.inf], np.float32), n_states * n_actions)
        super().__init__(low, high, dtype=np.float32)

    def contains(self, x: Any) -> bool:
        """
        Say whether this is a finite MDP.

        :param x: Anything that numpy can read as a vector of ``n_states * n_actions * (n_states + 1)`` numbers.
        :return: True if the probabilities are in [0, 1], sum to 1 within 1e-4, and the mean rewards are finite.
        """
        try:
            task = np.asarray(x, dtype=np.float32)
        except (TypeError, ValueError):
            return False
        if task.shape != self.shape or not np.isfinite(task).all():
            return False
        probabilities = task.reshape(-1, self.n_states + 1)[:, :-1]
        sums_to_1 = np.abs(probabilities.sum(axis=1, dtype=np.float64) - 1.0) <= _SUM_TOLERANCE
        return bool((probabilities >= 0.0).all() and sums_to_1.all())

    def sample(self, mask: None = None, probability: None = None) -> npt.NDArray[Any]:
        """
        Draw Dirichlet(1) transitions and N(1, 1) mean rewards, with the space's own generator.

        :param mask: Unused, as in ``Box``.
        :param probability: Unused, as in ``Box``.
        :return: A task, float32, shape ``(n_states * n_actions * (n_states + 1),)``.
        """
        n_pairs = self.n_states * self.n_actions
        transition = self.np_random.dirichlet(np.ones(self.n_states), n_pairs)
        mean_reward = self.np_random.normal(1.0, 1.0, (n_pairs, 1))
        return np.concatenate([transition, mean_reward], axis=1).astype(np.float32).reshape(-1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TabularMDPSpace) and self.shape == other.shape and self.n_states == other.n_states

    def __repr__(self) -> str:
        return f"TabularMDPSpace({self.n_states}, {self.n_actions})"


class TabularMDPState(NamedTuple):
    """The state of a batch of finite MDPs."""

    state: Array
    """int64 in [0, n_states), shape ``(B,)``."""
    n_steps: Array
    """Steps taken in this episode, int64, shape ``(B,)``."""


class TabularMDP(TaskDistribution):
    """
    Random finite MDPs, the second test of RL^2 (Duan et al., 2016, section 3.2).

    | observation | content | range |
    |---|---|---|
    | 0 to n_states - 1 | one-hot state | {0, 1} |

    Action a in state s leads to state s' with probability p(s' | s, a) and pays a reward from N(m(s, a), 1): any real
    number. Every episode starts in state 0 and always lasts ``horizon`` steps; a trial is 10 episodes.

    The task is the MDP: for every state and, within it, every action the vector ``[p(0 | s, a), ...,
    p(n_states - 1 | s, a), m(s, a)]``, one after the other, 550 numbers by default. The transition probabilities are
    Dirichlet(1, ..., 1), exactly (the spacings of sorted uniform numbers, in steps of 2^-24); the mean rewards are
    N(1, 1). Normal numbers, mean rewards and noise alike, are drawn from 2^16 equally likely quantiles, and so are
    within [-4.3, 4.3] of their mean. Any MDP may be set as a task.

    ``split="test"`` has the quarter of the tasks where the fractional part of the sum over all s and a of the expected
    next state, sum_s' s' p(s' | s, a), is at least 3/4, ``split="train"`` the others. The transitions of all pairs
    (s, a) but any one, and all rewards, have the same distribution in both.

    Reference points: ``random`` is exact (10 episodes x 10 steps x mean reward 1). Before each episode
    ``posterior_sampling`` (Strens, 2000) draws an MDP from the posterior and plays the optimal policy of that;
    ``posterior_mean`` plays the one of the posterior's mean; both measured over 20,000 trials, standard error 0.2.
    ``knows_task`` plays the optimal policy of the task, found by value iteration over the 10 steps: its mean over 10^5
    tasks.

    The paper also has 25 to 100 episodes (``n_episodes_per_trial``). The splits are ours, and the choice of the first
    state.

    :param n_states: Number of states, at least 2.
    :param n_actions: Number of actions, at least 2.
    :param horizon: Steps per episode, at least 1.
    :param split: None for all tasks, "train" or "test" for disjoint parts.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    n_episodes: ClassVar[int] = 10
    fixed_length = True
    task_names: ClassVar[str] = "p(0 | s, a), ..., p(n_states - 1 | s, a), m(s, a) for every state s and action a"
    reference_returns: ClassVar[Mapping[str, float]] = {
        "random": 100.0,
        "posterior_sampling": 133.7,
        "posterior_mean": 149.8,
        "knows_task": 218.5,
    }

    def __init__(self, n_states: int = 10, n_actions: int = 5, horizon: int = 10, split: Split | None = None) -> None:
        for name, value, least in (("n_states", n_states, 2), ("n_actions", n_actions, 2), ("horizon", horizon, 1)):
            if value < least:
                raise ValueError(f"{type(self).__name__} needs {name} >= {least}, got {value}.")
        self.n_states = operator.index(n_states)
        self.n_actions = operator.index(n_actions)
        self.horizon = operator.index(horizon)
        super().__init__(TabularMDPSpace(self.n_states, self.n_actions), split)
        self.episode_length = self.horizon
        self.states = np.arange(self.n_states)
        self.quantiles = normal_quantiles()
        self.observation_space = spaces.Box(0.0, 1.0, (self.n_states,), np.float32)
        self.action_space = spaces.Discrete(self.n_actions)

    def sample_task(self, stream: RandomStream, mask: Array | None = None) -> Array:
        """Draw the transitions and the mean rewards."""
        xp, n_pairs = stream.xp, self.n_states * self.n_actions
        levels = uniform_levels(stream, n_pairs * (self.n_states - 1), self.split, mask)
        # A number of levels is P(s' >= s) for some s, so that all of them sum to the sum of the expected next states.
        # (B, pairs (n_states - 1)) -> (B, pairs, n_states - 1) -> (B, pairs, n_states)
        levels = xp.sort(xp.reshape(levels, (-1, n_pairs, self.n_states - 1)), axis=2)
        zero = xp.zeros_like(levels[:, :, :1])
        spacings = xp.concat([levels, zero + N_LEVELS], axis=2) - xp.concat([zero, levels], axis=2)
        transition = xp.astype(xp.flip(spacings, axis=2), xp.float32) / N_LEVELS
        mean_reward = self._normal(stream.integers(_N_NORMALS, n_pairs, mask)) + 1.0
        # (B, pairs, n_states), (B, pairs, 1) -> (B, pairs, n_states + 1) -> (B, task_dim)
        task = xp.concat([transition, mean_reward[:, :, None]], axis=2)
        return xp.reshape(task, (task.shape[0], -1))

    def _normal(self, index: Array) -> Array:
        """Look up normal numbers, any shape."""
        xp = array_namespace(index)
        return xp.reshape(xp.take(self._constant("quantiles", index), xp.reshape(index, (-1,)), axis=0), index.shape)

    def reset(self, stream: RandomStream, task: Array, mask: Array | None = None) -> TabularMDPState:
        """Put every agent into state 0."""
        zero = stream.xp.zeros_like(stream.counter)
        return TabularMDPState(zero, zero)

    def step(
        self, stream: RandomStream, task: Array, state: TabularMDPState, action: Array
    ) -> tuple[TabularMDPState, Array, Array]:
        """Draw the next state and the reward."""
        xp = stream.xp
        row = self._row(stream, task, state, action)
        draws = stream.integers(N_LEVELS, 2)
        # Whole numbers: a cumulative sum of fractions would not be the same bits in every library.
        levels = xp.astype(xp.round(row[:, : self.n_states - 1] * N_LEVELS), xp.int64)
        is_passed = xp.cumulative_sum(levels, axis=1) <= draws[:, :1]
        next_state = xp.sum(xp.astype(is_passed, xp.int64), axis=1)
        reward = row[:, -1] + self._normal(draws[:, 1] * _N_NORMALS // N_LEVELS)
        n_steps = state.n_steps + 1
        return TabularMDPState(next_state, n_steps), reward, n_steps >= self.episode_length

    def _row(self, stream: RandomStream, task: Array, state: TabularMDPState, action: Array) -> Array:
        """Take the part of the task that is about this state and action, (B, task_dim) -> (B, n_states + 1)."""
        xp, n_pairs = stream.xp, self.n_states * self.n_actions
        start = xp.arange(task.shape[0], dtype=xp.int64, device=stream.device) * n_pairs
        rows = xp.reshape(task, (-1, self.n_states + 1))
        return xp.take(rows, start + state.state * self.n_actions + action, axis=0)

    def observe(self, task: Array, state: TabularMDPState) -> Array:
        """Show the state."""
        xp = array_namespace(task)
        return xp.astype(state.state[:, None] == self._constant("states", task), xp.float32)

    def _from_here(self, task: npt.NDArray[np.float32], state: TabularMDPState) -> npt.NDArray[np.float32]:
        """What each action does in the present state, shape ``(n_actions, n_states + 1)``."""
        rows = task.reshape(self.n_states, self.n_actions, self.n_states + 1)
        return np.array(rows[int(state.state[0])])

    def render_text(self, task: npt.NDArray[np.float32], state: TabularMDPState) -> str:
        """Draw the states with the agent A; below, for each action, the chances of the next states and the reward."""
        states = ["."] * self.n_states
        states[int(state.state[0])] = "A"
        lines = ["state    " + " ".join(f"{mark:>3}" for mark in states)]
        for action, row in enumerate(self._from_here(task, state)):
            chances = " ".join(f"{100 * probability:>3.0f}" for probability in row[:-1])
            lines.append(f"action {action} {chances} %, mean reward {row[-1]:.2f}")
        return "\n".join([*lines, f"step {int(state.n_steps[0])}"])

    def render_rgb(self, task: npt.NDArray[np.float32], state: TabularMDPState) -> npt.NDArray[np.uint8]:
        """
        Draw the states, with the agent's blue, over one row per action: the darker, the likelier the next state.

        The last column is the action's mean reward, the stronger the larger, green above 0 and red below.
        """
        rows = self._from_here(task, state)
        cells = np.full((1 + self.n_actions, self.n_states + 1, 3), 255, np.uint8)
        cells[0, :-1] = _BACKGROUND
        cells[0, int(state.state[0])] = _AGENT
        cells[1:, :-1] = (255 * (1.0 - np.sqrt(rows[:, :-1, None]))).astype(np.uint8)
        strength = np.minimum(np.abs(rows[:, -1:]) / 3.0, 1.0)
        color = np.where(rows[:, -1:] > 0, _GAIN, _LOSS)
        cells[1:, -1] = (255 + strength * (color - 255)).astype(np.uint8)
        return cells.repeat(_PIXELS_PER_CELL, axis=0).repeat(_PIXELS_PER_CELL, axis=1)
