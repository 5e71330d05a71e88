"""Figures whose runs are trained by ``fake_training.py``."""

import os
import sys
from pathlib import Path

import pytest
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper import HyperPPO, reproduce
from sb3_hyper.envs import batched_vec_env
from sb3_hyper.reproduction import planned_run
from sb3_hyper.reproduction.figures import find_figure
from sb3_hyper.reproduction.planned_run import plan
from sb3_hyper.reproduction.run_folder import RunFolder

FRAMES = 480
ENV = "GridNavi-v0"


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    """An untrained agent that says it has seen enough frames."""
    path = tmp_path_factory.mktemp("model") / "model.zip"
    env = make_vec_env(ENV, 1, vec_env_cls=batched_vec_env)
    kwargs = {"size": "XS", "encoder_dim": 16}
    model = HyperPPO("RNNHNPolicy", env, n_steps=60, batch_size=60, policy_kwargs=kwargs, device="cpu", seed=0)
    model.num_timesteps = FRAMES
    model.save(path)
    return path


@pytest.fixture
def control(tmp_path, monkeypatch, model_path):
    """The folder whose files tell the fake training what to do."""
    folder = tmp_path / "control"
    folder.mkdir()
    os.link(model_path, folder / "model.zip")
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setattr(planned_run, "PROGRAM", (sys.executable, str(Path(__file__).with_name("fake_training.py"))))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def folders(control, tmp_path):
    """Three runs, which differ in their seeds."""
    runs = plan(find_figure("grids"), "small", 3, FRAMES, [ENV], ["RNN+HN"])
    return [RunFolder(run, tmp_path / "runs") for run in runs]


@pytest.fixture
def starts(control):
    """Count the trainings that were started, by run."""

    def count():
        file = control / "starts"
        lines = file.read_text().splitlines() if file.exists() else []
        return {name: lines.count(name) for name in lines}

    return count


@pytest.fixture
def call(control, capsys):
    """Call the command line on one environment: exit status, output and errors."""

    def run(*arguments):
        small = ["grids", "--environments", ENV, "--frames", str(FRAMES), "--n-trials", "6", "--device", "cpu"]
        status = reproduce.main([*small, *map(str, arguments)])
        return status, *capsys.readouterr()

    return run
