"""Teaches RL-Zoo the algorithm ``hyper_ppo`` the moment RL-Zoo is imported, and does nothing before that.

RL-Zoo fixes its ``--algo`` choices before it looks at ``--gym-packages``, and neither RL-Zoo nor Gymnasium 1.x has
plug-in entry points. So the wheel ships one ``.pth`` line that runs :func:`install` at interpreter start: it adds a
meta-path finder that lets ``sb3_hyper.zoo`` extend each module of :data:`EXTENDED` right after it is executed.

This module stands outside the package and imports nothing but :mod:`sys`, because every interpreter start pays for it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

EXTENDED = frozenset({"rl_zoo3.utils", "rl_zoo3.hyperparams_opt", "rl_zoo3.exp_manager"})


class ExtendingLoader:
    """Executes a module with its own loader, then extends it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as its own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own loader back, execute it and extend it."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        extend(module)


class ExtendingFinder:
    """Finds the modules of :data:`EXTENDED` through the other finders and swaps their loader."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification that the next finder gives, with an :class:`ExtendingLoader`."""
        if name not in EXTENDED:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = ExtendingLoader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


def extend(module: ModuleType) -> None:
    """Let ``sb3_hyper.zoo`` extend a module of RL-Zoo; without ``sb3_hyper`` (uninstalled since) leave it as it is."""
    try:
        from sb3_hyper.zoo import extend_module
    except ModuleNotFoundError as error:
        if error.name != "sb3_hyper":
            raise
        return
    extend_module(module)


def install() -> None:
    """Put the finder in front of the meta path, once."""
    if not any(isinstance(finder, ExtendingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, ExtendingFinder())
