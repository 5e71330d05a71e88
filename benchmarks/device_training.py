"""
The whole loop on one device: environments, acting, rollout and update, with thousands of environments.

    python benchmarks/device_training.py --device cuda --envs 1024 4096 16384 --sizes S XL
    python benchmarks/device_training.py --device cuda --solve TMazeLS-v0 --envs 1024

The first command prints frames per second from one iteration's begin to the next one's, learning included; seconds of
collecting and of the update; the share of the roofline (``benchmarks/roofline.py``: what operations and bytes would
take at full rates, environments left out); how busy the device was, where PyTorch can say; and the peak memory.
The second one trains until the latest 200 trials have reached a mean return, and prints seconds and frames.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch as th
from ceilings import Ceilings, copy_rate, product_rate
from measuring import describe_machine, median_and_spread, print_table, synchronize
from roofline import count, iterate
from stable_baselines3.common.callbacks import BaseCallback
from throughput import CollectionTime

from sb3_hyper import HyperPPO
from sb3_hyper.envs import TASK_DISTRIBUTIONS, TrialVecEnv

ENVIRONMENTS = ("TMazeLS-v0", "TMazeAgreement-v0", "PlanningGame3x3-v0", "MineMaze-v0")
N_MINIBATCHES = 4


class Iteration(NamedTuple):
    """One rollout and its update, in seconds, and how busy the device was at its end, in percent."""

    collect: float
    update: float
    utilisation: float


class UntilSolved(BaseCallback):
    """Stops when the mean return of the latest trials is high enough."""

    def __init__(self, wanted: float, n_trials: int) -> None:
        super().__init__()
        self.wanted, self.n_trials = wanted, n_trials

    def mean_return(self) -> float:
        returns = [trial["r"] for trial in self.model.ep_info_buffer or ()]
        return float(np.mean(returns[-self.n_trials :])) if len(returns) >= self.n_trials else -np.inf

    def _on_step(self) -> bool:
        return self.mean_return() < self.wanted


def make_model(env_id: str, size: str, n_envs: int, options: argparse.Namespace) -> HyperPPO:
    """SplAgger by default, on trials that live where it does."""
    return HyperPPO(
        options.policy,
        TrialVecEnv(TASK_DISTRIBUTIONS[env_id](), n_envs, device=options.device),
        n_steps=options.steps,
        batch_size=options.steps * n_envs // N_MINIBATCHES,
        n_epochs=2,
        learning_rate=1e-3,
        clip_range=0.1,
        clip_range_vf=0.1,
        ent_coef=0.01,
        normalize_reward=True,
        stats_window_size=options.trials,
        policy_kwargs={"size": size},
        seed=options.seed,
        device=options.device,
    )


def utilisation(device: str) -> float:
    """Percent of the last moments in which the GPU computed; NaN where nobody knows."""
    try:
        return float(th.cuda.utilization(device)) if th.device(device).type == "cuda" else float("nan")
    except (ModuleNotFoundError, RuntimeError):
        # It asks a package that PyTorch does not bring along.
        return float("nan")


def measure(model: HyperPPO, options: argparse.Namespace) -> Iterator[Iteration]:
    """Iterations, after one that warms up."""
    iterate(model)
    for _ in range(options.repetitions):
        callback = CollectionTime(options.device)
        synchronize(options.device)
        start = time.perf_counter()
        model.learn(model.n_steps * model.n_envs, callback, reset_num_timesteps=False)
        busy = utilisation(options.device)
        synchronize(options.device)
        yield Iteration(callback.ended - start, time.perf_counter() - callback.ended, busy)


def peak_gigabytes(device: str) -> float:
    return th.cuda.max_memory_allocated(device) / 2**30 if th.device(device).type == "cuda" else float("nan")


def row_of(env_id: str, size: str, n_envs: int, ceilings: Ceilings, options: argparse.Namespace) -> list[str]:
    """Measure one setting."""
    if th.device(options.device).type == "cuda":
        th.cuda.reset_peak_memory_stats(options.device)
    model = make_model(env_id, size, n_envs, options)
    iterations = list(measure(model, options))
    rates = [options.steps * n_envs / (one.collect + one.update) for one in iterations]
    collect, update, busy = (statistics.median(parts) for parts in zip(*iterations, strict=True))
    limit = sum(map(ceilings.seconds, count(model).values()))
    return [
        f"{env_id}, {size}, {n_envs}",
        median_and_spread(rates, ".0f"),
        f"{collect:.3f}",
        f"{update:.3f}",
        f"{100 * limit / (collect + update):.0f} %",
        f"{busy:.0f} %",
        f"{peak_gigabytes(options.device):.1f}",
    ]


def print_rates(options: argparse.Namespace) -> None:
    """One row for each environment, size and number of environments."""
    # The first product and copy warm up.
    product, copy = product_rate(options.device), copy_rate(options.device)
    ceilings = [Ceilings(product(), copy()) for _ in range(3)][-1]
    print(
        f"large product: {ceilings.flop_per_second / 1e9:.3g} GFLOP/s; copy: {ceilings.bytes_per_second / 1e9:.3g} GB/s"
    )
    print(f"{options.policy}, rollouts of {options.steps} steps, 2 epochs of {N_MINIBATCHES} minibatches\n")
    header = ["environment, size, number", "frames/s", "collect [s]", "update [s]", "of roofline", "busy", "peak [GiB]"]
    rows = [
        row_of(env_id, size, n_envs, ceilings, options)
        for env_id in options.environments
        for size in options.sizes
        for n_envs in options.envs
    ]
    print_table(header, rows)


def print_solution(options: argparse.Namespace) -> None:
    """Train until solved, once for each number of environments."""
    for n_envs in options.envs:
        model = make_model(options.solve, options.sizes[0], n_envs, options)
        until = UntilSolved(options.wanted, options.trials)
        start = time.perf_counter()
        model.learn(options.frames, until)
        synchronize(options.device)
        reached = until.mean_return()
        print(
            f"{options.solve}, {options.sizes[0]}, {n_envs} environments: mean return {reached:.2f} of the last "
            f"{options.trials} trials after {model.num_timesteps} frames and {time.perf_counter() - start:.1f} s, "
            f"{'solved' if reached >= options.wanted else 'not solved'} (wanted {options.wanted})"
        )


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Training with environments and networks on one device")
    parser.add_argument("--device", default="cuda", help="PyTorch device")
    parser.add_argument("--policy", default="SplAggerPolicy", help="name of the policy")
    parser.add_argument("--environments", nargs="+", default=ENVIRONMENTS, choices=TASK_DISTRIBUTIONS, metavar="ID")
    parser.add_argument("--sizes", nargs="+", default=["S", "XL"], help="named sizes of the base networks")
    parser.add_argument("--envs", nargs="+", type=int, default=[1024, 4096, 16384], help="numbers of environments")
    parser.add_argument("--steps", type=int, default=50, help="steps of a rollout")
    parser.add_argument("--repetitions", type=int, default=5, help="measured iterations")
    parser.add_argument("--solve", choices=TASK_DISTRIBUTIONS, metavar="ID", help="train this one until it is solved")
    parser.add_argument("--wanted", type=float, default=15.0, help="mean return of a trial that counts as solved")
    parser.add_argument("--trials", type=int, default=200, help="trials that the mean is taken of")
    parser.add_argument("--frames", type=int, default=50_000_000, help="give up after so many")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_options(arguments)
    print(describe_machine(options.device))
    (print_rates if options.solve is None else print_solution)(options)


if __name__ == "__main__":
    main()
