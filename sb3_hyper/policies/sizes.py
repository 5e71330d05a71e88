"""Sizes of the base networks, by name or by width."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sb3_hyper.checks import check_widths
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
        pi, vf = (check_widths(f"net_arch[{name!r}]", net_arch[name]) for name in ("pi", "vf"))
        sizes = sizes._replace(pi=pi, vf=vf)
    elif net_arch is not None:
        hidden_dims = check_widths("net_arch", net_arch)
        sizes = sizes._replace(pi=hidden_dims, vf=hidden_dims)
    return sizes if state_dim is None else sizes._replace(state_dim=state_dim)
