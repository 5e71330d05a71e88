"""Experiments show their environments' task where a policy or an objective needs it, and nowhere else."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import yaml
from gymnasium.envs.registration import EnvSpec
from rl_zoo3.exp_manager import ExperimentManager

from sb3_hyper.hyper_ppo.privileged_task import check_shows_task
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES
from tests.zoo.conftest import MakeExperiment

ENV_ID = "GridNavi-v0"
SMALL = {"n_envs": 2, "n_steps": 60, "batch_size": 60, "n_epochs": 1, "policy_kwargs": {"size": "XS", "encoder_dim": 8}}
PRIVILEGED = list(PRIVILEGED_POLICIES)
LEARNING = [name for name, policy in POLICIES.items() if policy.auxiliary_class and policy.auxiliary_class.needs_task]


def set_up(make: MakeExperiment, policy: str, **arguments: Any) -> tuple[ExperimentManager, Any]:
    hyperparams = {**SMALL, "policy": policy, **arguments.pop("hyperparams", {})}
    experiment = make("hyper_ppo", ENV_ID, hyperparams=hyperparams, n_timesteps=120, **arguments)
    experiment.args = Namespace(env_kwargs=arguments.get("env_kwargs"))
    ready = experiment.setup_experiment()
    assert ready is not None
    config = yaml.load((Path(experiment.params_path) / "config.yml").read_text(), Loader=yaml.UnsafeLoader)
    return experiment, (ready[0], dict(config))


def shows_task(env: Any) -> bool:
    return "task" in env.observation_space.spaces


@pytest.mark.parametrize("policy", LEARNING)
def test_objectives_get_the_task_in_training_alone(make_experiment: MakeExperiment, policy: str) -> None:
    experiment, (model, config) = set_up(make_experiment, policy)
    assert shows_task(model.env) and not shows_task(experiment.create_envs(1, eval_env=True))
    assert "env_kwargs" not in config
    model.learn(240)


class Demanding(gym.Env):  # type: ignore[type-arg]
    """It cannot be built of its id alone."""

    def __init__(self, length: int, expose_task: bool = False) -> None:
        raise AssertionError("nobody needs one to know its arguments")


def test_environments_are_asked_for_their_arguments_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gym.registry, "Demanding-v0", EnvSpec("Demanding-v0", entry_point=Demanding))
    for env_id in ("Demanding-v0", ENV_ID, "HalfCheetahDir-v0", "ML10-v3"):
        check_shows_task(env_id)
    with pytest.raises(ValueError, match=r"CartPole-v1 takes no argument expose_task.*make_trials"):
        check_shows_task("CartPole-v1")


@pytest.mark.parametrize("policy", PRIVILEGED)
def test_privileged_policies_get_it_everywhere(make_experiment: MakeExperiment, policy: str) -> None:
    experiment, (model, config) = set_up(make_experiment, policy, env_kwargs={"episode_length": 15})
    assert shows_task(model.env) and shows_task(experiment.create_envs(1, eval_env=True))
    wanted = {"episode_length": 15, "expose_task": True}
    assert config["env_kwargs"] == experiment.args.env_kwargs == wanted


def test_class_of_ones_own_and_objective_of_ones_own(make_experiment: MakeExperiment) -> None:
    _, (model, _) = set_up(make_experiment, "sb3_hyper.policies.TINaivePolicy")
    assert shows_task(model.env)
    given = {"auxiliary_class": "TaskRegression"}
    assert shows_task(set_up(make_experiment, "RNNHNPolicy", hyperparams=given)[1][0].env)


def test_settings_of_the_environment_stay(make_experiment: MakeExperiment) -> None:
    given = {"env_kwargs": {"size": 4}}
    _, (model, config) = set_up(make_experiment, LEARNING[0], hyperparams=given)
    assert shows_task(model.env) and model.env.get_attr("distribution")[0].size == 4
    assert config["env_kwargs"] == {"size": 4}


def test_all_others_see_none(make_experiment: MakeExperiment) -> None:
    experiment, (model, config) = set_up(make_experiment, "RNNHNPolicy")
    assert not shows_task(model.env) and experiment.env_kwargs == {} and "env_kwargs" not in config


def test_unknown_policies_are_reported_as_ever(make_experiment: MakeExperiment) -> None:
    with pytest.raises(ValueError, match="Did you mean 'TINaivePolicy'"):
        set_up(make_experiment, "TINaivPolicy")


def test_training_goes_on_with_the_saved_policy_whatever_the_hyperparameters_say(
    make_experiment: MakeExperiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = set_up(make_experiment, "TINaivePolicy")[1][0]
    model.save(tmp_path / "saved")
    capsys.readouterr()
    # RNNHNPolicy is what the YAML file says, for who continues and repeats nothing.
    goes_on = {"trained_agent": str(tmp_path / "saved.zip")}
    for given, notices in (("RNNHNPolicy", 1), ("TINaivePolicy", 0)):
        _, (loaded, config) = set_up(make_experiment, given, **goes_on)
        assert type(loaded.policy).__name__ == config["policy"] == "TINaivePolicy"
        assert shows_task(loaded.env)
        assert capsys.readouterr().out.count("Continuing with TINaivePolicy, as saved") == notices


def test_an_objectives_learning_rate_is_spelled_as_ppos(make_experiment: MakeExperiment) -> None:
    given = {"auxiliary_kwargs": {"learning_rate": "lin_1e-3", "n_trials": 2}}
    _, (model, config) = set_up(make_experiment, "VIPolicy", hyperparams=given)
    assert [model.auxiliary.schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([1e-3, 5e-4, 0.0])
    assert config["auxiliary_kwargs"] == given["auxiliary_kwargs"]
