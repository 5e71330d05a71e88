"""What shows how far the runs are: a bar with the time left, or lines where nobody watches a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sb3_hyper.reproduction.scheduling import Snapshot

_WINDOW = 1800.0
"""Seconds over which the speed is taken: the runs' logs grow by whole rollouts."""


@contextmanager
def progress_bar() -> Iterator[Callable[[Snapshot], None]]:
    """
    Show a bar on stderr as long as the context lasts; a line where a run begins or ends, where that is no terminal.

    :return: what draws it anew
    """
    console = Console(stderr=True)
    # Rich takes a pipe for a terminal where FORCE_COLOR is set, and is silent until the end in a dumb one.
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        yield ProgressLines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, speed_estimate_period=_WINDOW) as progress:
        bar = progress.add_task("")
        yield lambda snapshot: progress.update(
            bar, completed=snapshot.frames, total=snapshot.total, description=describe(snapshot)
        )


class ProgressLines:
    """
    Writes a line whenever a run begins or ends: what a log can keep.

    :param console: where to
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._counts: tuple[int, ...] = ()

    def __call__(self, snapshot: Snapshot) -> None:
        """Write a line, if other runs are under way than before."""
        counts = (snapshot.finished, snapshot.failed, snapshot.training, snapshot.elsewhere)
        if counts != self._counts:
            self._counts = counts
            self._console.print(f"{time.strftime('%H:%M:%S')} {describe(snapshot)}", highlight=False, soft_wrap=True)


def describe(snapshot: Snapshot) -> str:
    """
    Put a snapshot into words.

    :param snapshot: how far the runs are
    :return: one line
    """
    n_runs = snapshot.finished + snapshot.failed + snapshot.waiting + snapshot.training
    parts = [f"{snapshot.finished}/{n_runs} runs", f"{snapshot.training} training"]
    if snapshot.elsewhere:
        parts.append(f"{snapshot.elsewhere} elsewhere")
    if snapshot.failed:
        parts.append(f"{snapshot.failed} failed")
    return f"{', '.join(parts)}; {snapshot.frames / 1e6:.2f}/{snapshot.total / 1e6:.2f} M frames"
