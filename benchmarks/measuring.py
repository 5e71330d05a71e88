"""What the benchmarks share: fair repetitions, the machine that they ran on, and a table."""

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

import torch as th

PACKAGES = ("torch", "stable-baselines3", "sb3-contrib", "numpy", "sb3-hyper")


def describe_machine(device: str = "cpu") -> str:
    """The machine and the versions, as text."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    if th.device(device).type == "cuda":
        name = f"{name}; {th.cuda.get_device_name(device)}"
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"{name}; {os.cpu_count()} cores, {th.get_num_threads()} thread(s) used{load}\n"
        f"Python {platform.python_version()}, {versions}"
    )


def interleaved(cases: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """
    Measure every case in turn, again and again, so that a machine that slows down slows all of them.

    :param cases: each returns what it measures
    :param repetitions: how often; one more round before them is thrown away
    :return: ``repetitions`` measurements of each case
    """
    rounds = [{name: case() for name, case in cases.items()} for _ in range(repetitions + 1)]
    return {name: [measured[name] for measured in rounds[1:]] for name in cases}


def median_and_spread(values: Sequence[float], form: str = ".3g") -> str:
    """``median (smallest to largest)``."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest entry, the first one to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


def synchronize(device: str) -> None:
    """Wait until a GPU is done."""
    if th.device(device).type == "cuda":
        th.cuda.synchronize(device)
