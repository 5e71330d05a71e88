"""The path of a training run, taken apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class RunPath(NamedTuple):
    """
    A run's folder ``LOGS/ALGO/ENV_N`` as RL-Zoo makes it.

    :param folder: LOGS
    :param algo: ALGO, RL-Zoo's name of the algorithm
    :param env_id: ENV, the environment's id
    :param exp_id: N, the run's number
    """

    folder: Path
    algo: str
    env_id: str
    exp_id: int

    @classmethod
    def parse(cls, path: Path) -> RunPath:
        """
        Take a path apart; nothing is looked up on the disk.

        :param path: the run's folder, relative or not
        :return: its parts
        :raises ValueError: when it does not end in ENV_N
        """
        # A relative path may end in dots.
        path = path.resolve()
        name = re.fullmatch(r"(.+)_(\d+)", path.name)
        if name is None:
            raise ValueError(
                f"{path} is no run: wanted a folder LOGS/ALGO/ENV_N as RL-Zoo makes it, or a model (.zip)."
            )
        return cls(path.parent.parent, path.parent.name, name[1], int(name[2]))
