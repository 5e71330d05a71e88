"""The documentation names everything that is registered, with the numbers that the code has."""

from pathlib import Path

import pytest

from sb3_hyper.aggregators import AGGREGATORS
from sb3_hyper.envs import TASK_DISTRIBUTIONS
from sb3_hyper.hypernetworks import HYPER_INITIALIZERS
from sb3_hyper.policies import POLICIES

DOCS = Path(__file__).parents[1] / "docs"
METHODS, ENVIRONMENTS = ((DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("methods", "environments"))


@pytest.mark.parametrize("name", [*POLICIES, *AGGREGATORS, *HYPER_INITIALIZERS])
def test_every_method_is_described(name):
    assert f"`{name}`" in METHODS


@pytest.mark.parametrize("env_id", TASK_DISTRIBUTIONS)
def test_every_environment_has_a_row_with_its_references(env_id):
    row = next(line for line in ENVIRONMENTS.splitlines() if line.startswith(f"| `{env_id}`"))
    returns = row.split("|")[-2]
    for value in TASK_DISTRIBUTIONS[env_id].reference_returns.values():
        assert f"{value:g}" in returns
