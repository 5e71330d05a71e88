"""``python -m sb3_hyper.evaluate``: play trials with a trained agent, print its adaptation and draw it."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sb3_hyper.adaptation import AdaptationResult
from sb3_hyper.adaptation_statistics import AdaptationStatistics
from sb3_hyper.atomic_file import write_atomically
from sb3_hyper.bootstrap import RESAMPLINGS
from sb3_hyper.command_line import StoreKeywords, check_output_folder, run_command
from sb3_hyper.envs import register_environments
from sb3_hyper.envs.vec_env import batched_vec_env
from sb3_hyper.errors import did_you_mean
from sb3_hyper.evaluation import BASELINES, MOST_ENVS, evaluate_adaptation, evaluate_tasks
from sb3_hyper.saved_runs import ALGORITHMS, SavedRun, env_kwargs_of, find_run, load_model

MakeVecEnv: TypeAlias = Callable[[list[Callable[[], gym.Env[Any, Any]]]], VecEnv]


def make_parser() -> argparse.ArgumentParser:
    """The command line; options that RL-Zoo has too are called as they are there."""
    parser = argparse.ArgumentParser(
        prog="python -m sb3_hyper.evaluate",
        description="Evaluate an agent over whole trials and draw its adaptation curve.",
    )
    add_agent_options(parser)
    several = parser.add_mutually_exclusive_group()
    several.add_argument("--exp-ids", help="numbers of several runs: statistics over them", nargs="+", type=int)
    several.add_argument("--models", help="several saved models: statistics over them", nargs="+", type=Path)
    parser.add_argument(
        "--resampling", help="bootstrap of statistics over runs", default="crossed", choices=list(RESAMPLINGS)
    )
    parser.add_argument("--n-trials", help="number of trials", default=200, type=int)
    parser.add_argument("--n-envs", help="trials that run side by side (default: up to 100)", type=int)
    parser.add_argument(
        "-o", "--output", help="folder to write to (default: the run's, else the working folder)", type=Path
    )
    return parser


def add_agent_options(parser: argparse.ArgumentParser) -> None:
    """
    Add what says which agent plays where, and how.

    :param parser: the command line
    """
    parser.add_argument("--env", help="environment ID", required=True)
    parser.add_argument("--algo", help="RL algorithm", default="hyper_ppo", choices=list(ALGORITHMS))
    agent = parser.add_mutually_exclusive_group()
    agent.add_argument("-f", "--folder", help="log folder of RL-Zoo", type=Path, default=Path("logs"))
    agent.add_argument("--model", help="a saved model, instead of a run in the log folder", type=Path)
    agent.add_argument("--baseline", help="an untrained agent", choices=list(BASELINES))
    parser.add_argument("--exp-id", help="number of the run (0: the latest, -1: no run folder)", default=0, type=int)
    parser.add_argument("--load-best", help="load the best model instead of the last", action="store_true")
    parser.add_argument("--seed", help="random generator seed", default=0, type=int)
    parser.add_argument("--stochastic", help="sample actions instead of taking the likeliest", action="store_true")
    parser.add_argument("--device", help="PyTorch device (cpu, cuda, ...)", default="auto")
    parser.add_argument("--num-threads", help="number of threads for PyTorch (-1: its default)", default=-1, type=int)
    parser.add_argument("--split", help="which tasks, where the environment divides them", choices=["train", "test"])
    parser.add_argument(
        "--env-kwargs", help="arguments of the environment, key:value ...", nargs="+", action=StoreKeywords, default={}
    )
    parser.add_argument("--gym-packages", help="modules to import, which register environments", nargs="+", default=[])


class Setting(NamedTuple):
    """
    All that an evaluation needs.

    :param model: the agent
    :param env: its environments
    :param output: where results go
    """

    model: PolicyPredictor
    env: VecEnv
    output: Path


def prepare(options: argparse.Namespace, vec_env_cls: MakeVecEnv = batched_vec_env) -> Setting:
    """
    Find or load everything that the command line names.

    :param options: what :func:`make_parser` parsed
    :param vec_env_cls: puts environments together
    :return: agent, environments and the output folder
    :raises OSError: when something is missing on the disk
    :raises ValueError: when an option is out of range, or the model cannot be read
    :raises TypeError: when the environment does not know an argument
    """
    for module in options.gym_packages:
        importlib.import_module(module)
    register_environments()
    _check_options(options)
    if options.baseline is not None:
        env = make_env(options, None, vec_env_cls)
        return Setting(BASELINES[options.baseline](env.action_space, options.seed), env, options.output or Path())
    run = None
    if options.model is None:
        run = find_run(options.folder, options.algo, options.env, options.exp_id, options.load_best)
    path = options.model if run is None else run.model
    print(f"Loading {path}")
    if run is not None and options.split == "test" and env_kwargs_of(run).get("split") != "train":
        print('warning: it was not trained with split="train": these tasks were not held out', file=sys.stderr)
    model = load_model(options.algo, path, options.device)
    env = make_env(options, run, vec_env_cls)
    return Setting(model, env, options.output or (Path() if run is None else run.folder))


def _check_options(options: argparse.Namespace) -> None:
    for name in ("n_trials", "n_envs"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value}: wanted at least 1.")
    # "module:Env-v0" is imported by gymnasium.make.
    if ":" not in options.env and options.env not in gym.registry:
        raise ValueError(
            f"There is no environment {options.env!r}.{did_you_mean(options.env, gym.registry)} "
            "Others are registered by importing --gym-packages."
        )


def make_env(options: argparse.Namespace, run: SavedRun | None, vec_env_cls: MakeVecEnv = batched_vec_env) -> VecEnv:
    """
    Build the environments as the run had them, with normalisation statistics frozen.

    :param options: what :func:`make_parser` parsed
    :param run: the run; None if there is none
    :param vec_env_cls: puts environments together
    :return: the environments
    :raises ValueError: when an argument is out of range
    :raises TypeError: when the environment does not know an argument
    """
    env_kwargs = {**(env_kwargs_of(run) if run else {}), **options.env_kwargs}
    if options.split is not None:
        env_kwargs["split"] = options.split
    n_envs = options.n_envs or min(options.n_trials, MOST_ENVS)
    env = make_vec_env(options.env, n_envs, options.seed, env_kwargs=env_kwargs, vec_env_cls=vec_env_cls)  # type: ignore[arg-type]
    statistics = run.parameters / "vecnormalize.pkl" if run else None
    if statistics is not None and statistics.is_file():
        normalized = VecNormalize.load(str(statistics), env)
        normalized.training = normalized.norm_reward = False
        env = normalized
    return env


def write(result: AdaptationResult, folder: Path, name: str) -> None:
    """
    Write a JSON file, and a picture (PNG) where matplotlib is installed.

    :param result: what was found
    :param folder: where to, made if need be
    :param name: the files' name without their endings
    """
    write_atomically(folder / f"{name}.json", result.to_json() + "\n")
    print(f"\nSaved {folder / name}.json")
    try:
        from sb3_hyper.plotting import save_adaptation_curve
    except ModuleNotFoundError as error:
        print(f'No figure was drawn: {error.name} is missing (pip install "sb3-hyper[plots]").', file=sys.stderr)
        return
    save_adaptation_curve(folder / f"{name}.png", result)
    print(f"Saved {folder / name}.png")


def each_run(options: argparse.Namespace) -> dict[str, argparse.Namespace]:
    """
    Take several runs apart.

    :param options: what :func:`make_parser` parsed, with ``exp_ids`` or ``models``
    :return: name of each run -> the options that :func:`prepare` would read for it alone
    :raises OSError: when a run is missing
    :raises ValueError: when a run is there twice, or one agent is named besides several
    """
    if options.model is not None or options.baseline is not None or options.exp_id != 0:
        raise ValueError("--exp-ids and --models name several agents; leave --exp-id, --model and --baseline out.")
    _check_options(options)
    where = (options.folder, options.algo, options.env)
    paths = options.models or [find_run(*where, number, options.load_best).model for number in options.exp_ids]
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"A run is named twice in {', '.join(map(str, paths))}: it would count twice. Name each once.")
    choices = [{"model": path} for path in paths] if options.models else [{"exp_id": n} for n in options.exp_ids]
    return {
        str(path): argparse.Namespace(**{**vars(options), **choice})
        for path, choice in zip(paths, choices, strict=True)
    }


def run_several(options: argparse.Namespace) -> None:
    """
    Evaluate several runs on the same tasks, print statistics over them and write ``ENV_statistics.json``.

    :param options: what :func:`make_parser` parsed, with ``exp_ids`` or ``models``
    :raises ValueError: when the runs do not belong together
    """
    for module in options.gym_packages:
        importlib.import_module(module)
    results: list[AdaptationStatistics] = []
    for name, single in each_run(options).items():
        model, env, _ = prepare(single)
        try:
            results.append(evaluate_tasks(model, env, options.n_trials, not options.stochastic, options.seed, name))
        finally:
            env.close()
        # Runs that do not belong together are found out before the others have played.
        statistics = replace(AdaptationStatistics.join(results), resampling=options.resampling)
    print(f"\n{statistics.table()}")
    folder = options.output or (Path() if options.models else options.folder / options.algo)
    # RL-Zoo writes "ALE/Pong-v5" as "ALE-Pong-v5".
    name = "_".join([options.env.replace("/", "-"), *([options.split] if options.split else []), "statistics"])
    statistics.save(folder / f"{name}.json")
    print(f"\nSaved {folder / name}.json")


def run(options: argparse.Namespace) -> None:
    """
    Evaluate what the command line says, print the adaptation and write it.

    :param options: what :func:`make_parser` parsed
    """
    if options.output is not None:
        if options.output.suffix in (".json", ".png"):
            raise ValueError(f"--output {options.output}: wanted a folder; the files in it get names of their own.")
        check_output_folder(options.output)
    if options.exp_ids or options.models:
        run_several(options)
        return
    model, env, output = prepare(options)
    try:
        result = evaluate_adaptation(model, env, options.n_trials, not options.stochastic, options.seed)
        print(f"\n{result.table()}")
        write(result, output, "_".join(["adaptation_curve", *([options.split] if options.split else [])]))
    finally:
        env.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the command line; None: this process's
    :return: exit status: 0, or 1 where something that the user gave was wrong
    """
    return run_command(make_parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
