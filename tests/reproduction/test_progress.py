"""What shows how far the runs are."""

import io
import sys

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


@pytest.mark.parametrize("color", ["", "1"])
def test_a_log_gets_lines_at_once_though_colors_are_forced(color, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", color)
    with progress_bar() as show:
        show(snapshot(0, 0, 1))
        assert capsys.readouterr().err.endswith(" 0/3 runs, 1 training; 0.00/0.00 M frames\n")


class Terminal(io.StringIO):
    """What is watched by somebody."""

    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_a_terminal_gets_a_bar_unless_it_can_draw_none(terminal, monkeypatch):
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar() as show:
        show(snapshot(150, 0, 1))
    shown = sys.stderr.getvalue()
    assert "0/3 runs, 1 training" in shown and ("50 %" in shown) == (terminal == "xterm")
