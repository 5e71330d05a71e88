"""The defaults of experiments: which YAML file, which vectorized environment, and who may overrule them."""

from pathlib import Path

import pytest
from rl_zoo3.exp_manager import ExperimentManager
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

import sb3_hyper.zoo.experiment
from sb3_hyper.envs.vec_env import TrialVecEnv, batched_vec_env
from sb3_hyper.zoo.experiment import default_hyperparameters
from tests.zoo.conftest import MakeExperiment


def test_our_algorithm_reads_our_hyperparameters(make_experiment: MakeExperiment) -> None:
    assert Path(make_experiment("hyper_ppo", "TMazeLS-v0").config) == default_hyperparameters()


def test_conf_wins_over_our_hyperparameters(make_experiment: MakeExperiment) -> None:
    assert make_experiment("hyper_ppo", "TMazeLS-v0", config="mine.yml").config == "mine.yml"


def test_other_algorithms_keep_theirs_on_our_environments(make_experiment: MakeExperiment) -> None:
    experiment = make_experiment("ppo", "TMazeLS-v0")
    assert Path(experiment.config).name == "ppo.yml"
    assert experiment.vec_env_class is DummyVecEnv
    assert experiment.vec_env_kwargs == {}


def test_dummy_means_all_trials_in_one_batch(make_experiment: MakeExperiment) -> None:
    experiment = make_experiment("hyper_ppo", "TMazeLS-v0", vec_env_type="dummy")
    assert experiment.vec_env_class is batched_vec_env
    assert isinstance(experiment.create_envs(3), TrialVecEnv)


def test_dummy_still_takes_any_environment(make_experiment: MakeExperiment) -> None:
    assert isinstance(make_experiment("hyper_ppo", "CartPole-v1").create_envs(2), DummyVecEnv)


def test_subproc_starts_fresh_processes(make_experiment: MakeExperiment) -> None:
    experiment = make_experiment("hyper_ppo", "TMazeLS-v0", vec_env_type="subproc")
    assert experiment.vec_env_class is SubprocVecEnv
    assert experiment.vec_env_kwargs == {"start_method": "spawn"}


def test_vec_env_class_set_by_somebody_else_wins(
    make_experiment: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExperimentManager, "default_vec_env_cls", SubprocVecEnv)
    experiment = make_experiment("hyper_ppo", "TMazeLS-v0")
    assert experiment.vec_env_class is SubprocVecEnv
    assert experiment.vec_env_kwargs == {}


def test_missing_hyperparameters_say_where_they_were_sought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sb3_hyper.zoo.experiment, "__file__", str(tmp_path / "site" / "sb3_hyper" / "zoo" / "x.py"))
    with pytest.raises(FileNotFoundError, match=r"(?s)site.sb3_hyper.hyperparams.*-conf"):
        default_hyperparameters()
