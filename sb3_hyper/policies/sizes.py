"""Sizes of the base networks, by name or by width."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sb3_hyper.errors import unknown_name


class BaseSizes(NamedTuple):
    """
    Sizes of the base networks.

    :param state_dim: width of the state's embedding
    :param pi: widths of the actor's hidden layers
    :param vf: widths of the critic's hidden layers
    """

    state_dim: int
    pi: tuple[int, ...]
    vf: tuple[int, ...]


SIZES: dict[str, BaseSizes] = {
    name: BaseSizes(state_dim, layers, layers)
    for name, state_dim, layers in (
        ("XS", 64, (64, 32)),
        ("S", 128, (64, 64)),
        ("M", 128, (128, 64)),
        ("L", 256, (128, 128)),
        ("XL", 256, (256, 128)),
        ("XXL", 1024, (512, 512)),
    )
}
"""The papers' named sizes; XL is the papers' default."""


def base_sizes(
    size: str, net_arch: Sequence[int] | Mapping[str, Sequence[int]] | None, state_dim: int | None
) -> BaseSizes:
    """
    Sizes of the base networks: the named ones, where nothing else is said.

    :param size: a name in ``SIZES``
    :param net_arch: hidden layers, or ``dict(pi=[…], vf=[…])``
    :param state_dim: width of the state embedding
    :return: the sizes
    :raises ValueError: when the name is unknown, or a mapping lacks ``pi`` or ``vf``
    """
    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    sizes = SIZES[size]
    if isinstance(net_arch, Mapping):
        if set(net_arch) != {"pi", "vf"}:
            raise ValueError(
                f"net_arch has the keys {sorted(net_arch)}, wanted dict(pi=[…], vf=[…]) or one list for both."
            )
        sizes = sizes._replace(pi=widths("net_arch['pi']", net_arch["pi"]), vf=widths("net_arch['vf']", net_arch["vf"]))
    elif net_arch is not None:
        sizes = sizes._replace(pi=widths("net_arch", net_arch), vf=widths("net_arch", net_arch))
    return sizes if state_dim is None else sizes._replace(state_dim=state_dim)


def widths(name: str, value: object) -> tuple[int, ...]:
    """
    Widths of layers, checked.

    :param name: the setting
    :param value: what the user gave
    :return: the widths
    :raises ValueError: unless it is a sequence of positive whole numbers
    """
    if not isinstance(value, Sequence) or not all(isinstance(width, int) and width > 0 for width in value):
        raise ValueError(f"{name}={value!r}: wanted a list of positive widths, for example [64, 64].")
    return tuple(value)
