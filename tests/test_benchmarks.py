"""The benchmarks run, with settings too small to mean anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sb3_hyper.aggregators import AGGREGATORS

FOLDER = Path(__file__).parents[1] / "benchmarks"
RUNS = {
    "throughput": (
        ["--steps", "8", "--envs", "4", "--width", "16", "--repetitions", "1"],
        ["MlpLstmPolicy", "fused pass", "HyperPPO, RNNPolicy", "HyperPPO, SplAggerPolicy"],
    ),
    "hypernetwork": (
        ["--batch", "8", "--inputs", "16", "--outputs", "16", "--repetitions", "1", "--iterations", "1"],
        ["contraction", "materialise, multiply, sum", "materialise, bmm"],
    ),
    "costs": (
        [
            "--steps",
            "8",
            "--width",
            "16",
            "--sizes",
            "XS",
            "--policies",
            "RNNPolicy",
            "MaxPolicy",
            "--json",
            "costs.json",
        ],
        ["RNNPolicy", "MaxPolicy"],
    ),
    "device_training": (
        ["--device", "cpu", "--environments", "TMazeLS-v0", "--sizes", "XS", "--envs", "8", "--steps", "4"],
        ["TMazeLS-v0, XS, 8"],
    ),
    "environments": (
        ["--envs", "TMazeLS-v0", "--n-envs", "2", "--seconds", "0.05", "--repetitions", "1"],
        ["TMazeLS-v0, DummyVecEnv", "TMazeLS-v0, SubprocVecEnv", "TMazeLS-v0, ours"],
    ),
    "scan": (["--steps", "5", "--sequences", "2", "--width", "8", "--repetitions", "1"], list(AGGREGATORS)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_benchmark(name, tmp_path):
    arguments, rows = RUNS[name]
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert "thread(s) used" in lines[0] and "torch" in lines[1]
    for row in rows:
        assert any(line.startswith(row) or f", {row}" in line for line in lines), ended.stdout


@pytest.mark.slow
def test_time_to_a_solution(tmp_path):
    """It gives up after so many frames, and stops before where enough trials were good enough."""
    common = ["--device", "cpu", "--sizes", "XS", "--envs", "8", "--solve", "TMazeLS-v0", "--trials", "8", "--frames"]
    for frames, wanted, answer in (("400", "17", "not solved"), ("9000", "-17", ", solved")):
        command = [sys.executable, str(FOLDER / "device_training.py"), *common, frames, "--wanted", wanted]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert answer in ended.stdout.splitlines()[-1]
