"""
Frames per second of training on T-LS trials: recurrent PPO as others write it, and HyperPPO, on equal work.

    python benchmarks/peers.py --threads 1 --repetitions 3
    python benchmarks/peers.py --threads 1 --size XL --memory --repetitions 1 --only papers-splagger splagger

All play the same trials, with rollouts, epochs, minibatches, losses, Adam and widths the same; what is compared is how
they are computed. Peers that are no SB3 algorithms share the plain PPO of peer_ppo.py. "Bare" base networks see the
state itself, the others an embedding of it (128 wide at size S, 256 at XL). tests/test_peers.py holds that peers which
share a function compute the same. TorchRL is left out where it is not installed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch as th
from hypernetwork import forget_peak, peak_memory
from measuring import describe_machine, interleaved, median_and_spread, print_table, synchronize
from peer_cases import PEERS
from peer_ppo import Train
from throughput import check_fused_pass

from sb3_hyper.policies.sizes import SIZES


class Measured(NamedTuple):
    """What is written as JSON: a number for each repetition, and the most memory that an update takes."""

    label: str
    collection_seconds: list[float]
    update_seconds: list[float]
    update_bytes: int | None


def timed(train: Train, device: str, collections: list[float]) -> Callable[[], float]:
    """Seconds of a rollout and the update on it; those of the rollout alone go into ``collections``."""

    def run() -> float:
        start = time.perf_counter()

        def note() -> None:
            synchronize(device)
            collections.append(time.perf_counter() - start)

        train(note)
        synchronize(device)
        return time.perf_counter() - start

    return run


def update_bytes(train: Train, device: str) -> int:
    """Most memory of the first update, gradients and the optimizer's moments included, beyond that before it."""
    before: list[int] = []

    def note() -> None:
        forget_peak(device)
        before.append(peak_memory(device))

    train(note)
    return peak_memory(device) - before[0]


def update_bytes_apart(name: str) -> int | None:
    """The same in a process of its own; None where it does not survive."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        print(f"{name}: {ended.stderr.strip()[-300:] or f'ended with {ended.returncode}'}", file=sys.stderr)
        return None
    return int(json.loads(ended.stdout))


def measure(options: argparse.Namespace) -> dict[str, Measured]:
    """All peers that can be made."""
    trains: dict[str, Train] = {}
    for name in options.only:
        try:
            trains[name] = PEERS[name].make(options)
        except ImportError as error:
            print(f"{PEERS[name].label}: {error}", file=sys.stderr)
    collections: dict[str, list[float]] = {name: [] for name in trains}
    cases = {name: timed(train, options.device, collections[name]) for name, train in trains.items()}
    measured = {}
    for name, seconds in interleaved(cases, options.repetitions).items():
        # The round that is thrown away has noted its collection.
        collected = collections[name][1:]
        updates = [total - part for total, part in zip(seconds, collected, strict=True)]
        taken = update_bytes_apart(name) if options.memory else None
        measured[name] = Measured(PEERS[name].label, collected, updates, taken)
    return measured


def print_peers(measured: Mapping[str, Measured], options: argparse.Namespace) -> None:
    """The table, with ratios to the first peer."""
    frames, rows, first = options.steps * options.envs, [], 0.0
    for name in options.only:
        if name not in measured:
            rows.append([PEERS[name].label, "not installed", *[""] * (3 + options.memory)])
            continue
        label, collected, updates, taken = measured[name]
        totals = [sum(parts) for parts in zip(collected, updates, strict=True)]
        rates = [[frames / s for s in seconds] for seconds in (totals, collected, updates)]
        end_to_end, *parts = [median_and_spread(rate, ".0f") for rate in rates]
        first = first or statistics.median(rates[0])
        row = [label, end_to_end, f"{statistics.median(rates[0]) / first:.2f}", *parts]
        rows.append([*row, f"{taken / 1e6:.0f}" if taken is not None else "does not fit"][: 5 + options.memory])
    header = ["", "frames/s (smallest to largest)", "ratio", "collecting alone", "updating alone", "update [MB]"]
    print_table(header[: 5 + options.memory], rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Training throughput of recurrent PPOs on T-LS trials")
    parser.add_argument("--steps", type=int, default=700, help="steps of a rollout")
    parser.add_argument("--envs", type=int, default=16, help="environments; a multiple of 4")
    parser.add_argument("--width", type=int, default=256, help="width of the recurrent layer")
    parser.add_argument("--size", choices=list(SIZES), default="S", help="named size of actor and critic")
    parser.add_argument("--repetitions", type=int, default=3, help="measured rollouts of each")
    parser.add_argument("--threads", type=int, default=1, help="threads for PyTorch")
    parser.add_argument("--device", default="cpu", help="PyTorch device")
    parser.add_argument("--only", nargs="+", default=list(PEERS), choices=list(PEERS), metavar="NAME", help="peers")
    parser.add_argument("--memory", action="store_true", help="measure the peak memory of an update too")
    parser.add_argument("--memory-of", choices=list(PEERS), help="measure that of one peer in this process, print it")
    parser.add_argument("--json", type=Path, help="file to write all measurements to")
    return parser.parse_args()


def main() -> None:
    options = parse()
    th.set_num_threads(options.threads)
    if options.memory_of is not None:
        print(update_bytes(PEERS[options.memory_of].make(options), options.device))
        return
    check_fused_pass()
    measured = measure(options)
    print(describe_machine(options.device))
    print(f"{options.envs} environments x {options.steps} steps, width {options.width}, size {options.size}\n")
    print_peers(measured, options)
    if options.json is not None:
        peers = {name: row._asdict() for name, row in measured.items()}
        text = {"machine": describe_machine(options.device), "frames": options.steps * options.envs, "peers": peers}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(text, indent=2) + "\n")


if __name__ == "__main__":
    main()
