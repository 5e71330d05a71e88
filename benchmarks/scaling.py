"""
How costs grow: one size after the other is swept, with all else fixed, on T-LS trials of one episode.

    python benchmarks/scaling.py --threads 1 --repetitions 3 --json scaling.json --output scaling.png

- act: all steps of a rollout, as HyperPPO collects them, without the environments themselves
- update: one epoch of 4 minibatches on a rollout, which is one trial of each environment
- peak: most memory that a rollout and an update take above what the libraries take; beside it what `estimate_memory`
  says. glibc gives freed memory back at once while it is measured; left alone it keeps some for later tensors, and a
  process may take more than half as much again.

Times are given for a frame. Exponents are those of a whole rollout (the slope of the logarithms): 1 is linear, less is
better. A matrix of width x width makes 2 of a base network's or an encoder's width in the end. Every measurement runs
in a process of its own.
"""

import argparse
import ctypes
import json
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch as th
from costs import timed_acting
from hypernetwork import forget_peak, peak_memory
from measuring import describe_machine, print_table, synchronize
from stable_baselines3.common.logger import configure

from sb3_hyper import HyperPPO
from sb3_hyper.envs import TMazeLS, TrialVecEnv
from sb3_hyper.memory_estimate import estimate_memory


class Sizes(NamedTuple):
    """What is swept; the defaults are where the others stay."""

    n_envs: int = 16
    trial_length: int = 200
    latent_dim: int = 24
    base_width: int = 64
    encoder_dim: int = 256


class Costs(NamedTuple):
    """Seconds of acting and updating on a rollout; MiB."""

    act: float
    update: float
    peak: float
    estimate: float


class Sweep(NamedTuple):
    """A number for each size, by what was measured; and the power that a whole rollout's costs grow with."""

    name: str
    sizes: list[int]
    microseconds: dict[str, list[float]]
    mebibytes: dict[str, list[float]]
    exponents: dict[str, float]


SWEPT = {
    "n_envs": ("environments", [4, 16, 64, 256, 1024]),
    "trial_length": ("trial length", [100, 200, 400, 800, 1600, 3200]),
    "latent_dim": ("latent size", [6, 12, 24, 48, 96, 192]),
    "base_width": ("base networks' width", [16, 32, 64, 128, 256, 512]),
    "encoder_dim": ("encoder width (memory)", [32, 64, 128, 256, 512, 1024]),
}
QUICK = Sizes(n_envs=4, trial_length=8, latent_dim=4, base_width=8, encoder_dim=8)


def make_model(sizes: Sizes, options: argparse.Namespace) -> HyperPPO:
    """HyperPPO on rollouts of one trial for each environment."""
    width = sizes.base_width
    model = HyperPPO(
        options.policy,
        TrialVecEnv(TMazeLS(sizes.trial_length), sizes.n_envs, n_episodes=1, expose_task=True),
        n_steps=sizes.trial_length,
        batch_size=sizes.n_envs * sizes.trial_length // 4,
        n_epochs=1,
        clip_range_vf=0.1,
        policy_kwargs={
            "latent_dim": sizes.latent_dim,
            "net_arch": [width, width],
            "state_dim": 2 * width,
            "encoder_dim": sizes.encoder_dim,
        },
        seed=0,
        device=options.device,
    )
    model.set_logger(configure(None, []))
    return model


def keep_freed(size: int) -> None:
    """Let glibc keep freed memory of up to this size for later; nothing to do where there is another C library."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3
        mallopt(mmap_threshold, size)
        mallopt(trim_threshold, 2 * size)


def measure(sizes: Sizes, options: argparse.Namespace) -> Costs:
    """Collect a rollout and update for the peak, then update again and act for the times."""
    th.set_num_threads(options.threads)
    # Libraries take their memory at their first use.
    make_model(QUICK, options).learn(1)
    keep_freed(1 << 12)
    forget_peak(options.device)
    before = peak_memory(options.device)
    model = make_model(sizes, options)
    model.learn(model.n_steps * model.n_envs)
    synchronize(options.device)
    peak = peak_memory(options.device) - before
    # What it grows to by itself
    keep_freed(1 << 25)
    start = time.perf_counter()
    model.train()
    synchronize(options.device)
    update = time.perf_counter() - start
    act_step = timed_acting(model, argparse.Namespace(**vars(options), envs=sizes.n_envs))
    # A tenth, and then all steps
    act_step()
    act = act_step() / 1000 * model.n_steps
    return Costs(act, update, peak / 2**20, estimate_memory(model).peak / 2**20)


def measure_apart(sizes: Sizes, options: argparse.Namespace) -> Costs:
    """The measurement in a process of its own."""
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        # Imports take longer than many a measurement; forks of a process that has done them need none.
        context.set_forkserver_preload(["torch._dynamo", "sb3_hyper.hyper_ppo", "sb3_hyper.envs.vec_env"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, sizes, options).result()


def exponent(sizes: list[int], values: list[float]) -> float:
    """The power of the size that the values grow with: the slope of their logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def make_sweep(name: str, costs: dict[Sizes, Costs]) -> Sweep:
    """A sweep from the costs of its points."""
    sizes = [getattr(point, name) for point in costs]
    seconds, mebibytes = (
        {kind: [getattr(cost, kind) for cost in costs.values()] for kind in kinds}
        for kinds in (("act", "update"), ("peak", "estimate"))
    )
    frames = [point.n_envs * point.trial_length for point in costs]
    microseconds = {kind: [1e6 * t / n for t, n in zip(of, frames, strict=True)] for kind, of in seconds.items()}
    exponents = {kind: exponent(sizes, values) for kind, values in {**seconds, **mebibytes}.items()}
    return Sweep(name, sizes, microseconds, mebibytes, exponents)


def print_sweep(sweep: Sweep) -> None:
    columns = zip(sweep.sizes, *sweep.microseconds.values(), *sweep.mebibytes.values(), strict=True)
    rows = [
        [str(size), f"{act:.3g}", f"{update:.3g}", f"{peak:.3g}", f"{estimate:.3g}", f"{estimate / peak:.2f}"]
        for size, act, update, peak, estimate in columns
    ]
    rows.append(["exponent", *(f"{value:.2f}" for value in sweep.exponents.values()), ""])
    print()
    print_table([SWEPT[sweep.name][0], "act [us]", "update [us]", "peak [MiB]", "estimate [MiB]", "ratio"], rows)
    sys.stdout.flush()


def draw(sweeps: list[Sweep], path: Path) -> None:
    """Small multiples, all axes logarithmic: times above, memory below, one column for each sweep."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    from sb3_hyper.plotting import COLORS, GRID_COLOR, TEXT_COLOR

    styles = {
        "act": {"color": COLORS[0], "marker": "o"},
        "update": {"color": COLORS[1], "marker": "s"},
        "peak": {"color": COLORS[2], "marker": "o"},
        "estimate": {"color": TEXT_COLOR, "ls": "--"},
    }
    figure = Figure(figsize=(2.5 * len(sweeps) + 0.7, 5.2), dpi=150, layout="constrained")
    all_axes = figure.subplots(2, len(sweeps), sharey="row", sharex="col", squeeze=False)
    for column, sweep in zip(all_axes.T, sweeps, strict=True):
        for axes, of_kinds in zip(column, (sweep.microseconds, sweep.mebibytes), strict=True):
            for kind, values in of_kinds.items():
                label = f"{kind}, exponent {sweep.exponents[kind]:.2f}"
                axes.loglog(sweep.sizes, values, lw=1.7, ms=4, label=label, **styles[kind])
            axes.minorticks_off()
            axes.grid(color=GRID_COLOR, lw=0.7)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(colors=TEXT_COLOR, labelsize=8)
            axes.legend(frameon=False, fontsize=7.5, labelcolor=TEXT_COLOR, loc="lower left", bbox_to_anchor=(-0.04, 1))
        column[1].set_xlabel(SWEPT[sweep.name][0], color=TEXT_COLOR)
        column[1].set_xticks(sweep.sizes, [str(size) for size in sweep.sizes])
    for axes, label in zip(all_axes[:, 0], ("time of a frame [µs]", "memory [MiB]"), strict=True):
        axes.set_ylabel(label, color=TEXT_COLOR)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.yaxis.set_major_formatter("{x:g}")
    figure.savefig(path)


def measure_points(points: list[Sizes], options: argparse.Namespace) -> dict[Sizes, Costs]:
    """Medians of each point, measured in turn again and again, so that a machine that slows down slows all of them."""
    rounds = [[measure_apart(point, options) for point in points] for _ in range(options.repetitions)]
    measured = zip(points, zip(*rounds, strict=True), strict=True)
    return {point: Costs(*map(statistics.median, zip(*costs, strict=True))) for point, costs in measured}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory against sizes, one after the other")
    parser.add_argument("--policy", default="SplAggerPolicy")
    parser.add_argument("--sweeps", nargs="+", default=list(SWEPT), choices=list(SWEPT))
    parser.add_argument("--repetitions", type=int, default=1, help="measured processes of each size")
    parser.add_argument("--steps", type=int, default=200, help="steps of acting that are timed")
    parser.add_argument("--threads", type=int, default=1, help="threads for PyTorch")
    parser.add_argument("--device", default="cpu", help="PyTorch device")
    parser.add_argument("--quick", action="store_true", help="two sizes too small to mean anything")
    parser.add_argument("--json", type=Path, help="file to write all sweeps to")
    parser.add_argument("--output", type=Path, help="figure to draw")
    options = parser.parse_args()
    th.set_num_threads(options.threads)
    base = QUICK if options.quick else Sizes()
    print(describe_machine(options.device))
    print(f"{options.policy}, {base}, {options.repetitions} process(es) of each", flush=True)
    sweeps = []
    for name in options.sweeps:
        sizes = [getattr(base, name), 2 * getattr(base, name)] if options.quick else SWEPT[name][1]
        points = [base._replace(**{name: size}) for size in sizes]
        sweeps.append(make_sweep(name, measure_points(points, options)))
        print_sweep(sweeps[-1])
        if options.json is not None:
            options.json.write_text(json.dumps([sweep._asdict() for sweep in sweeps], indent=2) + "\n")
    if options.output is not None:
        draw(sweeps, options.output)


if __name__ == "__main__":
    main()
