"""RL-Zoo's scripts as a user runs them, with tiny budgets."""

import ast
import csv
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rl_zoo3.train import train

from sb3_hyper import HyperPPO
from sb3_hyper.envs import GridNavi
from tests.zoo.conftest import CommandLine, zoo_environment

ENV_ID = "GridNavi-v0"
N_EPISODES = GridNavi().n_episodes
TRIAL_LENGTH = N_EPISODES * GridNavi().episode_length
OURS = ("--algo", "hyper_ppo", "--env", ENV_ID, "--device", "cpu", "--num-threads", "1")
QUIET = ("--eval-freq", "-1", "-f", "logs", "--seed", "1")
TINY = (
    *("-params", "n_envs:2", "n_steps:60", "batch_size:60", "n_epochs:1"),
    *("policy_kwargs:dict(size='XS',encoder_dim=32)", "monitor_kwargs:dict(info_keywords=('episode_returns',))"),
)


def saved_model(tmp_path: Path, run: int = 1) -> Path:
    return tmp_path / "logs" / "hyper_ppo" / f"{ENV_ID}_{run}" / f"{ENV_ID}.zip"


def check_monitor_files(folder: Path, n_envs: int) -> None:
    """A line of a monitor file is a trial: the sum of its episodes' returns, over all its steps."""
    files = sorted(folder.glob("*.monitor.csv"))
    assert len(files) == n_envs
    for file in files:
        rows = list(csv.DictReader(file.read_text().splitlines()[1:]))
        assert rows
        for row in rows:
            episode_returns = ast.literal_eval(row["episode_returns"])
            assert len(episode_returns) == N_EPISODES
            assert float(row["r"]) == pytest.approx(sum(episode_returns))
            assert int(row["l"]) == TRIAL_LENGTH


def test_train_then_enjoy(command_line: CommandLine, tmp_path: Path) -> None:
    trained = command_line("rl_zoo3.train", *OURS, *QUIET, "-n", 480, *TINY)
    assert "hyper_ppo.yml" in trained.stdout
    assert HyperPPO.load(saved_model(tmp_path), device="cpu").num_timesteps == 480
    check_monitor_files(saved_model(tmp_path).parent, n_envs=2)
    enjoyed = command_line("rl_zoo3.enjoy", *OURS, "-f", "logs", "--no-render", "-n", 3 * TRIAL_LENGTH)
    assert re.findall(r"Episode Length (\d+)", enjoyed.stdout) == [str(TRIAL_LENGTH)] * 3
    assert "Mean reward" in enjoyed.stdout


def test_unknown_environment_suggests_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--algo", "hyper_ppo", "--env", "TMazeSL-v0"])
    with pytest.raises(ValueError, match="TMazeSL-v0 not found in gym registry, you maybe meant TMazeLS-v0"):
        train()


def test_explicit_way_names_its_scripts(command_line: CommandLine) -> None:
    failed = command_line("sb3_hyper.zoo", "trian", fails=True)
    assert "Got trian; usage: python -m sb3_hyper.zoo {train,enjoy}" in failed.stderr


@pytest.mark.slow
def test_explicit_way_trains_on_and_enjoys(command_line: CommandLine, tmp_path: Path) -> None:
    command_line("sb3_hyper.zoo", "train", *OURS, *QUIET, "-n", 240, *TINY)
    first = saved_model(tmp_path)
    command_line("sb3_hyper.zoo", "train", *OURS, *QUIET, "-n", 240, "-i", first, *TINY)
    before, after = (HyperPPO.load(saved_model(tmp_path, run), device="cpu").policy for run in (1, 2))
    assert any((a != b).any() for a, b in zip(before.parameters(), after.parameters(), strict=True))
    enjoyed = command_line("sb3_hyper.zoo", "enjoy", *OURS, "-f", "logs", "--no-render", "-n", TRIAL_LENGTH)
    assert "Mean reward" in enjoyed.stdout


@pytest.mark.slow
def test_subprocesses_train_and_log_trials(command_line: CommandLine, tmp_path: Path) -> None:
    command_line("rl_zoo3.train", *OURS, *QUIET, "-n", 480, "--vec-env", "subproc", *TINY)
    check_monitor_files(saved_model(tmp_path).parent, n_envs=2)


@pytest.mark.slow
def test_same_seed_trains_the_same_agent(command_line: CommandLine, tmp_path: Path) -> None:
    for _ in range(2):
        command_line("rl_zoo3.train", *OURS, *QUIET, "-n", 480, *TINY)
    first, second = (HyperPPO.load(saved_model(tmp_path, run), device="cpu").policy for run in (1, 2))
    assert all((a == b).all() for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.slow
def test_evaluation_and_checkpoints_are_kept(command_line: CommandLine, tmp_path: Path) -> None:
    evaluation = ("--eval-freq", "240", "--eval-episodes", "2", "--n-eval-envs", "2", "--save-freq", "240")
    command_line("rl_zoo3.train", *OURS, *QUIET, *evaluation, "-n", 480, *TINY)
    folder = saved_model(tmp_path).parent
    for name in ("best_model.zip", "rl_model_240_steps.zip"):
        assert HyperPPO.load(folder / name, device="cpu").num_timesteps > 0
    for choice in ("--load-best", "--load-last-checkpoint"):
        command_line("rl_zoo3.enjoy", *OURS, "-f", "logs", "--no-render", "-n", TRIAL_LENGTH, choice, "--n-envs", 2)


@pytest.mark.slow
def test_parallel_search_can_be_continued_and_its_trials_trained(command_line: CommandLine, tmp_path: Path) -> None:
    study = ("--storage", "study.log", "--study-name", "grid")
    search = ("-optimize", "--n-trials", "2", "--n-jobs", "2", "--n-evaluations", "1", "--no-optim-plots", *study)
    small = ("-params", "n_envs:2")
    first = command_line("rl_zoo3.train", *OURS, *QUIET, "-n", 128, "--eval-episodes", 1, *search, *small)
    assert "Number of finished trials:  2" in first.stdout
    second = command_line("rl_zoo3.train", *OURS, *QUIET, "-n", 128, "--eval-episodes", 1, *search, *small)
    assert "Number of finished trials:  4" in second.stdout
    trained = command_line("rl_zoo3.train", *OURS, *QUIET, "-n", 128, *study, "--trial-id", 1, *small)
    assert "Loading from Optuna study" in trained.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for child processes")
def test_interrupted_training_leaves_a_model(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rl_zoo3.train", *OURS, *QUIET, "-n", "100000000", *TINY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=zoo_environment()) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "n_updates" in line:
                process.send_signal(signal.SIGINT)
                break
        output = process.stdout.read()
        assert process.wait(timeout=60) == 0
    assert "Saving to" in output
    assert HyperPPO.load(saved_model(tmp_path), device="cpu").num_timesteps > 0


def test_the_trained_agent_plays_all_its_trials_perfectly(command_line: CommandLine) -> None:
    trained_agents = Path(__file__).parents[2] / "trained_agents"
    arguments = ("--algo", "hyper_ppo", "--env", "TMazeLS-v0", "-f", trained_agents, "--no-render", "-n", 1200)
    assert "Mean reward: 16.00 +/- 0.00" in command_line("rl_zoo3.enjoy", *arguments).stdout
