"""Every example runs, alone and without warnings of ours, and says something."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SAYS = {
    "own_aggregator": ["Span is a commutative monoid", "Saved and loaded, it plays the same"],
    "own_environment": ["Bandit, random", "Bandit, RNNHNPolicy"],
    "splagger_by_hand": ["Max of transitions  0.000", "at first (Bias-HyperInit)   0.0000"],
    "train_splagger": ["TMazeLS-v0, SplAggerPolicy: 200 trials"],
}


LEARNS_FOR_LONGER = "own_environment"
CASES = [pytest.param(path, marks=[pytest.mark.slow] * (path.stem == LEARNS_FOR_LONGER)) for path in EXAMPLES]


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES} == SAYS.keys() and LEARNS_FOR_LONGER in SAYS


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error:::sb3_hyper", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=180)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for text in SAYS[path.stem]:
        assert text in ended.stdout
    assert not list(tmp_path.iterdir())
