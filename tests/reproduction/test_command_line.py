"""``python -m sb3_hyper.reproduce``: lists, commands, errors, and once for real."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch as th

from sb3_hyper import reproduce
from sb3_hyper.reproduction.figures import FIGURES
from tests.reproduction.conftest import ENV


def test_figures_are_listed_with_their_runs_and_frames(capsys):
    assert reproduce.main(["--list", "--seeds", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in FIGURES:
        assert any(line.startswith(f"{name} ") for line in lines)
    # Three methods, five seeds: 15 runs of 0.6 and 1.5 million frames.
    assert next(line for line in lines if line.startswith("t-ls")).split()[1:6] == ["15", "9.0", "M", "22.5", "M"]


def test_a_dry_run_shows_the_commands_and_trains_nothing(call, starts):
    status, output, _ = call("--dry-run", "--seeds", 2)
    assert status == 0 and not starts()
    lines = output.splitlines()
    assert len(lines) == 6 and all(line.startswith("python ") for line in lines)
    assert """'policy:"RNNHNPolicy"' 'policy_kwargs:dict(size="S")'""" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["t_ls"], r"Unknown figure 't_ls'. Did you mean 't-ls'\? Choose one of"),
        ([], "Name a figure: t-ls, .*--list"),
        (["t-ls", "--seeds", "0"], "--seeds 0: wanted at least 1"),
        (["t-ls", "--n-trials", "0"], "--n-trials 0: wanted at least 1"),
        (["t-ls", "--jobs", "0"], "--jobs 0: wanted at least 1"),
        (["t-ls", "--methods", "Splagger"], "Did you mean 'SplAgger'"),
        (["t-ls", "-o", f"{__file__}/runs"], "test_command_line.py is a file, wanted a folder"),
        (["t-ls", "-o", __file__, "--dry-run"], "test_command_line.py is a file, wanted a folder"),
        (["t-ls", "--device", "gpu"], "--device gpu: PyTorch cannot use it"),
        pytest.param(
            ["t-ls", "--device", "cuda"],
            "--device cuda: PyTorch cannot use it",
            marks=pytest.mark.skipif(th.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_errors_of_the_user(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reproduce.main(arguments) == 1
    assert re.search(said, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_without_rl_zoo_it_says_what_to_install(call, monkeypatch, starts):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status, _, error = call()
    assert status == 1 and 'pip install "sb3-hyper[zoo]"' in error and not starts()


def test_a_finished_figure_is_not_trained_again(call, starts):
    once = ("--seeds", 1, "--methods", "RNN+HN")
    assert call(*once)[0] == 0 and call(*once)[0] == 0
    assert list(starts().values()) == [1]


def zoo_command(tmp_path):
    arguments = ["grids", "--environments", ENV, "--methods", "RNN", "--seeds", "2", "--frames", "15000"]
    arguments += ["--jobs", "1", "--n-trials", "10", "--device", "cpu"]
    return subprocess.Popen(
        [sys.executable, "-m", "sb3_hyper.reproduce", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for child processes")
def test_a_figure_for_real_killed_in_the_middle(tmp_path):
    with zoo_command(tmp_path) as command:
        while len(logs := list(tmp_path.glob("reproduced/runs/*/train.log"))) < 2:
            assert command.poll() is None
            time.sleep(0.1)
        command.send_signal(signal.SIGINT)
        assert "to go on: python -m sb3_hyper.reproduce grids" in command.communicate(timeout=60)[0]
    assert command.returncode == 130
    models = list(tmp_path.glob("reproduced/runs/*/hyper_ppo/*/*.zip"))
    assert len(models) == 1 and len(logs) == 2
    written = models[0].stat().st_mtime_ns
    with zoo_command(tmp_path) as command:
        output = command.communicate(timeout=300)[0]
    assert command.returncode == 0, output
    assert models[0].stat().st_mtime_ns == written
    assert len(list(tmp_path.glob("reproduced/runs/*/hyper_ppo/*/*.zip"))) == 2
    assert f"\n{ENV}\n\nmethod" in output
    assert (tmp_path / "reproduced" / "grids-small-15000-GridNavi-v0-RNN" / "report.html").is_file()
