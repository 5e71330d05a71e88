"""Reading what RL-Zoo leaves behind, without RL-Zoo: ``FOLDER/ALGO/ENV_N/`` with models and a folder of parameters."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_hyper.errors import unknown_name

ALGORITHMS = {
    "hyper_ppo": "sb3_hyper.hyper_ppo:HyperPPO",
    "recurrent_ppo": "sb3_contrib:RecurrentPPO",
    "ppo": "stable_baselines3:PPO",
    "a2c": "stable_baselines3:A2C",
}
"""RL-Zoo's name of an algorithm -> where its class is."""

_NEEDS_ZOO = ("env_wrapper", "vec_env_wrapper", "frame_stack")


class SavedRun(NamedTuple):
    """
    A training run on the disk.

    :param folder: the run's folder
    :param model: its model
    :param parameters: the folder of its settings and statistics
    """

    folder: Path
    model: Path
    parameters: Path


def find_run(folder: Path, algo: str, env_id: str, exp_id: int = 0, load_best: bool = False) -> SavedRun:
    """
    Find a run of RL-Zoo.

    :param folder: RL-Zoo's log folder
    :param algo: the algorithm's name
    :param env_id: the environment's id
    :param exp_id: number of the run; 0: the latest that has a model, -1: the model lies in ``folder/algo`` itself
    :param load_best: whether to take the best model by the evaluations during training instead of the last one
    :return: where everything is
    :raises FileNotFoundError: when there is no such run, or no model in it
    """
    # RL-Zoo writes "ALE/Pong-v5" as "ALE-Pong-v5".
    name = env_id.replace("/", "-")
    runs = _run_numbers(folder / algo, name)
    # A search and a training that failed leave runs without a model: the latest is the latest that has one.
    trained = {number for number in runs if any((folder / algo / f"{name}_{number}").glob("*.zip"))}
    number = max(trained or runs, default=None) if exp_id == 0 else exp_id
    if number is None or (number != -1 and number not in runs):
        wanted = f"{name}_{exp_id}" if exp_id > 0 else f"{name}_N"
        found = sorted(path.name for path in (folder / algo).glob("*_*") if path.is_dir())
        raise FileNotFoundError(
            f"Found no run {folder / algo / wanted}; the folder holds {', '.join(found) or 'no runs'}. Train one with "
            f"`python -m rl_zoo3.train --algo {algo} --env {env_id} -f {folder}`, or name its log folder with --folder."
        )
    run = folder / algo if number == -1 else folder / algo / f"{name}_{number}"
    model = run / ("best_model.zip" if load_best else f"{name}.zip")
    if not model.is_file():
        saved = sorted(path.name for path in run.glob("*.zip"))
        other = (
            f"it has {', '.join(saved)} (see --load-best and --model)"
            if saved
            else "there is no model in it; it is still training, has failed, or was a search"
        )
        raise FileNotFoundError(f"The run {run} has no {model.name}: {other}.")
    return SavedRun(run, model, run / name)


def _run_numbers(folder: Path, name: str) -> set[int]:
    matches = (re.fullmatch(rf"{re.escape(name)}_(\d+)", path.name) for path in folder.glob("*") if path.is_dir())
    return {int(match[1]) for match in matches if match}


def env_kwargs_of(run: SavedRun) -> dict[str, Any]:
    """
    Arguments that the run's environments were made with.

    :param run: the run
    :return: keyword arguments of the environment
    :raises ValueError: when the run wrapped its environments, which only RL-Zoo can do again
    """
    config, arguments = (_read_yaml(run.parameters / name) for name in ("config.yml", "args.yml"))
    for name in _NEEDS_ZOO:
        if config.get(name):
            raise ValueError(
                f"The run {run.folder} was trained with {name}={config[name]!r}, which is not rebuilt here. Build the "
                "environments in Python and give them to sb3_hyper.evaluation.evaluate_adaptation, or use "
                "`python -m rl_zoo3.enjoy`."
            )
    return dict(arguments.get("env_kwargs") or config.get("env_kwargs") or {})


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    yaml = importlib.import_module("yaml")
    # RL-Zoo writes Python objects and reads them like this; the model beside it holds pickles anyway.
    return dict(yaml.load(path.read_text(), Loader=yaml.UnsafeLoader))


def check_device(device: str) -> None:
    """
    Check that PyTorch can compute on a device.

    :param device: PyTorch's name of it, or "auto"
    :raises ValueError: when there is no such device
    """
    if device == "auto":
        return
    try:
        th.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"--device {device}: PyTorch cannot use it ({str(error).splitlines()[0]}). Leave it out to take a GPU if "
            "there is one, or say cpu."
        ) from error


def load_model(algo: str, path: Path, device: str) -> BaseAlgorithm:
    """
    Load a trained model.

    :param algo: the algorithm's name in ``ALGORITHMS``
    :param path: the model; ``.zip`` may be left out, as in SB3
    :param device: where to compute
    :return: the model
    :raises ValueError: when a name is unknown, there is no such device, or the file is no such model
    :raises FileNotFoundError: when there is no file
    """
    if algo not in ALGORITHMS:
        raise unknown_name("algorithm", algo, ALGORITHMS)
    zipped = path.with_name(f"{path.name}.zip")
    path = zipped if zipped.is_file() and not path.is_file() else path
    if not path.is_file():
        raise FileNotFoundError(f"There is no model {path}.")
    check_device(device)
    module, name = ALGORITHMS[algo].split(":")
    algorithm: type[BaseAlgorithm] = getattr(importlib.import_module(module), name)
    try:
        # Schedules are for training, and those of a run may not be readable here.
        return algorithm.load(path, device=device, custom_objects={"learning_rate": 0.0, "clip_range": 0.0})
    except Exception as error:
        raise ValueError(
            f"{path} cannot be loaded as a model of {algo}: it is of another algorithm (choose --algo), or saved by "
            f"an incompatible version. {type(error).__name__}: {str(error)[:300]}"
        ) from error
