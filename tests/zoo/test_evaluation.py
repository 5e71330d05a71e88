"""Evaluation on held-out tasks inside RL-Zoo: the callback from YAML, and what a search is pruned by."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import rl_zoo3.exp_manager
import yaml
from rl_zoo3.callbacks import TrialEvalCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper.callbacks import AdaptationEvalCallback
from sb3_hyper.evaluation import MOST_ENVS
from sb3_hyper.zoo.pruning import AdaptationTrialEvalCallback
from tests.zoo.conftest import CommandLine, MakeExperiment

ENV_ID = "GridNavi-v0"
OURS = ("--algo", "hyper_ppo", "--env", ENV_ID, "--device", "cpu", "--num-threads", "1", "-f", "logs", "--seed", "1")
CALLBACK = "sb3_hyper.callbacks.AdaptationEvalCallback"
TINY = {"n_envs": 2, "n_steps": 60, "batch_size": 60, "n_epochs": 1, "policy": "RNNPolicy", "n_timesteps": 240}
SMALL = {**TINY, "policy_kwargs": "dict(size='XS',encoder_dim=16)"}


@pytest.mark.slow
def test_the_callback_from_yaml(command_line: CommandLine, tmp_path: Path) -> None:
    settings = {"eval_freq": 60, "n_eval_trials": 10, "env_kwargs": {"n_episodes_per_trial": 2}}
    hyperparams = {**SMALL, "normalize": "{'norm_obs_keys': ['observation']}", "callback": [{CALLBACK: settings}]}
    (tmp_path / "ours.yml").write_text(yaml.dump({ENV_ID: hyperparams}))
    trained = command_line(
        *("rl_zoo3.train", *OURS, "--eval-freq", -1, "-conf", "ours.yml", "--env-kwargs", "split:'train'")
    )
    assert "Eval num_timesteps=240, 10 tasks: IQM" in trained.stdout and "test_iqm" in trained.stdout
    run = tmp_path / "logs" / "hyper_ppo" / f"{ENV_ID}_1"
    assert np.load(run / "evaluations.npz")["episode_returns"].shape == (2, 10, 2)
    evaluated = command_line("sb3_hyper.evaluate", "--env", ENV_ID, "--load-best", "--split", "test", "--n-trials", 3)
    assert "3 trials" in evaluated.stdout


@pytest.mark.slow
def test_the_callback_by_its_name_beside_rl_zoos_own(command_line: CommandLine, tmp_path: Path) -> None:
    params = ("-params", "n_envs:2", "n_steps:60", "batch_size:60", f"callback:'{CALLBACK}'")
    trained = command_line("rl_zoo3.train", *OURS, "-n", 240, "--eval-freq", 60, "--eval-episodes", 1, *params)
    assert "--eval-freq -1" in trained.stderr


def make_callback(
    make_experiment: MakeExperiment, algo: str = "hyper_ppo", **arguments: Any
) -> tuple[AdaptationTrialEvalCallback, optuna.Trial, Any, VecEnv]:
    hyperparams = SMALL if algo == "hyper_ppo" else {"n_envs": 2, "policy": "MultiInputPolicy"}
    experiment = make_experiment(algo, ENV_ID, hyperparams=hyperparams, env_kwargs={"split": "train"}, **arguments)
    setup = experiment.setup_experiment()
    assert setup is not None
    trial = optuna.create_study(direction="maximize").ask()
    eval_env = experiment.create_envs(1, eval_env=True)
    return AdaptationTrialEvalCallback(eval_env, trial, 5, eval_freq=60), trial, setup[0], eval_env


def test_a_search_is_told_the_interquartile_mean_on_held_out_tasks(make_experiment: MakeExperiment) -> None:
    callback, trial, model, _ = make_callback(make_experiment)
    reported, tasks = [], []
    trial.report = lambda value, step: reported.append((value, step))  # type: ignore[method-assign]
    played = AdaptationEvalCallback._play

    def play(self: AdaptationEvalCallback) -> Any:
        trials = played(self)
        tasks.append({tuple(one.task) for one in trials})
        assert len(trials) == MOST_ENVS
        return trials

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdaptationEvalCallback, "_play", play)
        model.learn(240, callback)
    assert callback._adaptation is not None
    assert [step for _, step in reported] == [1, 2] and not callback.is_pruned
    assert callback.last_mean_reward == callback._adaptation.last_iqm == reported[-1][0]
    training = {tuple(task) for task in model.get_env().get_attr("distribution")[0].tasks.tolist()}
    assert tasks[0] and not tasks[0] & training


def test_a_pruned_trial_stops(make_experiment: MakeExperiment) -> None:
    callback, trial, model, _ = make_callback(make_experiment)
    trial.should_prune = lambda: True  # type: ignore[method-assign]
    model.learn(240, callback)
    assert callback.is_pruned and model.num_timesteps == 120


def test_other_algorithms_are_evaluated_as_ever(make_experiment: MakeExperiment) -> None:
    callback, _, model, eval_env = make_callback(make_experiment, "ppo", verbose=0)
    model.set_logger(configure(None, []))
    callback.eval_freq = 10
    twin = TrialEvalCallback(eval_env, optuna.create_study(direction="maximize").ask(), 5, eval_freq=10)
    for one in (callback, twin):
        eval_env.seed(0)
        one.init_callback(model)
        one.n_calls = 9
        assert one.on_step() and one.eval_idx == 1
    assert callback._adaptation is None and callback.last_mean_reward == twin.last_mean_reward


@pytest.mark.slow
def test_rl_zoos_search_uses_it(make_experiment: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rl_zoo3.exp_manager.TrialEvalCallback is AdaptationTrialEvalCallback
    values = []
    monkeypatch.setattr(
        *(AdaptationTrialEvalCallback, "_on_training_end", lambda self: values.append(self._adaptation.last_iqm))
    )
    experiment = make_experiment(
        *("hyper_ppo", ENV_ID),
        hyperparams={"n_envs": 2},
        n_timesteps=128,
        n_evaluations=1,
        optimize_hyperparameters=True,
    )
    assert experiment.setup_experiment() is None
    study = optuna.create_study(direction="maximize")
    study.optimize(experiment.objective, n_trials=1)
    assert study.best_value == values[-1]
