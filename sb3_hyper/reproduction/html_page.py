"""The page: one file with its pictures inside, which refers to nothing outside but the paper."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sb3_hyper.reproduction.results import Cell
from sb3_hyper.reproduction.tables import CAPTION, by_environment, references, row, used_columns

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #24292f; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e6e8eb; vertical-align: top; }
th { color: #6f757e; font-weight: 600; }
img { max-width: 100%; width: 34rem; }
code, pre { font: 12.5px/1.45 ui-monospace, monospace; } pre { background: #f6f7f8; padding: .8rem; overflow-x: auto; }
td code { overflow-wrap: anywhere; } .muted { color: #6f757e; }
"""


def html_page(
    content: Mapping[str, Any],
    cells: Sequence[Cell],
    pictures: Mapping[str, Mapping[str, bytes]],
    failures: Mapping[str, str],
) -> str:
    """
    Write the page.

    :param content: what :meth:`~sb3_hyper.reproduction.report.Report.as_dict` gave
    :param cells: the results
    :param pictures: environment -> name -> PNG
    :param failures: label of a run that is missing -> why, or the end of its log
    :return: HTML
    """
    title = escape(f"{content['title']} ({content['budget']} budget)")
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="muted">After {escape(content["source"])}</p>',
        *(f"<p>{escape(note)}</p>" for note in content["notes"]),
        f"<pre>{escape(content['command'])}</pre>",
        *(_environment(name, group, pictures[name]) for name, group in by_environment(cells).items()),
        f'<p class="muted">{escape(CAPTION)}</p>' if cells else "",
        _failures(failures),
        _runs(content["runs"]),
        "<h2>Versions and machine of this report</h2>",
        f"<p>{escape(_listed(content['versions']))}</p><p>{escape(content['machine'])}</p>",
    ]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{chr(10).join(parts)}\n</body></html>\n'


def _environment(name: str, cells: Sequence[Cell], pictures: Mapping[str, bytes]) -> str:
    table = _table(used_columns([row(cell) for cell in cells]))
    images = "\n".join(
        f'<img alt="{escape(title)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for title, png in pictures.items()
    )
    return f"<h2>{escape(name)}</h2>\n{table}\n<p>{escape(references(cells))}</p>\n{images}"


def _failures(failures: Mapping[str, str]) -> str:
    if not failures:
        return ""
    logs = [f"<h3>{escape(label)}</h3><pre>{escape(log or 'no log')}</pre>" for label, log in failures.items()]
    return "\n".join(["<h2>Runs that are missing</h2>", *logs])


def _runs(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = [["environment", "method", "seed", "frames", "state", "minutes", "side by side", "command"]]
    made: dict[str, list[str]] = {}
    for run in runs:
        minutes = "" if run["wall_time"] is None else f"{run['wall_time'] / 60:.1f}"
        values = [run["environment"], run["method"], run["seed"], run["frames"], run["state"], minutes]
        rows.append([*map(str, values), str(run.get("side_by_side", "")), run.get("command", "")])
        if "versions" in run:
            made.setdefault(f"{_listed(run['versions'])}; {run['machine']}", []).append(run["folder"])
    where = [f"<p>{escape(what)}: {len(folders)} runs</p>" for what, folders in made.items()]
    return "\n".join(["<h2>Runs</h2>", _table(rows, code_column=len(rows[0]) - 1), *where])


def _table(rows: Sequence[Sequence[str]], code_column: int | None = None) -> str:
    headings, *body = rows
    lines = ["<table><tr>" + "".join(f"<th>{escape(entry)}</th>" for entry in headings) + "</tr>"]
    for entries in body:
        marked = [f"<code>{escape(one)}</code>" if k == code_column else escape(one) for k, one in enumerate(entries)]
        lines.append("<tr>" + "".join(f"<td>{entry}</td>" for entry in marked) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
