"""Checks of settings, before any step is taken."""

from collections.abc import Sequence


def check_weight(**weights: object) -> None:
    """Raise ValueError unless all of these settings are finite numbers, 0 or above."""
    for name, weight in weights.items():
        if not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
            raise ValueError(f"{name}={weight!r}, wanted a weight of a loss: a number, 0 or above.")


def check_counts(**counts: int) -> None:
    """Raise ValueError unless all of these settings are at least 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count}, wanted at least 1.")


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
