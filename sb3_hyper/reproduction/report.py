"""What is left of a figure when its runs are over: table, JSON, pictures and a page of HTML that holds them all."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Picture

from sb3_hyper.atomic_file import write_atomically
from sb3_hyper.reproduction.budgets import Budget
from sb3_hyper.reproduction.charts import adaptation_curves, learning_curves
from sb3_hyper.reproduction.figures import Figure
from sb3_hyper.reproduction.html_page import html_page
from sb3_hyper.reproduction.provenance import machine, versions
from sb3_hyper.reproduction.results import TEST_SEED, Cell
from sb3_hyper.reproduction.run_folder import RunFolder
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
    :param not_evaluated: finished ones without a result, and why
    """

    figure: Figure
    budget: Budget
    command: str
    n_trials: int
    folders: Sequence[RunFolder]
    cells: Sequence[Cell]
    not_evaluated: Mapping[RunFolder, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[RunFolder]:
        """Runs that are in no cell; one may have finished since."""
        reported = {folder for cell in self.cells for folder in cell.folders}
        return [folder for folder in self.folders if folder not in reported]

    @property
    def notes(self) -> list[str]:
        """What a reader must know to take the numbers for what they are."""
        notes = [self.figure.note] if self.figure.note else []
        if self.budget == "small":
            notes.append("The small budget is for two cores: fewer frames and smaller networks than the paper's.")
        if self.missing:
            notes.append(f"{len(self.missing)} of {len(self.folders)} runs are missing, see below.")
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
        missing = self.missing
        return [
            {
                "environment": folder.planned.environment,
                "method": folder.planned.method.label,
                "seed": folder.planned.seed,
                "frames": folder.planned.frames,
                **folder.record,
                "state": self._state(folder) if folder in missing else "finished",
                "wall_time": folder.wall_time(),
                "folder": str(folder.path),
            }
            for folder in self.folders
        ]

    def _state(self, missing: RunFolder) -> str:
        if missing in self.not_evaluated or missing.is_finished():
            return "not evaluated"
        return str(missing.record.get("state", "not started"))

    def reason(self, missing: RunFolder, n_lines: int = _LOG_LINES) -> str:
        """
        Say why a run is missing: what its evaluation said, or the end of its log.

        :param missing: the run
        :param n_lines: at most so many lines of the log
        :return: the reason; empty where there is neither
        """
        return self.not_evaluated.get(missing) or "\n".join(missing.last_lines(n_lines))

    def failures(self) -> dict[str, str]:
        """Why runs are missing, by the run's label."""
        return {folder.planned.label: self.reason(folder) for folder in self.missing}

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
        missing = [f"- missing: {folder.planned.label}" for folder in self.missing]
        parts = [f"## {self.figure.title}", source, *self.notes, "\n".join(missing), markdown_table(self.cells)]
        return "\n\n".join([*filter(None, parts), f"```bash\n{self.command}\n```\n"])

    def write(self, folder: Path) -> Path:
        """
        Write ``table.txt``, ``table.md``, ``results.json``, ``report.html``, pictures and the returns of all trials.

        :param folder: where to, made if need be
        :return: the page
        """
        pictures: dict[str, dict[str, bytes]] = {}
        for environment, cells in by_environment(self.cells).items():
            drawn = {"learning": learning_curves(cells), "adaptation": adaptation_curves(cells)}
            pictures[environment] = {_slug(kind, environment): _as_png(picture) for kind, picture in drawn.items()}
            for name, png in pictures[environment].items():
                write_atomically(folder / f"{name}.png", png)
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


def _as_png(picture: Picture) -> bytes:
    png = io.BytesIO()
    picture.savefig(png, format="png")
    return png.getvalue()
