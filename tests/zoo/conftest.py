"""RL-Zoo's command line in a process of its own, and its experiment manager with this process's hands on it."""

import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rl_zoo3.exp_manager import ExperimentManager

from sb3_hyper.zoo import register

register()

CommandLine = Callable[..., "subprocess.CompletedProcess[str]"]
MakeExperiment = Callable[..., ExperimentManager]


def zoo_environment() -> dict[str, str]:
    """One thread per process: the test workers already share the cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    """Run ``python -m MODULE ...`` in an empty folder."""

    def run(*arguments: object, fails: bool = False) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", *map(str, arguments)]
        result = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=zoo_environment(), timeout=300
        )
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def make_experiment(tmp_path: Path) -> MakeExperiment:
    """Build an experiment manager that logs into an empty folder."""

    def make(algo: str, env_id: str, **arguments: Any) -> ExperimentManager:
        return ExperimentManager(
            Namespace(), algo, env_id, str(tmp_path), **{"eval_freq": -1, "verbose": 0, "device": "cpu", **arguments}
        )

    return make
