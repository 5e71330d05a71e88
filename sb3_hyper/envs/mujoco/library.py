"""MuJoCo itself: imported when it is first needed, its models loaded once, its log kept out of the user's folder."""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gymnasium.error import DependencyNotInstalled

_lock = threading.Lock()
_kept_configs: list[Any] = []


@functools.cache
def import_mujoco() -> Any:
    """
    Import MuJoCo and its batched simulation.

    :return: The package ``mujoco``, of which ``mujoco.batch`` is loaded.
    :raises ImportError: If MuJoCo 4 or what Gymnasium's MuJoCo environments need beside it is missing.
    """
    try:
        library = importlib.import_module("mujoco")
        importlib.import_module("mujoco.batch")
        importlib.import_module("gymnasium.envs.mujoco.mujoco_env")
    except (ImportError, DependencyNotInstalled) as error:
        too_old = " MuJoCo 4 needs Python 3.11 or later." if sys.version_info < (3, 11) else ""
        raise ImportError(
            f"This environment needs MuJoCo 4 and could not import all of it ({error}). Install it with "
            f'pip install "sb3-hyper[mujoco]".{too_old}'
        ) from error
    return library


@contextmanager
def silence() -> Iterator[None]:
    """
    Keep MuJoCo from printing warnings and from writing MUJOCO_LOG.TXT into the working folder.

    What it would say here is a deprecation in Gymnasium's half cheetah, and that a simulation became unstable, which
    ends the episode. The setting is the whole process's; it comes back when the last thread leaves.
    """
    config = import_mujoco().MjLogConfig
    with _lock:
        _kept_configs.append(config.get())
        silent = config.get()
        silent.logto_file = silent.logto_console = False
        config.set(silent)
    try:
        yield
    finally:
        with _lock:
            # Whoever came first found the user's setting; a thread that came later found silence.
            kept = _kept_configs.pop()
            if not _kept_configs:
                config.set(kept)


@functools.cache
def load_model(xml_file: str, with_contact_forces: bool) -> Any:
    """
    Load one of Gymnasium's models, once per process.

    MuJoCo computes ``cfrc_ext`` during a step only for a model with a sensor of forces or accelerations, so an
    accelerometer on the torso makes it; it changes nothing else.

    :param xml_file: Its name among Gymnasium's assets.
    :param with_contact_forces: Whether ``cfrc_ext`` is computed.
    :return: The ``MjModel``, shared by all: whoever changes one copies it before.
    :raises ImportError: If MuJoCo is missing.
    """
    library = import_mujoco()
    folder = Path(importlib.import_module("gymnasium.envs.mujoco").__file__ or "").parent / "assets"
    with silence():
        if not with_contact_forces:
            return library.MjModel.from_xml_path(str(folder / xml_file))
        spec = library.MjSpec.from_file(str(folder / xml_file))
        site = spec.body("torso").add_site(name="accelerometer")
        spec.add_sensor(
            name="accelerometer",
            type=library.mjtSensor.mjSENS_ACCELEROMETER,
            objtype=library.mjtObj.mjOBJ_SITE,
            objname=site.name,
        )
        return spec.compile()
