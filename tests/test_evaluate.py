"""``python -m sb3_hyper.evaluate`` on runs as RL-Zoo leaves them, and what it says when something is wrong."""

import json
import os
import subprocess
import sys
from collections import OrderedDict
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_hyper import HyperPPO, evaluate
from sb3_hyper.adaptation_statistics import AdaptationStatistics
from sb3_hyper.envs import GridNavi, batched_vec_env
from sb3_hyper.evaluation import evaluate_adaptation, evaluate_tasks

ENV = "TMazeLS-v0"
SHORT = {"corridor_length": 6}


def make_env(n_envs=2):
    return make_vec_env(ENV, n_envs, env_kwargs=SHORT, vec_env_cls=batched_vec_env)


@pytest.fixture(scope="module")
def model():
    kwargs = {"size": "XS", "encoder_dim": 16}
    return HyperPPO("RNNHNPolicy", make_env(), n_steps=24, batch_size=24, policy_kwargs=kwargs, device="cpu", seed=0)


@pytest.fixture
def make_run(tmp_path, monkeypatch, model):
    """Write a run folder into the working folder, as RL-Zoo would."""
    monkeypatch.chdir(tmp_path)

    def make(number=1, algo="hyper_ppo", model_name=f"{ENV}.zip", arguments=None, config=None):
        run = tmp_path / "logs" / algo / f"{ENV}_{number}"
        (run / ENV).mkdir(parents=True)
        if model_name is not None:
            model.save(run / model_name)
        arguments = OrderedDict({"env": ENV, "env_kwargs": SHORT, **(arguments or {})})
        (run / ENV / "args.yml").write_text(yaml.dump(arguments))
        (run / ENV / "config.yml").write_text(yaml.dump(OrderedDict({"policy": "RNNHNPolicy", **(config or {})})))
        return run

    return make


@pytest.fixture
def call(capsys):
    """Call the command line: exit status, output and errors."""

    def run(*arguments):
        status = evaluate.main(["--env", ENV, "--n-trials", "5", "--device", "cpu", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def test_the_latest_run_is_evaluated_where_it_was_trained(make_run, call, model):
    for number in (1, 9, 10):
        run = make_run(number)
    (run.parent / f"{ENV}_backup").mkdir()
    status, output, _ = call("--algo", "hyper_ppo", "--folder", "logs")
    assert status == 0 and f"{ENV}_10/{ENV}.zip" in output.replace(os.sep, "/")
    read = json.loads((run / "adaptation_curve.json").read_text())
    twin = evaluate_adaptation(model, make_env(5), 5, seed=0)
    assert read["returns"] == twin.returns.tolist()
    assert (read["environment"], read["policy"], read["seed"]) == (ENV, "RNNHNPolicy", 0)
    assert twin.table() in output
    assert (run / "adaptation_curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_by_number_its_best_model_and_one_without_number(make_run, call):
    make_run(1, model_name="best_model.zip")
    make_run(2)
    assert "no best_model.zip: it has TMazeLS-v0.zip" in call("--load-best")[2]
    assert call("--exp-id", 1, "--load-best")[0] == 0
    status, _, error = call("--exp-id", 1)
    assert status == 1 and "no TMazeLS-v0.zip: it has best_model.zip (see --load-best" in error
    run = make_run(3)
    (run / f"{ENV}.zip").rename(run.parent / f"{ENV}.zip")
    assert call("--exp-id", -1)[0] == 0
    assert (run.parent / "adaptation_curve.json").is_file()


def test_a_model_by_path_writes_into_the_working_folder_or_where_it_is_told(make_run, call, tmp_path):
    path = make_run() / f"{ENV}.zip"
    assert call("--model", path, "--env-kwargs", "corridor_length:6")[0] == 0
    assert (tmp_path / "adaptation_curve.json").is_file() and not (path.parent / "adaptation_curve.json").exists()
    as_sb3_names_it = path.with_suffix("")
    assert call("--model", as_sb3_names_it, "--output", tmp_path / "a" / "b", "--n-envs", 2, "--stochastic")[0] == 0
    read = json.loads((tmp_path / "a" / "b" / "adaptation_curve.json").read_text())
    assert not read["deterministic"] and read["n_trials"] == 5


def test_a_baseline_needs_no_model(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    status, output, _ = call("--baseline", "random", "--seed", 4)
    assert status == 0 and "TMazeLS-v0, random: 5 trials, sampled actions" in output and "no memory" in output


def test_arguments_of_the_environment(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    options = evaluate.make_parser().parse_args(
        [
            "--env",
            "GridNavi-v0",
            "--baseline",
            "random",
            "--split",
            "test",
            "--env-kwargs",
            "size:7",
            "render_mode:ansi",
        ]
    )
    distribution = evaluate.make_env(options, None).get_attr("distribution", 0)[0]
    assert (distribution.size, distribution.split) == (7, "test")
    status, _, error = call("--baseline", "random", "--split", "test")
    assert status == 1 and "there is no 'test' split" in error
    status, _, error = call("--baseline", "random", "--env-kwargs", "corridor:7")
    assert status == 1 and "unexpected keyword argument 'corridor'" in error
    with pytest.raises(SystemExit):
        call("--baseline", "random", "--env-kwargs", "corridor_length")


def test_command_line_arguments_win_over_the_runs(make_run, call):
    make_run(config={"env_kwargs": {"corridor_length": 5}}, arguments={"env_kwargs": None})
    options = evaluate.make_parser().parse_args(["--env", ENV])
    run = evaluate.find_run(options.folder, options.algo, ENV)
    assert evaluate.make_env(options, run).get_attr("distribution", 0)[0].corridor_length == 5
    options.env_kwargs = {"corridor_length": 7}
    assert evaluate.make_env(options, run).get_attr("distribution", 0)[0].corridor_length == 7


def test_normalisation_statistics_are_used_and_left_as_they_are(make_run, call):
    run = make_run()
    normalized = VecNormalize(make_env(), norm_obs_keys=["observation"])
    normalized.reset()
    for _ in range(10):
        normalized.step(np.zeros(2, int))
    normalized.save(run / ENV / "vecnormalize.pkl")
    options = evaluate.make_parser().parse_args(["--env", ENV])
    env = evaluate.make_env(options, evaluate.find_run(Path("logs"), "hyper_ppo", ENV))
    statistics = normalized.obs_rms["observation"]
    for play in (env.reset, lambda: env.step(np.zeros(env.num_envs, int))[0]):
        shown = play()
        raw = env.get_original_obs()["observation"]
        expected = (raw - statistics.mean) / np.sqrt(statistics.var + env.epsilon)
        np.testing.assert_allclose(shown["observation"], expected, rtol=1e-5)
    assert env.obs_rms["observation"].count == statistics.count and not env.norm_reward
    assert call()[0] == 0


@pytest.mark.parametrize("name", ["env_wrapper", "vec_env_wrapper", "frame_stack"])
def test_wrappers_of_a_run_are_not_dropped_in_silence(make_run, call, name):
    make_run(config={name: 4})
    status, _, error = call()
    assert status == 1 and f"trained with {name}=4, which is not rebuilt here" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "nowhere"], "Found no run nowhere"),
        (["--exp-id", "3"], f"{ENV}_3; the folder holds {ENV}_1. Train one with"),
        (["--env", "TMazeSL-v0"], "There is no environment 'TMazeSL-v0'. Did you mean 'TMazeLS-v0'?"),
        (["--n-trials", "0"], "--n-trials 0: wanted at least 1"),
        (["--n-envs", "0"], "--n-envs 0: wanted at least 1"),
        (["--model", "missing.zip"], "There is no model missing.zip"),
        (["--algo", "ppo", "--model", f"logs/hyper_ppo/{ENV}_1/{ENV}.zip"], "cannot be loaded as a model of ppo"),
        (["--env", "GridNavi-v0", "--model", f"logs/hyper_ppo/{ENV}_1/{ENV}.zip"], "trained with the observation"),
        (["--gym-packages", "nobody_has_this"], "No module named 'nobody_has_this'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_without_a_traceback(make_run, call, arguments, message):
    make_run()
    status, _, error = call(*arguments)
    assert status == 1
    assert message in error.replace(os.sep, "/") and "Traceback" not in error


def test_an_empty_run_says_so(make_run, call):
    make_run(model_name=None)
    assert "it is still training, has failed, or was a search" in call()[2]


def test_without_matplotlib_there_are_numbers_still(make_run, call, monkeypatch):
    run = make_run()
    monkeypatch.setitem(sys.modules, "sb3_hyper.plotting", None)
    status, _, error = call()
    assert status == 0 and 'pip install "sb3-hyper[plots]"' in error
    assert (run / "adaptation_curve.json").is_file() and not (run / "adaptation_curve.png").exists()


def test_an_environment_that_never_ends(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "evaluate_adaptation", partial(evaluate_adaptation, max_trial_length=20))
    gym.register("Endless-v0", entry_point="gymnasium.envs.classic_control:PendulumEnv")
    try:
        status, _, error = call("--env", "Endless-v0", "--baseline", "random")
    finally:
        del gym.registry["Endless-v0"]
    assert status == 1 and "played 20 steps without an end" in error and "TimeLimit" in error


def test_as_a_module_and_without_rl_zoo(make_run, tmp_path):
    make_run()
    command = [sys.executable, "-m", "sb3_hyper.evaluate", "--env", ENV, "--n-trials", "2", "--num-threads", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "2 trials, likeliest actions" in ended.stdout
    code = "import sys, sb3_hyper.evaluate; assert not [name for name in sys.modules if name.startswith('rl_zoo3')]"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_run_of_rl_zoo(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    settings = [
        "n_envs:2",
        "n_steps:24",
        "batch_size:24",
        "normalize:True",
        "policy_kwargs:dict(size='XS',encoder_dim=16)",
    ]
    train = ["--algo", "hyper_ppo", "--env", ENV, "-n", "96", "--eval-freq", "48", "--eval-episodes", "1", "-f", "logs"]
    command = [sys.executable, "-m", "rl_zoo3.train", *train, "--env-kwargs", "corridor_length:6", "-params", *settings]
    subprocess.run(command, check=True, capture_output=True)
    for choice in ([], ["--load-best"]):
        status, output, error = call(*choice)
        assert status == 0, error
        assert "known" not in output  # a short corridor: the arguments were read


def test_the_latest_run_is_the_latest_that_has_a_model(make_run, call, tmp_path):
    make_run(1)
    (tmp_path / "logs" / "hyper_ppo" / "TMazeLS-v0_2").mkdir(parents=True)
    assert "TMazeLS-v0_1" in call()[1]


@pytest.fixture
def make_runs(make_run, model, scramble):
    """Write runs 1, 2 and 3, with agents that play differently."""

    def make():
        runs = [make_run(number, model_name=None) for number in (1, 2, 3)]
        for run in runs:
            scramble(model.policy)
            model.save(run / f"{ENV}.zip")
        return runs

    return make


def test_several_runs_are_statistics_over_the_same_tasks(make_runs, call, tmp_path):
    runs = make_runs()
    status, output, error = call("--exp-ids", 3, 1, 2, "--stochastic")
    assert status == 0, error
    result = AdaptationStatistics.load(tmp_path / "logs" / "hyper_ppo" / f"{ENV}_statistics.json")
    assert result.table() in output and "3 runs x 5 trials, sampled actions" in output
    assert [Path(name).parent.name for name in result.runs] == [f"{ENV}_{number}" for number in (3, 1, 2)]
    assert result.returns.shape == (3, 5, 4) and (result.returns[0] != result.returns[1]).any()
    alone = HyperPPO.load(runs[1] / f"{ENV}.zip", device="cpu")
    twin = evaluate_tasks(alone, make_env(5), 5, deterministic=False, seed=0)
    np.testing.assert_array_equal(result.returns[2], twin.returns[0])
    assert result.tasks == twin.tasks and result.distribution == twin.distribution
    assert not list(tmp_path.rglob("adaptation_curve.*"))


def test_test_tasks_that_were_not_held_out_are_pointed_out(tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "logs" / "hyper_ppo" / "GridNavi-v0_1"
    (run / "GridNavi-v0").mkdir(parents=True)
    kwargs = {"n_steps": 60, "batch_size": 60, "policy_kwargs": {"size": "XS", "encoder_dim": 16}, "device": "cpu"}
    HyperPPO("RNNPolicy", "GridNavi-v0", seed=0, **kwargs).save(run / "GridNavi-v0.zip")
    for split, is_held_out in ((None, False), ("train", True)):
        env_kwargs = {} if split is None else {"split": split}
        arguments = OrderedDict({"env": "GridNavi-v0", "env_kwargs": env_kwargs})
        (run / "GridNavi-v0" / "args.yml").write_text(yaml.dump(arguments))
        status, _, error = call("--env", "GridNavi-v0", "--split", "test")
        assert status == 0 and ("these tasks were not held out" in error) != is_held_out
    assert "these tasks" not in call("--env", "GridNavi-v0", "--split", "train")[2]


@pytest.mark.parametrize("name", ["curve.json", "curve.png"])
def test_a_file_as_output_is_refused_before_any_work(make_run, call, name):
    make_run()
    status, output, error = call("--output", name)
    assert status == 1 and "wanted a folder; the files in it get names of their own" in error and not output


def test_several_models_by_path(make_runs, call, tmp_path):
    paths = [run / f"{ENV}.zip" for run in make_runs()]
    status, _, error = call(
        "--models", *paths, "--env-kwargs", "corridor_length:6", "--resampling", "stratified", "--seed", 3
    )
    assert status == 0, error
    result = AdaptationStatistics.load(tmp_path / f"{ENV}_statistics.json")
    assert (result.runs, result.resampling, result.seed) == (tuple(map(str, paths)), "stratified", 3)
    assert call("--models", paths[0], "--env-kwargs", "corridor_length:6", "--output", tmp_path / "a")[0] == 0
    assert (tmp_path / "a" / f"{ENV}_statistics.json").is_file()


def test_the_split_is_in_the_names_of_the_files(tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kwargs = {"n_steps": 60, "batch_size": 60, "policy_kwargs": {"size": "XS", "encoder_dim": 16}, "device": "cpu"}
    env = make_vec_env("GridNavi-v0", 2, vec_env_cls=batched_vec_env)
    HyperPPO("RNNPolicy", env, seed=0, **kwargs).save("grid.zip")
    for split in ("train", "test"):
        assert call("--env", "GridNavi-v0", "--models", "grid.zip", "--split", split)[0] == 0
        assert call("--env", "GridNavi-v0", "--model", "grid.zip", "--split", split)[0] == 0
        assert (tmp_path / f"adaptation_curve_{split}.json").is_file()
    train, test = (AdaptationStatistics.load(f"GridNavi-v0_{split}_statistics.json") for split in ("train", "test"))
    assert not set(train.tasks) & set(test.tasks)
    assert train.reference_returns == test.reference_returns == GridNavi.reference_returns


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--exp-ids", "1", "1"], "A run is named twice"),
        (["--exp-ids", "1", "4"], f"{ENV}_4; the folder holds"),
        (["--exp-ids", "1", "--exp-id", "2"], "leave --exp-id, --model and --baseline out"),
        (["--exp-ids", "1", "--baseline", "random"], "leave --exp-id, --model and --baseline out"),
        (["--exp-ids", "1", "--n-trials", "0"], "--n-trials 0: wanted at least 1"),
        (["--exp-ids", "1", "2", "--split", "test"], "there is no 'test' split"),
        (["--models", "missing.zip"], "There is no model missing.zip"),
        (["--models", "logs/../missing.zip", "missing.zip"], "A run is named twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_several_runs(make_runs, call, arguments, message):
    make_runs()
    status, _, error = call(*arguments)
    assert status == 1 and message in error and "Traceback" not in error


def test_runs_of_other_environments_are_not_mixed(make_runs, call):
    run = make_runs()[2]
    (run / ENV / "args.yml").write_text(yaml.dump(OrderedDict({"env": ENV, "env_kwargs": {"corridor_length": 7}})))
    status, _, error = call("--exp-ids", 1, 2, 3)
    assert status == 1 and "differ in their distribution: 'TMazeLS(corridor_length=6" in error
