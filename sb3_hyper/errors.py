"""How a name that does not exist is reported."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: object, choices: Iterable[str]) -> str:
    """
    Propose the nearest name, whatever its case.

    :param name: what the user gave
    :param choices: the names that exist
    :return: a question with a space before it, or nothing where no name is near
    """
    lowered = {choice.lower(): choice for choice in choices}
    close = get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.5)
    return f" Did you mean {lowered[close[0]]!r}?" if close else ""


def unknown_name(kind: str, name: object, choices: Iterable[str]) -> ValueError:
    """
    The error for a name that is not in a registry.

    :param kind: what the name stands for, for example "aggregator"
    :param name: what the user gave
    :param choices: the names that exist
    :return: a ``ValueError`` which proposes the nearest one and lists the choices; the caller raises it
    """
    names = sorted(choices)
    nearest = did_you_mean(name, names)
    return ValueError(f"Unknown {kind} {name!r}.{nearest} Choose one of {', '.join(map(repr, names))}.")
