"""Meta-World's benchmarks: their names, their tasks as vectors, and the library itself, imported when it is needed."""

from __future__ import annotations

import functools
import importlib
import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium.error import DependencyNotInstalled

from sb3_hyper.envs.task import Split
from sb3_hyper.errors import unknown_name

_WELD_NUMBERS = 11

_NAMES = """
    assembly basketball bin-picking box-close button-press button-press-topdown button-press-topdown-wall
    button-press-wall coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock door-open
    door-unlock drawer-close drawer-open faucet-close faucet-open hammer hand-insert handle-press handle-press-side
    handle-pull handle-pull-side lever-pull peg-insert-side peg-unplug-side pick-out-of-hole pick-place pick-place-wall
    plate-slide plate-slide-back plate-slide-back-side plate-slide-side push push-back push-wall reach reach-wall
    shelf-place soccer stick-pull stick-push sweep sweep-into window-close window-open
"""

META_WORLD_IDS: tuple[str, ...] = (*(f"ML1-{name}-v3" for name in _NAMES.split()), "ML10-v3", "ML45-v3")
"""Gymnasium ids of the benchmarks; the version is that of Meta-World's tasks."""


class MetaWorldBenchmark(NamedTuple):
    """
    The tasks of one benchmark.

    :param names: Meta-World's names of its environments, those of the train tasks first.
    :param classes: The environment class of each name.
    :param tasks: Meta-World's own task objects, of each split.
    :param vectors: The same as vectors, of each split, float32, shape ``(n_tasks, task_dim)``: which environment it is,
        one-hot in the order of ``names``, then its random vector (positions of goal and objects), with zeros behind a
        shorter one. Numbers that are the same in all tasks are left out.
    """

    names: tuple[str, ...]
    classes: dict[str, type[Any]]
    tasks: dict[Split, list[Any]]
    vectors: dict[Split, npt.NDArray[np.float32]]


@functools.cache
def import_meta_world() -> Any:
    """
    Import Meta-World.

    :return: The package ``metaworld``.
    :raises ImportError: If it is missing, or MuJoCo is too new for it.
    """
    advice = (
        'Install it with pip install "sb3-hyper[metaworld]", in a virtual environment of its own: it needs MuJoCo '
        "3.3.0, and the other robots of sb3-hyper need MuJoCo 4."
    )
    try:
        mujoco = importlib.import_module("mujoco")
        library = importlib.import_module("metaworld")
    except (ImportError, DependencyNotInstalled) as error:
        raise ImportError(f"This environment needs Meta-World and could not import it ({error}). {advice}") from error
    if mujoco.mjNEQDATA != _WELD_NUMBERS:
        raise ImportError(
            f"Meta-World does not work with the installed MuJoCo {mujoco.__version__}, whose weld constraints have "
            f"{mujoco.mjNEQDATA} numbers, of which Meta-World writes {_WELD_NUMBERS}. {advice}"
        )
    return library


@functools.lru_cache(maxsize=8)
def load_benchmark(benchmark: str, seed: object) -> MetaWorldBenchmark:
    """
    Build a benchmark, once per process: ML10 takes 8 seconds, ML45 half a minute.

    :param benchmark: One of :data:`META_WORLD_IDS`.
    :param seed: Decides the 50 tasks of each environment, as Meta-World's ``seed`` does.
    :return: The benchmark.
    :raises ValueError: If there is none of that name, or the seed is none.
    :raises ImportError: If Meta-World is missing.
    """
    if benchmark not in META_WORLD_IDS:
        raise unknown_name("Meta-World benchmark", benchmark, META_WORLD_IDS)
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"benchmark_seed must be a whole number, 0 or more, so that tasks are known: got {seed!r}.")
    library = import_meta_world()
    name = benchmark.removeprefix("ML1-")
    built = library.ML1(name, seed=seed) if name != benchmark else getattr(library, name.split("-")[0])(seed=seed)
    classes = {**built.train_classes, **built.test_classes}
    names = tuple(classes)
    tasks: dict[Split, list[Any]] = {"train": built.train_tasks, "test": built.test_tasks}
    vectors = _vectors(names, [*built.train_tasks, *built.test_tasks])
    n_train = len(built.train_tasks)
    return MetaWorldBenchmark(names, classes, tasks, {"train": vectors[:n_train], "test": vectors[n_train:]})


def _vectors(names: Sequence[str], tasks: Sequence[Any]) -> npt.NDArray[np.float32]:
    random_vectors = [np.asarray(pickle.loads(task.data)["rand_vec"], np.float32) for task in tasks]
    vectors = np.zeros((len(tasks), len(names) + max(map(len, random_vectors))), np.float32)
    for vector, task, random_vector in zip(vectors, tasks, random_vectors, strict=True):
        vector[names.index(task.env_name)] = 1
        vector[len(names) : len(names) + len(random_vector)] = random_vector
    return np.ascontiguousarray(vectors[:, vectors.min(axis=0) < vectors.max(axis=0)])
