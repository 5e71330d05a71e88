"""How long, and with which hyperparameters, the figures train in each environment: on two cores, and as the papers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

Budget: TypeAlias = Literal["small", "paper"]
BUDGETS: tuple[Budget, ...] = get_args(Budget)
"""What two cores can do in minutes or hours, and what the papers did."""


@dataclass(frozen=True)
class Training:
    """
    One training, whatever the method.

    :param frames: steps of all its environments together
    :param policy_kwargs: keyword arguments of every method's policy
    :param hyperparameters: what differs from ``hyperparams/hyper_ppo.yml``
    """

    frames: int
    policy_kwargs: Mapping[str, object] = field(default_factory=dict)
    hyperparameters: Mapping[str, object] = field(default_factory=dict)


_PAPER_SIZE = {"size": "XL", "latent_dim": 24}
_PAPER_SIZE_2023 = {"size": "XL", "latent_dim": 10}
# The papers choose one of five learning rates for each method; which one, they do not say.
_PAPER_MEMORY = {"learning_rate": 1e-3, "gamma": 0.95, "clip_range": 0.05, "clip_range_vf": 0.05, "ent_coef": 0.1}

T_MAZE: dict[Budget, Training] = {
    "small": Training(600_000, {"size": "S"}),
    "paper": Training(1_500_000, _PAPER_SIZE, _PAPER_MEMORY),
}
T_AGREEMENT: dict[Budget, Training] = {
    "small": T_MAZE["small"],
    "paper": Training(10_000_000, _PAPER_SIZE, _PAPER_MEMORY),
}
PLANNING_3X3: dict[Budget, Training] = {
    "small": Training(3_000_000, {"size": "S"}),
    "paper": Training(50_000_000, _PAPER_SIZE, {"learning_rate": 1e-3, "clip_range": 0.05, "clip_range_vf": 0.05}),
}
MC_LS: dict[Budget, Training] = {
    "small": Training(600_000, {"size": "S"}),
    "paper": Training(60_000_000, _PAPER_SIZE, _PAPER_MEMORY),
}
GRID_NAVI: dict[Budget, Training] = {
    "small": Training(2_000_000, {"size": "S"}),
    "paper": Training(
        4_000_000, {**_PAPER_SIZE_2023, "state_dim": 25}, {**_PAPER_MEMORY, "n_envs": 16, "batch_size": 240}
    ),
}
GRID_NAVI_INITIALIZATION: dict[Budget, Training] = {
    "small": Training(400_000, {"size": "S"}),
    "paper": GRID_NAVI["paper"],
}
POINT_NAV: dict[Budget, Training] = {
    "small": Training(400_000, {"size": "S"}),
    "paper": Training(4_000_000, _PAPER_SIZE_2023),
}
HALF_CHEETAH_DIR: dict[Budget, Training] = {
    "small": Training(1_000_000, {"size": "S"}),
    "paper": Training(
        75_000_000,
        _PAPER_SIZE_2023,
        {"n_envs": 16, "n_steps": 400, "batch_size": 1600, "n_epochs": 2, "learning_rate": 3e-4},
    ),
}
