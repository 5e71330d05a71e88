"""Versions and machine: what a number needs beside it to be compared with another."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch as th

PACKAGES = ("sb3-hyper", "torch", "stable-baselines3", "sb3-contrib", "rl_zoo3", "gymnasium", "numpy", "mujoco")


@lru_cache
def versions() -> dict[str, str]:
    """
    Look up what is installed.

    :return: name -> version; of a checkout its commit too
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    commit = _commit()
    return {**found, "commit": commit} if commit else found


def _commit() -> str:
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return ""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def n_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache
def machine() -> str:
    """
    Describe the machine.

    :return: processor, cores, system, and the GPU where there is one
    """
    parts = [_processor(), f"{n_cores()} cores", platform.platform(terse=True)]
    if th.cuda.is_available():
        parts.append(th.cuda.get_device_name(0))
    return ", ".join(part for part in parts if part)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
