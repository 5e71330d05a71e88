"""Images of robots, with or without a display."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from sb3_hyper.envs.mujoco.library import import_mujoco, load_model, silence

_N_PIXELS = 480
_BALL_RADIUS, _RED = 0.12, (0.9, 0.1, 0.1, 1.0)
# Degrees; north is up.
_ELEVATION, _AZIMUTH = -60.0, 90.0
_BALL_SHARE = 0.035
"""Radius of the ball as a share of the distance of a camera above."""


def renderer_of(xml_file: str, with_contact_forces: bool) -> ModelRenderer:
    """
    Give the renderer of a model, made when it is first needed.

    :param xml_file: As in :func:`~sb3_hyper.envs.mujoco.library.load_model`.
    :param with_contact_forces: As there.
    :return: One for this thread of this process, to which an OpenGL context belongs.
    :raises RuntimeError: If there is no OpenGL.
    """
    return _make_renderer(xml_file, with_contact_forces, os.getpid(), threading.get_ident())


@functools.lru_cache(maxsize=8)
def _make_renderer(xml_file: str, with_contact_forces: bool, process: int, thread: int) -> ModelRenderer:
    return ModelRenderer(load_model(xml_file, with_contact_forces))


class ModelRenderer:
    """
    Draws one model, from its tracking camera or from above.

    OpenGL comes from the backend in the environment variable ``MUJOCO_GL`` ("egl", "osmesa" or "glfw"); where it is not
    set, from GLFW if there is a display, else from EGL, else from OSMesa.

    :param model: The ``MjModel``.
    :raises RuntimeError: If no backend works.
    """

    def __init__(self, model: Any) -> None:
        library = self._library = import_mujoco()
        self._model = model
        self._context = _open_context()
        self._context.make_current()
        self._data = library.MjData(model)
        self._scene = library.MjvScene(model, 1000)
        self._beside = library.MjvCamera()
        self._beside.type = library.mjtCamera.mjCAMERA_FIXED
        self._beside.fixedcamid = model.camera("track").id
        self._above = library.MjvCamera()
        self._above.type = library.mjtCamera.mjCAMERA_FREE
        self._above.elevation, self._above.azimuth = _ELEVATION, _AZIMUTH
        self._target = library.MjrContext(model, library.mjtFontScale.mjFONTSCALE_100)
        library.mjr_setBuffer(library.mjtFramebuffer.mjFB_OFFSCREEN, self._target)

    def render(
        self,
        integration: npt.NDArray[np.float64],
        marker: tuple[float, float, float] | None,
        above: tuple[float, float, float] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """
        Draw a state.

        :param integration: MuJoCo's physics state (``mjSTATE_INTEGRATION``).
        :param marker: Where a red ball is put; None for nowhere.
        :param above: The place ``(x, y)`` on the ground that a camera above looks at, and its distance in metres; None
            for the model's own camera, beside the robot.
        :return: uint8, shape ``(480, 480, 3)``.
        """
        library, model, data = self._library, self._model, self._data
        self._context.make_current()
        library.mj_setState(model, data, integration, library.mjtState.mjSTATE_INTEGRATION)
        with silence():
            library.mj_forward(model, data)
        camera, radius = self._beside, _BALL_RADIUS
        if above is not None:
            camera, radius = self._above, _BALL_SHARE * above[2]
            camera.lookat[:2], camera.distance = above[:2], above[2]
        category = library.mjtCatBit.mjCAT_ALL
        library.mjv_updateScene(model, data, library.MjvOption(), library.MjvPerturb(), camera, category, self._scene)
        if marker is not None:
            self._add_ball(marker, radius)
        image = np.zeros((_N_PIXELS, _N_PIXELS, 3), np.uint8)
        viewport = library.MjrRect(0, 0, _N_PIXELS, _N_PIXELS)
        library.mjr_render(viewport, self._scene, self._target)
        library.mjr_readPixels(image, None, viewport, self._target)
        # OpenGL counts rows from the bottom.
        return np.ascontiguousarray(image[::-1])

    def _add_ball(self, place: tuple[float, float, float], radius: float) -> None:
        library, scene = self._library, self._scene
        library.mjv_initGeom(
            scene.geoms[scene.ngeom],
            library.mjtGeom.mjGEOM_SPHERE,
            np.full(3, radius),
            np.array(place),
            np.eye(3).reshape(-1),
            np.array(_RED, np.float32),
        )
        scene.ngeom += 1


def has_display() -> bool:
    """
    Say whether windows can be shown.

    :return: False on Linux without X and Wayland.
    """
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _open_context() -> Any:
    """Open an OpenGL context with the first backend that works."""
    wanted = os.environ.get("MUJOCO_GL", "").lower().strip()
    usual = ["glfw", "egl", "osmesa"] if has_display() else ["egl", "osmesa"]
    backends = [wanted] if wanted in ("egl", "osmesa", "glfw") else usual
    reasons = []
    for backend in backends:
        try:
            return importlib.import_module(f"mujoco.{backend}").GLContext(_N_PIXELS, _N_PIXELS)
        except Exception as error:
            # A missing library surfaces as ImportError, AttributeError or OpenGL's own errors.
            reasons.append(f"{backend}: {type(error).__name__}: {error}")
    raise RuntimeError(
        f"Found no OpenGL to draw with ({'; '.join(reasons)}). Install EGL (Debian: libegl1) or OSMesa "
        "(libosmesa6) and name it in the environment variable MUJOCO_GL, or leave render_mode away."
    )
