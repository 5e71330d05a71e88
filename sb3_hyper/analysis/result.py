"""What every analysis gives back: arrays under their names, ready for JSON."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sb3_hyper.checks import is_count

Array: TypeAlias = npt.NDArray[np.float64]
Steps: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AnalysisResult(ABC):
    """A frozen dataclass of names, numbers and numpy arrays."""

    @abstractmethod
    def table(self) -> str:
        """
        Lay out the result as text.

        :return: lines without a final line break
        """

    def to_dict(self) -> dict[str, Any]:
        """
        Turn arrays into lists.

        :return: values by name, nothing but JSON's types
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}


def to_json(results: Iterable[AnalysisResult]) -> str:
    """
    Write results down.

    :param results: any number of them
    :return: JSON text, a list
    """
    return json.dumps([result.to_dict() for result in results], indent=1)


def check_steps(steps: Sequence[int], length: int) -> Steps:
    """
    Check steps of a sequence.

    :param steps: the chosen t
    :param length: T
    :return: ``(S,)``
    :raises ValueError: unless they are whole numbers in [0, T), each given once
    """
    chosen = np.asarray(steps)
    if chosen.ndim != 1 or not chosen.size or chosen.dtype.kind not in "iu" or len(set(steps)) < len(steps):
        raise ValueError(f"steps={list(steps)}: wanted different whole numbers, for example 0 1 10 50 99.")
    if chosen.min() < 0 or chosen.max() >= length:
        raise ValueError(
            f"steps={list(steps)}: wanted numbers from 0 to {length - 1}, as the sequence has {length} steps. "
            "Choose others, or a longer sequence."
        )
    return chosen.astype(np.int64)


def check_counts(**counts: object) -> None:
    """Raise ValueError where a number is less than 1, or no whole one."""
    for name, count in counts.items():
        if not is_count(count):
            raise ValueError(f"{name}={count!r}: wanted at least 1, a whole number.")


def format_row(name: str, values: Iterable[float], width: int = 10) -> str:
    """
    Lay out a row of a table.

    :param name: the first column
    :param values: three significant digits of each are shown
    :param width: width of a column
    :return: a line
    """
    return f"{name:<32}" + "".join(f"{value:>{width}.3g}" for value in values)
