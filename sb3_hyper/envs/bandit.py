"""Bernoulli bandits: pull the arms, find the best one, and lose little on the way."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sb3_hyper.envs.random_stream import Array, RandomStream
from sb3_hyper.envs.task import Split, TaskDistribution

N_LEVELS = 2**24
"""How many values a uniform number has; each is exact in float32, and so is every sum of them below 1."""
_N_TEST_LEVELS = N_LEVELS // 4
_N_CHARACTERS, _BAR_HEIGHT, _BAR_WIDTH = 40, 100, 24
_BACKGROUND, _MEAN, _PULLS, _LAST = (230, 230, 230), (60, 160, 60), (40, 80, 200), (200, 200, 170)


def uniform_levels(stream: RandomStream, n_draws: int, split: Split | None, mask: Array | None) -> Array:
    """
    Draw uniform numbers, as whole multiples of 1 / ``N_LEVELS``, whose sum tells the split.

    The fractional part of a sum of independent uniform numbers is itself uniform, and independent of all of them but
    any one. "test" has the sums with a fractional part of at least 3/4, "train" the others: two disjoint parts, between
    which no set of fewer than ``n_draws`` of the numbers can tell. The last number is shifted to where its split is.

    :param stream: The environments' random streams.
    :param n_draws: How many numbers per environment.
    :param split: None for all sums, "train" or "test".
    :param mask: Bool, shape ``(B,)``: the environments whose stream advances; None for all.
    :return: int64 in [0, N_LEVELS), shape ``(B, n_draws)``.
    """
    xp = stream.xp
    levels = stream.integers(N_LEVELS, n_draws, mask)
    if split is None:
        return levels
    first, last = levels[:, :-1], levels[:, -1:]
    n_train = N_LEVELS - _N_TEST_LEVELS
    wanted = n_train + last * _N_TEST_LEVELS // N_LEVELS if split == "test" else last * n_train // N_LEVELS
    return xp.concat([first, (wanted - xp.sum(first, axis=1)[:, None]) % N_LEVELS], axis=1)


class BanditState(NamedTuple):
    """The state of a batch of bandits."""

    arm: Array
    """The arm that was pulled last, int64 in [0, n_arms), -1 before the first pull, shape ``(B,)``."""
    n_pulls: Array
    """How often each arm was pulled in this episode, int64, shape ``(B, n_arms)``."""
    n_steps: Array
    """Steps taken in this episode, int64, shape ``(B,)``."""


class Bandit(TaskDistribution):
    """
    Bernoulli multi-armed bandits, the first test of RL^2 (Duan et al., 2016, section 3.1).

    There is no state: the observation is always 1, and what the agent knows it must read off its previous actions and
    rewards.

    | observation | content | range |
    |---|---|---|
    | 0 | nothing | {1} |

    Action i pulls arm i. The reward is 1 with the probability that is the arm's mean and else 0, so in {0, 1}. One pull
    is one step; an episode always lasts ``n_steps`` steps, and a trial is one episode: with no state to go back to, the
    end of an episode would mean nothing.

    The task is the vector of the arms' means, each uniform in [0, 1), independently (in steps of 2^-24). Any vector in
    [0, 1]^n_arms may be set. ``split="test"`` has the quarter of the tasks where the fractional part of the sum of all
    means is at least 3/4, ``split="train"`` the others: thin slices, throughout the cube. The means of any
    n_arms - 1 arms have the same distribution in both.

    Reference points: ``random`` (n_steps / 2) and ``knows_task``, which always pulls the best arm
    (n_steps * n_arms / (n_arms + 1)), are exact; ``thompson_sampling`` with the uniform prior and ``good``, which pulls
    the arm of the greatest finite-horizon Gittins index, are measured over 200,000 trials, standard error 0.04.

    The paper's tests are ``n_arms`` in {5, 10, 50} and ``n_steps`` in {10, 100, 500}. The splits are ours.

    :param n_arms: Number of arms, at least 2.
    :param n_steps: Pulls per episode, at least 1.
    :param split: None for all tasks, "train" or "test" for disjoint parts.
    :raises ValueError: If a number is too small, or there is no such split.
    """

    n_episodes: ClassVar[int] = 1
    fixed_length = True
    task_names: ClassVar[str] = "the means of the arms"
    reference_returns: ClassVar[Mapping[str, float]] = {
        "random": 50.0,
        "thompson_sampling": 75.05,
        "good": 78.65,
        "knows_task": 83.33,
    }

    def __init__(self, n_arms: int = 5, n_steps: int = 100, split: Split | None = None) -> None:
        if n_arms < 2:
            raise ValueError(f"{type(self).__name__} needs n_arms >= 2 to have a choice, got {n_arms}.")
        if n_steps < 1:
            raise ValueError(f"n_steps must be at least 1, got {n_steps}.")
        self.n_arms = operator.index(n_arms)
        self.n_steps = operator.index(n_steps)
        super().__init__(spaces.Box(0.0, 1.0, (self.n_arms,), np.float32), split)
        self.episode_length = self.n_steps
        self.arms = np.arange(self.n_arms)
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Discrete(self.n_arms)

    def sample_task(self, stream: RandomStream, mask: Array | None = None) -> Array:
        """Draw the arms' means."""
        levels = uniform_levels(stream, self.n_arms, self.split, mask)
        return stream.xp.astype(levels, stream.xp.float32) / N_LEVELS

    def reset(self, stream: RandomStream, task: Array, mask: Array | None = None) -> BanditState:
        """Forget all pulls."""
        zero = stream.xp.zeros_like(stream.counter)
        return BanditState(zero - 1, stream.xp.zeros_like(task, dtype=stream.xp.int64), zero)

    def step(
        self, stream: RandomStream, task: Array, state: BanditState, action: Array
    ) -> tuple[BanditState, Array, Array]:
        """Pull an arm."""
        xp = stream.xp
        is_pulled = action[:, None] == self._constant("arms", action)
        mean = xp.sum(task * is_pulled, axis=1)
        reward = xp.astype(stream.uniform()[:, 0] < mean, xp.float32)
        n_steps = state.n_steps + 1
        return BanditState(action, state.n_pulls + is_pulled, n_steps), reward, n_steps >= self.episode_length

    def observe(self, task: Array, state: BanditState) -> Array:
        """Show nothing."""
        return task[:, :1] * 0.0 + 1.0

    def render_text(self, task: npt.NDArray[np.float32], state: BanditState) -> str:
        """Draw a bar for the mean of each arm, the number of its pulls, and an arrow at the last one."""
        lines = []
        for arm, (mean, n_pulls) in enumerate(zip(task[0], state.n_pulls[0], strict=True)):
            bar = "#" * round(float(mean) * _N_CHARACTERS)
            arrow = " <" if arm == state.arm[0] else ""
            lines.append(f"Arm {arm} |{bar:<{_N_CHARACTERS}}| mean {mean:.2f}, pulls {int(n_pulls)}{arrow}")
        return "\n".join([*lines, f"step {int(state.n_steps[0])}"])

    def render_rgb(self, task: npt.NDArray[np.float32], state: BanditState) -> npt.NDArray[np.uint8]:
        """Draw for each arm its mean (green bar) and its share of the steps (blue bar); behind the last one, yellow."""
        image = np.full((_BAR_HEIGHT, self.n_arms * _BAR_WIDTH, 3), _BACKGROUND, np.uint8)
        half = _BAR_WIDTH // 2
        for arm, (mean, n_pulls) in enumerate(zip(task[0], state.n_pulls[0], strict=True)):
            column = image[:, arm * _BAR_WIDTH : (arm + 1) * _BAR_WIDTH]
            if arm == state.arm[0]:
                column[:] = _LAST
            column[: round(float(mean) * _BAR_HEIGHT), 2:half] = _MEAN
            column[: round(float(n_pulls) / self.n_steps * _BAR_HEIGHT), half:-2] = _PULLS
        return np.ascontiguousarray(image[::-1])
