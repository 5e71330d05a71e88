"""The table of a figure, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from sb3_hyper.bootstrap import CONFIDENCES
from sb3_hyper.reproduction.results import Cell

HEADINGS = (
    "method",
    "frames",
    "seeds",
    "trials",
    "IQM",
    *(f"{confidence:.0%} interval" for confidence in CONFIDENCES),
    "mean",
    "mean, episode 1",
    "optimality gap",
    "success",
    "minutes",
)
CAPTION = (
    "Returns per trial on the same test trials for all runs, likeliest actions: interquartile mean (IQM) over seeds "
    "and trials, its bootstrap intervals over seeds and trials, the mean, and the mean of the first episode alone. "
    "Optimality gap: what is missing to the best known policy, as a share of its lead over the random one. "
    "Success: share of the episodes, all of them. Minutes: median time of a training, others running beside it."
)


def row(cell: Cell) -> list[str]:
    """
    Lay out one method in one environment.

    :param cell: the method's results
    :return: an entry for each of :data:`HEADINGS`
    """
    estimates = cell.statistics.estimates
    trial = estimates["iqm"][-1]
    return [
        cell.method.label,
        f"{cell.frames / 1e6:g} million",
        str(len(cell.folders)),
        str(cell.statistics.n_tasks),
        f"{trial.value:.2f}",
        *(f"{low:.2f} to {high:.2f}" for low, high in trial.intervals.values()),
        f"{estimates['mean'][-1].value:.2f}",
        f"{estimates['mean'][0].value:.2f}",
        *(
            f"{estimates[name][-1].value:.2f}" if name in estimates else ""
            for name in ("optimality_gap", "success_rate")
        ),
        _minutes(cell),
    ]


def _minutes(cell: Cell) -> str:
    times = [seconds for folder in cell.folders if (seconds := folder.wall_time()) is not None]
    return f"{median(times) / 60:.1f}" if times else ""


def used_columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """
    Put headings over rows and leave out columns without an entry.

    :param rows: rows of :func:`row`
    :return: headings, then rows
    """
    columns = [column for column in zip(HEADINGS, *rows, strict=True) if any(column[1:])]
    return [list(line) for line in zip(*columns, strict=True)]


def references(cells: Sequence[Cell]) -> str:
    """
    Name the reference points of an environment.

    :param cells: the methods' results in it
    :return: one line; empty where nothing is known
    """
    known = cells[0].statistics.reference_returns
    points = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in known.items())
    return f"Known, per trial: {points}" if points else ""


def by_environment(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """
    Sort results by environment.

    :param cells: all of them
    :return: environment -> its cells, in their order
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.environment, []).append(cell)
    return groups


def text_table(cells: Sequence[Cell]) -> str:
    """
    Lay results out as text.

    :param cells: all of them
    :return: lines without a final line break
    """
    blocks = []
    for environment, group in by_environment(cells).items():
        lines = used_columns([row(cell) for cell in group])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(entry.ljust(width) for entry, width in zip(line, widths, strict=True)) for line in lines]
        blocks.append("\n".join(line.rstrip() for line in [environment, "", *table, references(group)]).rstrip())
    return "\n\n\n".join(blocks)


def markdown_table(cells: Sequence[Cell]) -> str:
    """
    Lay results out as Markdown.

    :param cells: all of them
    :return: lines without a final line break
    """
    blocks = [CAPTION]
    for environment, group in by_environment(cells).items():
        headings, *rows = used_columns([row(cell) for cell in group])
        table = [_markdown_row(line) for line in (headings, ["---"] * len(headings), *rows)]
        blocks.append("\n".join([f"### {environment}", "", *table, "", references(group)]).rstrip())
    return "\n\n".join(blocks)


def _markdown_row(entries: Sequence[str]) -> str:
    return f"| {' | '.join(entry.replace('|', chr(92) + '|') for entry in entries)} |"
