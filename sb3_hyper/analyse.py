"""``python -m sb3_hyper.analyse``: the papers' analyses of encoders and agents as tables, JSON and figures."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from sb3_hyper import analysis
from sb3_hyper.analysis import published
from sb3_hyper.analysis.gradients import DEFAULT_STEPS
from sb3_hyper.analysis.latent_gradient import check_latent_learns
from sb3_hyper.analysis.linear_probe import RIDGE
from sb3_hyper.analysis.networks import NETWORKS
from sb3_hyper.analysis.result import check_counts
from sb3_hyper.analysis.run_path import RunPath
from sb3_hyper.command_line import StoreKeywords, check_output_folder, run_command, whole_number
from sb3_hyper.envs.vec_env import batched_vec_env
from sb3_hyper.evaluate import prepare
from sb3_hyper.hyper_ppo import HyperPPO
from sb3_hyper.hypernetworks.initializers import BASE_INITIALIZERS
from sb3_hyper.policies.sizes import SIZES
from sb3_hyper.saved_runs import ALGORITHMS

RECURRENT = ("RNNHNPolicy", "AMRLPolicy", "SplAggerPolicy")
"""What gradients are drawn of where nothing else is said."""

ORDERED_AND_NOT = (*RECURRENT, "SplAggerNoRNNPolicy", "MaxPolicy", "CNPPolicy")
"""What permutation distances are drawn of where nothing else is said."""

CONDITIONINGS = ("RNNPolicy", "RNNSPolicy", "RNNHNPolicy")
"""What is trained to draw the latent's gradient where nothing else is said: three ways for a latent to act."""

RUN = "a run's folder (LOGS/ALGO/ENV_N) or a model (.zip)"
"""What names a trained agent."""

TRAINING: dict[str, Any] = {
    "n_steps": 60,
    "batch_size": 960,
    "n_epochs": 2,
    "learning_rate": 1e-3,
    "gamma": 0.95,
    "clip_range": 0.1,
    "clip_range_vf": 0.1,
    "ent_coef": 0.02,
    "normalize_reward": True,
}
"""Arguments of HyperPPO that suit GridNavi."""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    text = "Analyse encoders and agents as the papers do. Every analysis prints a table and writes JSON and a figure."
    parser = argparse.ArgumentParser(prog="python -m sb3_hyper.analyse", description=text)
    commands = parser.add_subparsers(title="analyses", required=True, metavar="ANALYSIS")

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.add_argument("-o", "--output", help="where to write", type=Path, default=Path("analysis"))
        command.add_argument("--num-threads", help="number of threads for PyTorch", default=-1, type=int)
        command.set_defaults(run=run)
        return command

    command = add("gradients", run_gradients, "how gradients from step t reach inputs and parameters")
    _add_sequence_options(command, RECURRENT)
    command = add("permutations", run_permutations, "how far the latent moves when transitions come in another order")
    _add_sequence_options(command, ORDERED_AND_NOT)
    command.add_argument("--n-permutations", help="permutations for each step and seed", default=20, type=int)
    _add_initialisation_options(add("initialisation", run_initialisation, "what hypernetworks generate at step 0"))
    _add_weights_options(add("weights", run_weights, "how a trained agent's generated weights differ between tasks"))
    _add_task_error_options(add("task-error", run_task_error, "how fast trained agents know their task in a trial"))
    _add_training_options(add("training", run_training, "the latent's gradient norm while agents train"))
    command = add("papers", run_papers, "the published tables beside ours: gradients, permutations; initialisation")
    command.add_argument("--n-seeds", help="networks and inputs to average over", default=3, type=int)
    return parser


def _add_sequence_options(command: argparse.ArgumentParser, subjects: Sequence[str]) -> None:
    what = f"a policy (SplAggerPolicy), an encoder (gru), {RUN}, or module:Class of your own policy or encoder "
    what += f"(default: {' '.join(subjects)})"
    command.add_argument("subjects", nargs="*", default=list(subjects), metavar="SUBJECT", help=what)
    widths = analysis.Widths()
    command.add_argument("--steps", help="the steps t", nargs="+", type=int, default=list(DEFAULT_STEPS))
    command.add_argument("--length", help="length of the sequences", default=100, type=int)
    command.add_argument("--n-seeds", help="networks and inputs to average over", default=3, type=int)
    command.add_argument("--input-dim", help="width of the inputs", default=widths.input_dim, type=int)
    command.add_argument("--encoder-dim", help="width of the encodings", default=widths.encoder_dim, type=int)
    command.add_argument("--latent-dim", help="width of the latent", default=widths.latent_dim, type=int)
    _add_model_options(command)


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--algo", help="algorithm of a model", default="hyper_ppo", choices=list(ALGORITHMS))
    command.add_argument("--load-best", help="load a run's best model instead of its last", action="store_true")


def _add_initialisation_options(command: argparse.ArgumentParser) -> None:
    sizes, bases = list(SIZES), list(BASE_INITIALIZERS)
    text = "policies whose own base networks are measured (RNNFiLMPolicy, module:Class); default: an actor of each size"
    command.add_argument("--policy", help=text, nargs="+", default=[], metavar="POLICY")
    text = "which of a policy's base networks (default: actor)"
    command.add_argument("--networks", help=text, nargs="+", default=["actor"], choices=NETWORKS)
    text = "arguments of the policies, key:value ..."
    command.add_argument("--policy-kwargs", help=text, nargs="+", action=StoreKeywords, default={})
    text = "sizes of the base networks (default: all; a policy's own)"
    command.add_argument("--sizes", help=text, nargs="+", choices=sizes)
    text = "of the base layers (default: orthogonal; a policy's own)"
    command.add_argument("--base-initializer", help=text, choices=bases)
    command.add_argument("--latent-std", help="standard deviation of the latents", default=1.0, type=float)
    command.add_argument("--n-seeds", help="networks to average over", default=3, type=int)


def _add_weights_options(command: argparse.ArgumentParser) -> None:
    networks = list(NETWORKS)
    command.add_argument("agent", metavar="RUN", type=Path, help=RUN)
    command.add_argument("--steps", help="steps of a trial, from 0; -1: the last", nargs="+", type=int, default=[-1])
    command.add_argument("--networks", help="base networks", nargs="+", default=networks, choices=networks)
    _add_playing_options(command)


def _add_task_error_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("agents", metavar="RUN", type=Path, nargs="+", help=RUN)
    command.add_argument("--steps", help="steps of a trial in the table, from 0; -1: the last", nargs="+", type=int)
    text = "weight of the linear probe's penalty"
    command.add_argument("--ridge", help=text, default=RIDGE, type=float)
    _add_playing_options(command)


def _add_playing_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--env", help="environment ID (default: the run's)")
    _add_model_options(command)
    command.add_argument("--n-trials", help="number of trials", default=200, type=int)
    command.add_argument("--n-envs", help="trials that run side by side (default: up to 100)", type=int)
    command.add_argument("--seed", help="random generator seed", default=0, type=int)
    command.add_argument("--stochastic", help="sample actions instead of taking the likeliest", action="store_true")
    command.add_argument("--split", help="which tasks, where the environment divides them", choices=["train", "test"])
    _add_environment_options(command)


def _add_environment_options(command: argparse.ArgumentParser) -> None:
    text = "arguments of the environment, key:value ..."
    command.add_argument("--env-kwargs", help=text, nargs="+", action=StoreKeywords, default={})
    command.add_argument("--gym-packages", help="modules to import, which register environments", nargs="+", default=[])
    command.add_argument("--device", help="PyTorch device (cpu, cuda, ...)", default="auto")


def _add_training_options(command: argparse.ArgumentParser) -> None:
    policies = list(CONDITIONINGS)
    text = f"policies (default: {' '.join(policies)})"
    command.add_argument("policies", nargs="*", default=policies, metavar="POLICY", help=text)
    command.add_argument("--env", help="environment ID", default="GridNavi-v0")
    command.add_argument(
        "-n", "--n-timesteps", help="environment steps for each agent", default=300_000, type=whole_number
    )
    command.add_argument("--n-envs", help="environments that run side by side", default=64, type=int)
    command.add_argument("--n-seeds", help="agents of each policy", default=1, type=int)
    defaults = " ".join(f"{key}:{value}" for key, value in TRAINING.items())
    text = "arguments of HyperPPO, key:value ..., nested ones as policy_kwargs:\"dict(size='XS')\" "
    text += f"(default: {defaults})"
    command.add_argument("--hyperparams", help=text, nargs="+", action=StoreKeywords, default={})
    _add_environment_options(command)


def run_gradients(options: argparse.Namespace) -> None:
    """Measure, print and write gradient norms."""
    results = [
        analysis.gradient_norms(subject, options.steps, options.length, options.n_seeds) for subject in _find(options)
    ]
    _report(options.output, "gradients", results)


def run_permutations(options: argparse.Namespace) -> None:
    """Measure, print and write permutation distances."""
    settings = (options.steps, options.length, options.n_seeds, options.n_permutations)
    results = [analysis.permutation_distances(subject, *settings) for subject in _find(options)]
    _report(options.output, "permutations", results)


def _find(options: argparse.Namespace) -> list[analysis.Subject]:
    widths = analysis.Widths(options.input_dim, options.encoder_dim, options.latent_dim)
    return [analysis.find_subject(name, widths, options.algo, options.load_best) for name in options.subjects]


def run_initialisation(options: argparse.Namespace) -> None:
    """Measure, print and write the statistics at initialisation."""
    settings = {"n_seeds": options.n_seeds, "latent_std": options.latent_std}
    if options.policy:
        results = list(_policy_statistics(options, settings))
    else:
        if options.policy_kwargs or options.networks != ["actor"]:
            raise ValueError(
                "--networks and --policy-kwargs are a policy's: say whose, --policy RNNHNPolicy for example."
            )
        base = options.base_initializer or "orthogonal"
        results = [analysis.initial_statistics(size, base, **settings) for size in options.sizes or SIZES]
    _report(options.output, "initialisation", results)


def _policy_statistics(options: argparse.Namespace, settings: dict[str, Any]) -> Iterator[analysis.InitialStatistics]:
    """Of each policy in each size, network after network."""
    policy_kwargs = dict(options.policy_kwargs)
    if options.base_initializer is not None:
        policy_kwargs["base_initializer"] = options.base_initializer
    sizes = [{"size": size} for size in options.sizes or []] or [{}]
    for policy_class in map(analysis.find_policy_class, options.policy):
        for size in sizes:
            for network in options.networks:
                yield analysis.policy_statistics(policy_class, network, **settings, **{**policy_kwargs, **size})


def run_weights(options: argparse.Namespace) -> None:
    """Play trials, then print and write the spread of the generated weights."""
    settings = (options.n_trials, options.steps, options.networks, not options.stochastic, options.seed)
    with _trained_agent(options) as (model, env):
        result = analysis.weight_spread(model, env, *settings)
    _report(options.output, "weights", [result])


def run_task_error(options: argparse.Namespace) -> None:
    """Play trials with every agent, then print and write how fast it knows its task."""
    settings = (options.n_trials, options.steps, not options.stochastic, options.seed, options.ridge)
    results = []
    for agent in options.agents:
        with _trained_agent(argparse.Namespace(**{**vars(options), "agent": agent})) as (model, env):
            results.append(analysis.task_error(model, env, *settings))
        if results[-1].environment != results[0].environment:
            raise ValueError(
                f"{agent} plays {results[-1].environment}, {options.agents[0]} {results[0].environment}: give agents "
                "of one environment, and call once for each."
            )
    _report(options.output, "task-error", results)


@contextmanager
def _trained_agent(options: argparse.Namespace) -> Iterator[tuple[BaseAlgorithm, VecEnv]]:
    """The model that the command line names, and environments for it, which are closed afterwards."""
    setting = prepare(as_evaluation(options))
    try:
        if not isinstance(setting.model, BaseAlgorithm):
            raise TypeError(f"Got a {type(setting.model).__name__}, wanted a trained model.")
        yield setting.model, setting.env
    finally:
        setting.env.close()


def as_evaluation(options: argparse.Namespace) -> argparse.Namespace:
    """
    Say which run or model and which environment is meant, in the words of ``sb3_hyper.evaluate``.

    :param options: of ``weights``, or one agent's of ``task-error``
    :return: options that :func:`sb3_hyper.evaluate.prepare` reads
    :raises ValueError: when the environment is not known
    """
    path, known = options.agent, {"baseline": None, "model": None, "folder": None, "exp_id": 0}
    if path.suffix == ".zip":
        if options.env is None:
            raise ValueError(f"Which environment is {path} for? Give --env, or the run's folder instead of the model.")
        return argparse.Namespace(**{**vars(options), **known, "model": path})
    run = RunPath.parse(path)
    place = {"folder": run.folder, "algo": run.algo, "exp_id": run.exp_id, "env": options.env or run.env_id}
    return argparse.Namespace(**{**vars(options), **known, **place})


def run_training(options: argparse.Namespace) -> None:
    """Train agents, then print and write their latents' gradient norms."""
    for module in options.gym_packages:
        importlib.import_module(module)
    for key in ("policy_kwargs", "auxiliary_kwargs"):
        if isinstance(value := options.hyperparams.get(key), str):
            raise ValueError(f"--hyperparams {key}:{value} is no Python literal: write {key}:\"{{'name': value, …}}\".")
    check_counts(n_timesteps=options.n_timesteps, n_envs=options.n_envs, n_seeds=options.n_seeds)
    for policy in options.policies:
        # What is wrong with the last one is said before the first is trained.
        with _untrained_agent(options, policy, 0) as model:
            check_latent_learns(model.policy)
    results = []
    for policy in options.policies:
        for seed in range(options.n_seeds):
            callback = analysis.LatentGradientCallback()
            with _untrained_agent(options, policy, seed) as model:
                model.learn(options.n_timesteps, callback)
            results.append(callback.result())
    _report(options.output, "training", results)


@contextmanager
def _untrained_agent(options: argparse.Namespace, policy: str, seed: int) -> Iterator[HyperPPO]:
    """An agent in environments of its own, which are closed afterwards."""
    env = make_vec_env(
        options.env,
        options.n_envs,
        seed,
        env_kwargs=options.env_kwargs,
        vec_env_cls=batched_vec_env,  # type: ignore[arg-type]
    )
    try:
        yield HyperPPO(policy, env, seed=seed, device=options.device, **{**TRAINING, **options.hyperparams})
    finally:
        env.close()


def run_papers(options: argparse.Namespace) -> None:
    """Run everything that needs no training, and put it beside what was published."""
    find, n_seeds = analysis.find_subject, options.n_seeds
    gradients = [analysis.gradient_norms(find(name), n_seeds=n_seeds) for name in RECURRENT]
    permutations = [analysis.permutation_distances(find(name), n_seeds=n_seeds) for name in ORDERED_AND_NOT]
    _report(options.output, "gradients", gradients)
    _report(options.output, "permutations", permutations)
    statistics = [analysis.initial_statistics(size, n_seeds=n_seeds) for size in SIZES]
    _report(options.output, "initialisation", statistics)
    rows = [*published.compare_gradients(gradients), *published.compare_permutations(permutations)]
    print(f"\nPublished (Beck et al. 2024) and measured\n\n{published.comparison_table(rows)}")


def _report(folder: Path, name: str, results: Sequence[analysis.AnalysisResult]) -> None:
    """Print tables; write JSON, and a figure where matplotlib is installed."""
    print("\n" + "\n\n".join(result.table() for result in results) + "\n")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(analysis.to_json(results) + "\n", encoding="utf-8")
    print(f"Saved {folder / name}.json")
    try:
        from sb3_hyper.analysis import figures
    except ModuleNotFoundError as error:
        print(f'No figure was drawn: {error.name} is missing (pip install "sb3-hyper[plots]").', file=sys.stderr)
        return
    figures.FIGURES[name](*results).savefig(folder / f"{name}.png")
    print(f"Saved {folder / name}.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the analysis that the command line names.

    :param arguments: the command line; None: this process's
    :return: exit status: 0, or 1 where something that the user gave was wrong
    """

    def run(options: argparse.Namespace) -> None:
        check_output_folder(options.output)
        options.run(options)

    return run_command(make_parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
