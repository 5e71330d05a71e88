"""Checks of settings, before any step is taken."""

import inspect
from collections.abc import Iterable, Sequence
from numbers import Integral

from sb3_hyper.errors import did_you_mean


def _is_weight(number: object) -> bool:
    return isinstance(number, (int, float)) and 0 <= number < float("inf")


def is_count(count: object) -> bool:
    """Whether a setting is a whole number, 1 or above."""
    return not isinstance(count, bool) and isinstance(count, Integral) and int(count) >= 1


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
        if not is_count(count):
            raise ValueError(f"{name}={count!r}, wanted at least 1, and a whole number.")


def check_widths(name: str, widths: object) -> tuple[int, ...]:
    """
    Check widths of layers.

    :param name: the setting
    :param widths: what the user gave
    :return: the widths
    :raises ValueError: unless it is a sequence of positive whole numbers
    """
    if not isinstance(widths, Sequence) or not all(map(is_count, widths)):
        raise ValueError(f"{name}={widths!r}: wanted a list of positive widths, for example [64, 32], or [].")
    return tuple(widths)


def check_keywords(kind: str, maker: type, keywords: Iterable[str]) -> None:
    """
    Check that a class takes keywords, unless it forwards whatever it gets.

    :param kind: what it makes, "aggregator" for one that is given its keywords as ``aggregator_kwargs``
    :param maker: the class; its first parameter is not the user's
    :param keywords: what the user gave
    :raises TypeError: when it does not take one of them
    """
    parameters = list(inspect.signature(maker).parameters.values())[1:]
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    accepted = sorted(parameter.name for parameter in parameters)
    for keyword in keywords:
        if keyword not in accepted:
            raise TypeError(
                f"The {kind} {maker.__name__} got the keyword {keyword!r} in {kind}_kwargs; it takes "
                f"{', '.join(accepted) or 'none'}.{did_you_mean(keyword, accepted)}"
            )
