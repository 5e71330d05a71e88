"""One training run of a figure: which agent, where, how long, from which seed, and its command line."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sb3_hyper.errors import unknown_name
from sb3_hyper.reproduction.budgets import Budget, Training
from sb3_hyper.reproduction.figures import Figure, Method

ALGORITHM = "hyper_ppo"
PROGRAM = (sys.executable, "-m", "rl_zoo3.train")
"""What trains."""


@dataclass(frozen=True)
class PlannedRun:
    """
    A training run that a figure needs.

    :param environment: the environment's id
    :param method: the method
    :param training: how long, and with which hyperparameters
    :param seed: seed of the training
    """

    environment: str
    method: Method
    training: Training
    seed: int

    @property
    def name(self) -> str:
        """A name for its folder, the same for the same training in any figure, and another for any other training."""
        described = json.dumps([self.environment, self.frames, self.seed, self._hyperparameters])
        digest = hashlib.sha256(described.encode()).hexdigest()[:8]
        environment = re.sub(r"\W+", "-", self.environment)
        return f"{environment}_{self.method.policy}_{self.frames}_seed{self.seed}_{digest}"

    @property
    def frames(self) -> int:
        """Steps of all its environments together."""
        return self.training.frames

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"{self.environment}, {self.method.label}, seed {self.seed}"

    @property
    def _hyperparameters(self) -> list[str]:
        """Arguments of RL-Zoo's ``-params``, which evaluates what comes after the colon as Python."""
        policy_kwargs = {**self.training.policy_kwargs, **self.method.policy_kwargs}
        keywords = ", ".join(f"{key}={_literal(value)}" for key, value in sorted(policy_kwargs.items()))
        others = [f"{key}:{_literal(value)}" for key, value in sorted(self.training.hyperparameters.items())]
        return [f"policy:{_literal(self.method.policy)}", f"policy_kwargs:dict({keywords})", *others]

    def command(self, folder: Path, device: str, n_threads: int) -> list[str]:
        """
        Spell its command out.

        :param folder: RL-Zoo's log folder
        :param device: where to compute
        :param n_threads: threads of PyTorch
        :return: the program and its arguments
        """
        options = {"--algo": ALGORITHM, "--env": self.environment, "-f": folder, "-n": self.frames}
        options |= {"--seed": self.seed, "--eval-freq": -1, "--device": device, "--num-threads": n_threads}
        arguments = [str(part) for pair in options.items() for part in pair]
        return [*PROGRAM, *arguments, "-params", *self._hyperparameters]


def _literal(value: object) -> str:
    """A Python literal; strings in double quotes, as a shell quotes with single ones."""
    return f'"{value}"' if isinstance(value, str) else repr(value)


def spell(command: Sequence[str]) -> str:
    """
    Write a command as one types it.

    :param command: the program and its arguments
    :return: a line for a shell
    """
    return shlex.join(["python" if part == sys.executable else part for part in command])


def plan(
    figure: Figure,
    budget: Budget,
    n_seeds: int,
    frames: int | None = None,
    environments: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
) -> list[PlannedRun]:
    """
    List the runs of a figure, seed by seed, so that an early end leaves something of every method.

    :param figure: the figure
    :param budget: "small" or "paper"
    :param n_seeds: number of seeds, which are 1, 2, ...
    :param frames: frames of every run, instead of the budget's
    :param environments: some of the figure's environments; None: all
    :param methods: labels of some of its methods; None: all
    :return: the runs
    :raises ValueError: when a number is less than 1, or the figure has no such environment or method
    """
    for option, number in (("--seeds", n_seeds), ("--frames", frames)):
        if number is not None and number < 1:
            raise ValueError(f"{option} {number}: wanted at least 1.")
    chosen_methods = {method.label: method for method in figure.methods}
    for kind, names, choices in (
        ("environment", environments, figure.environments),
        ("method", methods, chosen_methods),
    ):
        for name in names or ():
            if name not in choices:
                raise unknown_name(f"{kind} of the figure {figure.name!r}:", name, choices)
    trainings = {name: trained[budget] for name, trained in figure.environments.items()}
    if frames is not None:
        trainings = {name: replace(training, frames=frames) for name, training in trainings.items()}
    return [
        PlannedRun(environment, chosen_methods[label], trainings[environment], seed)
        for seed in range(1, n_seeds + 1)
        for environment in trainings
        if environments is None or environment in environments
        for label in chosen_methods
        if methods is None or label in methods
    ]
