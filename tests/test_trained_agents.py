"""The agents that come with the checkout play as well as the results beside them say."""

import json
from pathlib import Path

import numpy as np
import pytest

from sb3_hyper import HyperPPO
from sb3_hyper.evaluation import evaluate_adaptation
from sb3_hyper.saved_runs import find_run

FOLDER = Path(__file__).parents[1] / "trained_agents"
RUNS = sorted((FOLDER / "hyper_ppo").glob("*_1"))
N_TRIALS = 50


def test_there_are_agents():
    assert RUNS


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_it_plays_other_tasks_as_well_as_is_recorded(run):
    recorded = json.loads((run / "adaptation_curve.json").read_text())
    agent = HyperPPO.load(find_run(FOLDER, "hyper_ppo", recorded["environment"]).model, device="cpu")
    played = evaluate_adaptation(agent, recorded["environment"], N_TRIALS, seed=recorded["seed"] + 1)
    returns = np.sum(recorded["returns"], axis=1)
    # Four standard errors of the difference of two means, and as much as rounding may change of a perfect agent.
    tolerance = 4 * returns.std() * np.sqrt(1 / N_TRIALS + 1 / len(returns)) + 1e-3
    assert np.sum(played.returns, axis=1).mean() == pytest.approx(returns.mean(), abs=tolerance)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_its_result_stands_in_the_table(run):
    recorded = json.loads((run / "adaptation_curve.json").read_text())
    (row,) = (
        line for line in (FOLDER / "README.md").read_text().splitlines() if f"`{recorded['environment']}`" in line
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert recorded["policy"] in cells[1]
    assert float(cells[2]) == pytest.approx(recorded["trial"]["mean"], abs=0.0051)
