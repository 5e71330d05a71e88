"""What shows how far the runs are."""

import io

import pytest
from rich.console import Console

from sb3_hyper.reproduction.progress import ProgressLines, progress_bar
from sb3_hyper.reproduction.scheduling import Snapshot


def snapshot(frames, finished, training):
    return Snapshot(frames, 300, finished, 0, training, 3 - finished - training, 0)


def test_lines_are_written_where_runs_begin_or_end_only():
    file = io.StringIO()
    lines = ProgressLines(Console(file=file))
    for frames, finished, training in ((0, 0, 2), (50, 0, 2), (110, 1, 1), (120, 1, 2), (130, 1, 2), (300, 3, 0)):
        lines(snapshot(frames, finished, training))
    written = [line.split(" ", 1)[1] for line in file.getvalue().splitlines()]
    assert [line.split(";")[0] for line in written] == [
        "0/3 runs, 2 training",
        "1/3 runs, 1 training",
        "1/3 runs, 2 training",
        "3/3 runs, 0 training",
    ]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_bar_in_a_terminal_and_lines_elsewhere(is_terminal, monkeypatch, capsys):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Console, "is_terminal", is_terminal)
    with progress_bar() as show:
        show(snapshot(0, 0, 1))
    shown = capsys.readouterr().err
    assert "0/3 runs, 1 training" in shown
    assert ("%" in shown) == is_terminal
