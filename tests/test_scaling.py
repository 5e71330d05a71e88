"""The benchmark of scaling runs, with sizes too small to mean anything, and fits what it should."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "scaling.py"


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    return __import__("scaling")


@pytest.mark.slow
def test_it_runs(tmp_path):
    command = [sys.executable, str(BENCHMARK), "--quick", "--steps", "10", "--sweeps", "n_envs", "encoder_dim"]
    command += ["--json", "scaling.json", "--output", "scaling.png"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "thread(s) used" in ended.stdout
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    environments, encoder = json.loads((tmp_path / "scaling.json").read_text())
    assert environments["sizes"] == [4, 8] and encoder["sizes"] == [8, 16]
    for sweep in (environments, encoder):
        assert all(value > 0 for part in ("microseconds", "mebibytes") for row in sweep[part].values() for value in row)
        # All that a size belongs to grows with it.
        assert sweep["mebibytes"]["estimate"][1] > sweep["mebibytes"]["estimate"][0]


def test_exponents(scaling):
    sizes = [10, 20, 80]
    assert scaling.exponent(sizes, [3.0 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    # Acting takes the same for all environments together, an update as much for each.
    costs = {scaling.Sizes(n_envs=n): scaling.Costs(0.2, 0.01 * n, 5.0 * n**0.5, 7.0) for n in sizes}
    sweep = scaling.make_sweep("n_envs", costs)
    assert sweep.exponents == pytest.approx({"act": 0.0, "update": 1.0, "peak": 0.5, "estimate": 0.0}, abs=1e-12)
    assert sweep.microseconds["act"] == pytest.approx([1e6 * 0.2 / (200 * n) for n in sizes])
    assert sweep.microseconds["update"] == pytest.approx([50.0] * 3)
    assert sweep.mebibytes["estimate"] == [7.0] * 3


def test_points_take_turns_and_the_median_counts(scaling, monkeypatch):
    base, larger = scaling.Sizes(), scaling.Sizes(latent_dim=48)
    order, answers = [], iter([3.0, 30.0, 1.0, 10.0, 2.0, 20.0])

    def measured(sizes, options):
        order.append(sizes)
        return scaling.Costs(*[next(answers)] * 4)

    monkeypatch.setattr(scaling, "measure_apart", measured)
    costs = scaling.measure_points([base, larger], scaling.argparse.Namespace(repetitions=3))
    assert order == [base, larger] * 3
    assert costs == {base: (2.0,) * 4, larger: (20.0,) * 4}
