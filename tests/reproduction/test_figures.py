"""Every registered figure: its names exist, its commands are understood and build their agents."""

import argparse
import inspect
import math
from pathlib import Path

import gymnasium as gym
import pytest
import yaml
from rl_zoo3.utils import StoreDict

from sb3_hyper import HyperPPO
from sb3_hyper.envs import TASK_DISTRIBUTIONS
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES
from sb3_hyper.reproduction.budgets import BUDGETS
from sb3_hyper.reproduction.figures import FIGURES, find_figure
from sb3_hyper.reproduction.planned_run import PROGRAM, plan, spell

DEFAULTS = yaml.safe_load((Path(__file__).parents[2] / "hyperparams" / "hyper_ppo.yml").read_text())
DOCS = (Path(__file__).parents[2] / "docs" / "reproduction.md").read_text(encoding="utf-8")
AGENTS = {run.name: run for figure in FIGURES.values() for budget in BUDGETS for run in plan(figure, budget, 1)}
"""Every agent of every figure, once."""


def read_command(command):
    assert tuple(command[: len(PROGRAM)]) == PROGRAM
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for option in ("--algo", "--env", "-f", "--device"):
        parser.add_argument(option, required=True)
    for option in ("-n", "--seed", "--eval-freq", "--num-threads"):
        parser.add_argument(option, required=True, type=int)
    parser.add_argument("-params", nargs="+", action=StoreDict)
    return parser.parse_args(command[len(PROGRAM) :])


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_what_it_names(name):
    figure = FIGURES[name]
    assert figure.name == name and figure.link.startswith("https://arxiv.org/abs/")
    assert figure.title and figure.source.startswith("Beck et al. 20")
    labels = [method.label for method in figure.methods]
    assert len(set(labels)) == len(labels) > 1
    assert {method.policy for method in figure.methods} <= {**POLICIES, **PRIVILEGED_POLICIES}.keys()
    assert figure.environments.keys() <= TASK_DISTRIBUTIONS.keys()
    for trainings in figure.environments.values():
        assert trainings.keys() == set(BUDGETS)
        assert trainings["small"].frames <= trainings["paper"].frames


@pytest.mark.parametrize("run", AGENTS.values(), ids=AGENTS)
def test_a_command_is_understood_and_builds_its_agent(run):
    options = read_command(run.command(Path("a folder"), "cpu", 1))
    assert (options.algo, options.env, options.n) == ("hyper_ppo", run.environment, run.frames)
    assert (options.seed, options.f, options.eval_freq) == (1, "a folder", -1)
    merged = {**DEFAULTS[run.environment], **options.params}
    unknown = options.params.keys() - set(inspect.signature(HyperPPO).parameters) - {"n_envs", "policy_kwargs"}
    assert not unknown
    assert merged["batch_size"] % merged["n_steps"] == 0
    assert merged["n_envs"] * merged["n_steps"] % merged["batch_size"] == 0
    env = gym.make(run.environment, expose_task=merged["policy"] in PRIVILEGED_POLICIES)
    policy = HyperPPO.policy_aliases[merged["policy"]]
    agent = policy(env.observation_space, env.action_space, lambda _: 0.0, **merged["policy_kwargs"])
    for key, value in merged["policy_kwargs"].items():
        assert getattr(agent.settings, key) == value


def test_the_small_t_ls_figure_fits_into_an_hour():
    runs = plan(FIGURES["t-ls"], "small", 3)
    assert len(runs) == 9 and {run.environment for run in runs} == {"TMazeLS-v0"}
    # SplAgger needs 400 000 frames. At 1500 frames/s, half of what an idle core does, a third of the hour is left.
    frames = max(run.frames for run in runs)
    assert min(run.frames for run in runs) >= 400_000
    assert math.ceil(len(runs) / 2) * frames / 1500 <= 2400


def test_the_same_training_has_the_same_folder_in_every_figure_and_any_other_another():
    names = [run.name for figure in FIGURES.values() for budget in BUDGETS for run in plan(figure, budget, 2)]
    agents = {
        (run.environment, spell(run.command(Path(), "cpu", 1)))
        for figure in FIGURES.values()
        for budget in BUDGETS
        for run in plan(figure, budget, 2)
    }
    assert len(set(names)) == len(agents) < len(names)
    (one,) = plan(FIGURES["t-ls"], "small", 1, methods=["SplAgger"])
    (other,) = plan(FIGURES["aggregators"], "small", 1, environments=["TMazeLS-v0"], methods=["max"])
    assert one.name == other.name


def test_runs_go_seed_by_seed():
    runs = plan(FIGURES["grids"], "small", 2)
    assert [run.seed for run in runs] == [1] * 9 + [2] * 9
    assert [run.method.label for run in runs[:3]] == ["RNN+HN", "RNN+S", "RNN"]


def test_names_that_do_not_exist():
    with pytest.raises(ValueError, match=r"Unknown figure 'tls'. Did you mean 't-ls'\? Choose one of"):
        find_figure("tls")
    with pytest.raises(ValueError, match=r"method of the figure 'grids': 'RNNHN'.* Did you mean 'RNN\+HN'"):
        plan(FIGURES["grids"], "small", 1, methods=["RNNHN"])
    with pytest.raises(ValueError, match="environment of the figure 'grids': 'GridNav-v0'.* 'GridNavi-v0'"):
        plan(FIGURES["grids"], "small", 1, environments=["GridNav-v0"])
    for kwargs, option in (({"n_seeds": 0}, "--seeds 0"), ({"n_seeds": 1, "frames": -5}, "--frames -5")):
        with pytest.raises(ValueError, match=f"{option}: wanted at least 1"):
            plan(FIGURES["grids"], "small", **kwargs)


@pytest.mark.parametrize("name", FIGURES)
def test_the_documentation_has_a_row_with_its_runs_and_frames(name):
    row = next(line for line in DOCS.splitlines() if line.startswith(f"| `{name}`"))
    plans = [plan(FIGURES[name], budget, 3) for budget in BUDGETS]
    numbers = [len(plans[0]), *(sum(run.frames for run in runs) / 1e6 for runs in plans)]
    assert [float(entry) for entry in row.split("|")[-4:-1]] == numbers
    for label in (method.label for method in FIGURES[name].methods):
        assert label in row
    for environment in FIGURES[name].environments:
        assert f"`{environment}`" in row
