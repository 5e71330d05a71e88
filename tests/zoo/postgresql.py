"""A PostgreSQL server of one's own, in a folder that goes away; PostgreSQL refuses to run as root."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _binaries() -> Path | None:
    """Debian keeps the server's binaries off the path."""
    on_path = shutil.which("pg_ctl")
    found = [Path(on_path)] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return found[-1].resolve().parent if found else None


def _unprivileged_user() -> str | None:
    return None if os.geteuid() else "nobody"


@contextmanager
def database() -> Iterator[str]:
    """
    Start a server that listens on a socket in its folder and nowhere else; skip the test where none is installed.

    :return: URL of an empty database
    """
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason='no driver of PostgreSQL is installed (pip install "psycopg[binary]")')
    user = _unprivileged_user()

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [binaries / program, *arguments], check=True, user=user, cwd="/", stdout=subprocess.DEVNULL, timeout=120
        )

    # Not pytest's folder: a socket's path has no more than 107 characters, and nobody may not enter root's folders.
    folder = tempfile.mkdtemp(prefix="pg_")
    try:
        if user is not None:
            shutil.chown(folder, user)
        run("initdb", "-D", f"{folder}/data", "--auth", "trust", "--username", "optuna", "--no-sync")
        control = ("-D", f"{folder}/data", "-w")
        run("pg_ctl", *control, "-o", f"-h '' -k {folder}", "-l", f"{folder}/log", "start")
        try:
            run("createdb", "-h", folder, "-U", "optuna", "optuna")
            yield f"postgresql+psycopg://optuna@/optuna?host={folder}"
        finally:
            run("pg_ctl", *control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
