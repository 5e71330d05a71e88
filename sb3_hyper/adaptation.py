"""What an evaluation found: returns by episode of the trial, their means, and how sure we are of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_N_RESAMPLES = 5000


class Estimate(NamedTuple):
    """A mean and its bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap_means(samples: npt.NDArray[np.float64], n_resamples: int = _N_RESAMPLES) -> npt.NDArray[np.float64]:
    """
    Means of resamples (Efron 1979): rows are drawn with replacement and stay whole, as their columns may be correlated.

    The draws start from a fixed seed: the same samples give the same means.

    :param samples: ``(N, D)``
    :param n_resamples: R
    :return: ``(R, D)``
    """
    random = np.random.default_rng(0)
    n_samples = len(samples)
    return np.stack([samples[random.integers(n_samples, size=n_samples)].mean(axis=0) for _ in range(n_resamples)])


@dataclass(frozen=True, eq=False)
class AdaptationResult:
    """
    Returns of trials, episode by episode.

    Intervals are percentile intervals of the bootstrap over trials; that of a single trial has no width.

    :param environment: name of the environment
    :param policy: name of the policy
    :param returns: ``(n_trials, n_episodes)`` undiscounted
    :param deterministic: whether the likeliest actions were taken
    :param seed: seed of the evaluation; None: not seeded
    :param reference_returns: mean returns per trial of known policies, where they apply
    :param confidence: coverage of the intervals, in (0, 1)
    :raises ValueError: when the returns are no table, or the confidence is none
    """

    environment: str
    policy: str
    returns: npt.NDArray[np.float64]
    deterministic: bool
    seed: int | None = None
    reference_returns: Mapping[str, float] = field(default_factory=dict)
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.returns.ndim != 2 or self.returns.size == 0:
            raise ValueError(
                f"returns has the shape {self.returns.shape}, wanted (n_trials, n_episodes), both at least 1."
            )
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence={self.confidence}: wanted a share between 0 and 1, for example 0.95.")

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.returns)

    @property
    def n_episodes(self) -> int:
        """Number of episodes in a trial."""
        return int(self.returns.shape[1])

    @cached_property
    def _estimates(self) -> list[Estimate]:
        samples = np.column_stack((self.returns, self.returns.sum(axis=1)))
        tail = 50 * (1 - self.confidence)
        low, high = np.percentile(bootstrap_means(samples), [tail, 100 - tail], axis=0)
        return [Estimate(*map(float, row)) for row in zip(samples.mean(axis=0), low, high, strict=True)]

    @property
    def episodes(self) -> list[Estimate]:
        """Mean return of each episode of the trial."""
        return self._estimates[:-1]

    @property
    def trial(self) -> Estimate:
        """Mean return of the whole trial."""
        return self._estimates[-1]

    def table(self) -> str:
        """
        Lay out means and intervals as text.

        :return: lines without a final line break
        """
        trials = f"{self.n_trials} trial{'s' if self.n_trials > 1 else ''}"
        actions = "likeliest actions" if self.deterministic else "sampled actions"
        lines = [f"{self.environment}, {self.policy}: {trials}, {actions}", ""]
        lines.append(f"{'episode':<12}{'mean return':>12}   {self.confidence:.0%} interval".rstrip())
        rows = [(str(k), estimate) for k, estimate in enumerate(self.episodes, start=1)] if self.n_episodes > 1 else []
        for name, (mean, low, high) in [*rows, ("trial", self.trial)]:
            lines.append(f"{name:<12}{mean:>12.2f}   [{low:.2f}, {high:.2f}]")
        if self.reference_returns:
            lines += ["", "known, per trial"]
            lines += [f"{name.replace('_', ' '):<16}{value:>8.2f}" for name, value in self.reference_returns.items()]
        return "\n".join(lines)

    def to_json(self) -> str:
        """
        Write everything down, the single returns too.

        :return: JSON text
        """
        return json.dumps(
            {
                "environment": self.environment,
                "policy": self.policy,
                "n_trials": self.n_trials,
                "n_episodes": self.n_episodes,
                "deterministic": self.deterministic,
                "seed": self.seed,
                "confidence": self.confidence,
                "trial": self.trial._asdict(),
                "episodes": [estimate._asdict() for estimate in self.episodes],
                "reference_returns": dict(self.reference_returns),
                "returns": self.returns.tolist(),
            },
            indent=2,
        )
