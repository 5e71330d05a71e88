"""What is left of a figure when its runs are over: table, JSON, pictures and a page of HTML that holds them all."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Picture

from sb3_hyper.reproduction.budgets import Budget
from sb3_hyper.reproduction.charts import adaptation_curves, learning_curves
from sb3_hyper.reproduction.figures import Figure
from sb3_hyper.reproduction.html_page import html_page
from sb3_hyper.reproduction.provenance import machine, versions
from sb3_hyper.reproduction.results import TEST_SEED, Cell
from sb3_hyper.reproduction.run_folder import RunFolder, write_atomically
from sb3_hyper.reproduction.tables import by_environment, markdown_table, text_table

_LOG_LINES = 15


@dataclass(frozen=True)
class Report:
    """
    All that is said about a figure.

    :param figure: the figure
    :param budget: its budget
    :param command: the command that makes it
    :param n_trials: number of test trials
    :param folders: its runs, finished or not
    :param cells: results of the finished ones
    """

    figure: Figure
    budget: Budget
    command: str
    n_trials: int
    folders: Sequence[RunFolder]
    cells: Sequence[Cell]

    @property
    def unfinished(self) -> list[RunFolder]:
        """Runs that have no model."""
        return [folder for folder in self.folders if not folder.is_finished()]

    @property
    def notes(self) -> list[str]:
        """What a reader must know to take the numbers for what they are."""
        notes = [self.figure.note] if self.figure.note else []
        if self.budget == "small":
            notes.append("The small budget is for two cores: fewer frames and smaller networks than the paper's.")
        if self.unfinished:
            notes.append(f"{len(self.unfinished)} of {len(self.folders)} runs are missing, see below.")
        if self.cells and min(len(cell.folders) for cell in self.cells) < 3:
            notes.append("Where a method has fewer than three seeds, its intervals say little of other seeds.")
        commits = {str(folder.record.get("versions")) for cell in self.cells for folder in cell.folders}
        if len(commits) > 1:
            notes.append("The runs were made by different versions, see below.")
        notes += [
            f"The seeds of {cell.method.label} in {cell.environment} were trained with different hyperparameters, as "
            "the defaults changed between them. Delete their folders to train them alike."
            for cell in self.cells
            if cell.mixes_settings
        ]
        return notes

    def runs(self) -> list[dict[str, Any]]:
        """What is known of each run, for JSON and for the page."""
        return [
            {
                "environment": folder.planned.environment,
                "method": folder.planned.method.label,
                "seed": folder.planned.seed,
                "frames": folder.planned.frames,
                **folder.record,
                "state": "finished" if folder.is_finished() else folder.record.get("state", "not started"),
                "wall_time": folder.wall_time(),
                "folder": str(folder.path),
            }
            for folder in self.folders
        ]

    def failures(self) -> dict[str, str]:
        """The end of the log of each run that is not finished, by the run's label."""
        return {folder.planned.label: "\n".join(folder.last_lines(_LOG_LINES)) for folder in self.unfinished}

    def as_dict(self) -> dict[str, Any]:
        """Everything but pictures and logs, for JSON."""
        environments = {
            environment: {
                "reference_returns": dict(cells[0].statistics.reference_returns),
                "methods": [cell.as_dict() for cell in cells],
            }
            for environment, cells in by_environment(self.cells).items()
        }
        return {
            "figure": self.figure.name,
            "title": self.figure.title,
            "source": f"{self.figure.source}, {self.figure.link}",
            "budget": self.budget,
            "command": self.command,
            "n_trials": self.n_trials,
            "test_seed": TEST_SEED,
            "notes": self.notes,
            "versions": versions(),
            "machine": machine(),
            "environments": environments,
            "runs": self.runs(),
        }

    def markdown(self) -> str:
        """The table, with what it takes to read it."""
        source = f"[{self.figure.source}]({self.figure.link}); budget `{self.budget}`. Machine: {machine()}."
        missing = [f"- missing: {folder.planned.label}" for folder in self.unfinished]
        parts = [f"## {self.figure.title}", source, *self.notes, "\n".join(missing), markdown_table(self.cells)]
        return "\n\n".join([*filter(None, parts), f"```bash\n{self.command}\n```\n"])

    def write(self, folder: Path) -> Path:
        """
        Write ``table.txt``, ``table.md``, ``results.json``, ``report.html``, pictures and the returns of all trials.

        :param folder: where to, made if need be
        :return: the page
        """
        pictures: dict[str, list[Path]] = {}
        for environment, cells in by_environment(self.cells).items():
            drawn = {"learning": learning_curves(cells), "adaptation": adaptation_curves(cells)}
            pictures[environment] = [_save(picture, folder, kind, environment) for kind, picture in drawn.items()]
        for cell in self.cells:
            cell.statistics.save(folder / "statistics" / f"{_slug(cell.environment, cell.method.label)}.json")
        write_atomically(folder / "table.txt", text_table(self.cells) + "\n")
        write_atomically(folder / "table.md", self.markdown())
        content = self.as_dict()
        write_atomically(folder / "results.json", json.dumps(content, indent=1) + "\n")
        write_atomically(folder / "report.html", html_page(content, self.cells, pictures, self.failures()))
        return folder / "report.html"


def _slug(*parts: str) -> str:
    return re.sub(r"[^\w+-]+", "-", "_".join(parts)).strip("-")


def _save(picture: Picture, folder: Path, kind: str, environment: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_slug(kind, environment)}.png"
    picture.savefig(path)
    return path
