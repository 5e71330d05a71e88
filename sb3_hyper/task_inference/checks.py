"""Checks of settings, before any step is taken."""

from collections.abc import Sequence
from numbers import Integral


def _is_weight(number: object) -> bool:
    return isinstance(number, (int, float)) and 0 <= number < float("inf")


def check_weight(**weights: object) -> None:
    """Raise ValueError unless all of these settings are finite numbers, 0 or above."""
    for name, weight in weights.items():
        if not _is_weight(weight):
            raise ValueError(f"{name}={weight!r}, wanted a weight of a loss: a number, 0 or above.")


def check_learning_rate(learning_rate: object) -> None:
    """Raise ValueError unless it is a schedule or a finite number, 0 or above."""
    if not _is_weight(learning_rate) and not callable(learning_rate):
        raise ValueError(
            f"learning_rate={learning_rate!r}, wanted a number, 0 or above, or a schedule: a function of the progress "
            "that remains, from 1 to 0, as stable_baselines3.common.utils.LinearSchedule(1e-3, 0, 1) is."
        )


def check_counts(**counts: object) -> None:
    """Raise ValueError unless all of these settings are whole numbers, 1 or above."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, Integral) or int(count) < 1:
            raise ValueError(f"{name}={count!r}, wanted at least 1, and a whole number.")


def check_widths(name: str, widths: object) -> Sequence[int]:
    """
    Check widths of layers.

    :param name: the setting
    :param widths: what the user gave
    :return: the widths
    :raises ValueError: unless it is a sequence of positive whole numbers
    """
    if not isinstance(widths, Sequence) or not all(isinstance(width, int) and width > 0 for width in widths):
        raise ValueError(f"{name}={widths!r}: wanted a list of positive widths, for example [64, 32], or [].")
    return widths
