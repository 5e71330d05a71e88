"""``python -m sb3_hyper.reproduce``: train what a paper's figure compares, and report on it."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from sb3_hyper.command_line import check_output_folder, run_command, whole_number
from sb3_hyper.envs import register_environments
from sb3_hyper.reproduction.budgets import BUDGETS
from sb3_hyper.reproduction.figures import FIGURES, find_figure
from sb3_hyper.reproduction.planned_run import plan, spell
from sb3_hyper.reproduction.provenance import n_cores
from sb3_hyper.reproduction.run_folder import RunFolder
from sb3_hyper.reproduction.scheduling import Scheduler
from sb3_hyper.reproduction.stopping import StopRequests
from sb3_hyper.saved_runs import check_device

_INTERRUPTED = 130


def make_parser() -> argparse.ArgumentParser:
    """The command line; options that RL-Zoo has too are called as they are there."""
    parser = argparse.ArgumentParser(
        prog="python -m sb3_hyper.reproduce",
        description="Train what a paper's figure compares, through RL-Zoo, and report on it. The same command goes on "
        "where an earlier one ended.",
    )
    parser.add_argument("figure", nargs="?", metavar="FIGURE", help=f"one of {', '.join(FIGURES)}")
    parser.add_argument("--seeds", help="number of seeds", default=3, type=int)
    parser.add_argument(
        "--budget", help="frames and sizes for two cores, or the paper's", default="small", choices=BUDGETS
    )
    parser.add_argument("--environments", help="some of the figure's environments", nargs="+")
    parser.add_argument("--methods", help="some of its methods, by their names in the figure", nargs="+")
    parser.add_argument("--frames", help="frames of every run, instead of the budget's", type=whole_number)
    parser.add_argument("--device", help="PyTorch device (cpu, cuda, ...)", default="auto")
    parser.add_argument("--jobs", help="trainings side by side (default: one per core)", default=n_cores(), type=int)
    parser.add_argument("--num-threads", help="threads of PyTorch in each training", default=1, type=int)
    parser.add_argument("--n-trials", help="number of test trials", default=200, type=int)
    parser.add_argument("-o", "--output", help="folder of runs and reports", type=Path, default=Path("reproduced"))
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--list", help="show the figures and leave", action="store_true")
    only.add_argument("--dry-run", help="show the commands and leave", action="store_true")
    only.add_argument("--report-only", help="report on what is finished, train nothing", action="store_true")
    return parser


def list_figures(n_seeds: int) -> str:
    """
    Lay out the figures.

    :param n_seeds: number of seeds
    :return: lines without a final line break
    """
    lines = [f"{'figure':<18}{'runs':>6}{''.join(f'{budget:>12}' for budget in BUDGETS)}   what ({n_seeds} seeds)"]
    for figure in FIGURES.values():
        plans = [plan(figure, budget, n_seeds) for budget in BUDGETS]
        frames = "".join(f"{sum(run.frames for run in runs) / 1e6:>10.1f} M" for runs in plans)
        lines.append(f"{figure.name:<18}{len(plans[0]):>6}{frames}   {figure.title} ({figure.source})")
    return "\n".join([*lines, "", "M: million frames of all runs together, with that budget."])


def train(folders: Sequence[RunFolder], options: argparse.Namespace) -> None:
    """
    Train what is not finished.

    :param folders: the figure's runs
    :param options: what :func:`make_parser` parsed
    :raises ValueError: when a number is less than 1
    :raises KeyboardInterrupt: when told to stop
    :raises ImportError: when RL-Zoo is missing
    """
    if importlib.util.find_spec("rl_zoo3") is None:
        raise ImportError('RL-Zoo, which trains, is missing: pip install "sb3-hyper[zoo]"')
    from sb3_hyper.reproduction.progress import progress_bar

    scheduler = Scheduler(folders, options.jobs, options.device, options.num_threads)
    with StopRequests() as stop_requests, progress_bar() as show:
        scheduler.run(show, stop_requests)


def run(options: argparse.Namespace) -> None:
    """
    Do what the command line says.

    :param options: what :func:`make_parser` parsed, with the ``command`` that they came from
    :raises ValueError: when a name or a number makes no sense
    :raises ChildProcessError: when runs are missing from the report
    """
    if options.list:
        print(list_figures(options.seeds))
        return
    if options.figure is None:
        raise ValueError(f"Name a figure: {', '.join(FIGURES)}. --list describes them.")
    figure = find_figure(options.figure)
    if options.n_trials < 1:
        raise ValueError(f"--n-trials {options.n_trials}: wanted at least 1.")
    runs = plan(figure, options.budget, options.seeds, options.frames, options.environments, options.methods)
    folders = [RunFolder(one, options.output / "runs") for one in runs]
    check_output_folder(options.output)
    if options.dry_run:
        print("\n".join(spell(folder.command(options.device, options.num_threads)) for folder in folders))
        return
    check_device(options.device)
    if options.report_only and not (options.output / "runs").is_dir():
        raise ValueError(f"There are no runs in {options.output} to report on; --output names the folder they are in.")
    register_environments()
    if not options.report_only:
        train(folders, options)
    write_report(folders, options)


def write_report(folders: Sequence[RunFolder], options: argparse.Namespace) -> None:
    """
    Evaluate what is finished, print the table and write the report.

    :param folders: the figure's runs
    :param options: what :func:`make_parser` parsed, with the ``command`` that they came from
    :raises ChildProcessError: when runs are missing from it
    """
    from sb3_hyper.reproduction.report import Report
    from sb3_hyper.reproduction.results import gather
    from sb3_hyper.reproduction.tables import text_table

    results = gather(
        folders, options.n_trials, options.device, lambda what: print(f"Evaluating {what}", file=sys.stderr)
    )
    report = Report(find_figure(options.figure), options.budget, options.command, options.n_trials, folders, *results)
    target, cells = options.output / report_name(options), results.cells
    if cells:
        print(f"\n{text_table(cells)}")
    # What an earlier command reported is not replaced by nothing.
    if cells or not (target / "report.html").exists():
        print(f"\nSaved {report.write(target)}")
    if report.missing:
        logs = [
            f"{folder.planned.label} ({folder.path}):\n{report.reason(folder, 5) or 'not started'}"
            for folder in report.missing
        ]
        raise ChildProcessError("\n\n".join([f"{len(logs)} of {len(folders)} runs are missing.", *logs]))


def report_name(options: argparse.Namespace) -> str:
    """
    Name the folder of a report: a selection does not replace the report of the whole figure, or of another selection.

    :param options: what :func:`make_parser` parsed
    :return: figure and budget, and whatever was selected
    """
    frames = [] if options.frames is None else [str(options.frames)]
    parts = [options.figure, options.budget, *frames, *(options.environments or []), *(options.methods or [])]
    return re.sub(r"[^\w+-]+", "-", "-".join(parts))


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the command line; None: this process's
    :return: exit status: 0; 1 where something that the user gave was wrong or runs failed; 130 where it was stopped
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = f"python -m sb3_hyper.reproduce {shlex.join(given)}"

    def run_with_command(options: argparse.Namespace) -> None:
        run(argparse.Namespace(**vars(options), command=command))

    try:
        return run_command(make_parser(), run_with_command, given)
    except KeyboardInterrupt:
        print(f"\nStopped. What is finished stays; to go on: {command}", file=sys.stderr)
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
