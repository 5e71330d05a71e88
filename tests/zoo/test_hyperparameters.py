"""``hyper_ppo.yml``: an entry for every environment, and every entry builds the experiment it describes."""

from typing import Any

import pytest
import yaml

from sb3_hyper import HyperPPO
from sb3_hyper.envs import META_WORLD_IDS, TASK_DISTRIBUTIONS
from sb3_hyper.envs.mujoco import MUJOCO_TASK_DISTRIBUTIONS
from sb3_hyper.zoo.experiment import default_hyperparameters
from tests.zoo.conftest import MakeExperiment

ENTRIES: dict[str, dict[str, Any]] = yaml.safe_load(default_hyperparameters().read_text())


def test_every_environment_has_an_entry_and_there_is_a_default() -> None:
    assert set(ENTRIES) == {*TASK_DISTRIBUTIONS, *META_WORLD_IDS, "default"}


@pytest.mark.parametrize("env_id", [*TASK_DISTRIBUTIONS, "CartPole-v1", "Pendulum-v1"])
def test_entry_builds_its_experiment(make_experiment: MakeExperiment, env_id: str) -> None:
    if env_id in MUJOCO_TASK_DISTRIBUTIONS:
        pytest.importorskip("mujoco.batch")
    entry = ENTRIES.get(env_id, ENTRIES["default"])
    experiment = make_experiment("hyper_ppo", env_id, seed=0)
    experiment._save_config = lambda saved_hyperparams: None  # type: ignore[method-assign]
    result = experiment.setup_experiment()
    assert result is not None
    model, _ = result
    assert isinstance(model, HyperPPO)
    assert model.policy_class is HyperPPO.policy_aliases[entry["policy"]]
    assert model.n_envs == entry["n_envs"]
    assert (model.n_envs * model.n_steps) % model.batch_size == 0
    assert experiment.n_timesteps == int(float(entry["n_timesteps"]))
    model.get_env().close()  # type: ignore[union-attr]
