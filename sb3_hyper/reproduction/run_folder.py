"""A run on the disk: RL-Zoo's folder of it, its log, its record and its lock. The files are all that is remembered."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sb3_hyper.atomic_file import write_atomically
from sb3_hyper.reproduction.locking import FileLock
from sb3_hyper.reproduction.planned_run import ALGORITHM, PlannedRun

_LOG_TAIL = 8192
"""Bytes at the end of a log, which hold RL-Zoo's last table, or an error's last lines."""


class RunFolder:
    """
    The folder of one training run.

    It is finished when its model is whole and has seen all its frames. A training that was interrupted leaves no model,
    or one of fewer frames: RL-Zoo saves what it has when it is stopped by Ctrl-C.

    :param planned: the run
    :param root: folder of all runs
    """

    def __init__(self, planned: PlannedRun, root: Path) -> None:
        self.planned = planned
        self.path = root / planned.name
        self.log = self.path / "train.log"
        self.lock = FileLock(self.path / "lock")

    @property
    def zoo_run(self) -> Path:
        """RL-Zoo's folder of the run, with monitor files and model."""
        return self.path / ALGORITHM / f"{self._zoo_name}_1"

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.zoo_run / f"{self._zoo_name}.zip"

    @property
    def settings(self) -> Path:
        """The hyperparameters, defaults included, as RL-Zoo recorded them."""
        return self.zoo_run / self._zoo_name / "config.yml"

    @property
    def _zoo_name(self) -> str:
        return self.planned.environment.replace("/", "-")

    def command(self, device: str, n_threads: int) -> list[str]:
        """
        Spell out the command that trains into this folder.

        :param device: where to compute
        :param n_threads: threads of PyTorch
        :return: the program and its arguments
        """
        return self.planned.command(self.path, device, n_threads)

    def is_finished(self) -> bool:
        """Whether the model is there, whole and trained for all its frames."""
        try:
            with zipfile.ZipFile(self.model) as archive:
                return int(json.loads(archive.read("data"))["num_timesteps"]) >= self.planned.frames
        except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
            return False

    def frames_done(self) -> int:
        """Frames so far, from the log of the training that goes on."""
        counts = re.findall(r"total_timesteps\s*\|\s*(\d+)", self._end_of_log())
        return min(int(counts[-1]), self.planned.frames) if counts else 0

    def last_lines(self, n_lines: int) -> list[str]:
        """
        Read the end of the log.

        :param n_lines: at most so many lines
        :return: the lines; none where there is no log
        """
        return self._end_of_log().splitlines()[-n_lines:]

    def _end_of_log(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def clear(self) -> None:
        """Remove what an earlier attempt left; hold the lock."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self.lock.path:
                path.unlink()

    @property
    def record(self) -> dict[str, Any]:
        """What is known of the latest attempt: command, machine, versions, times, exit status; empty before one."""
        try:
            return dict(json.loads((self.path / "run.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def write_record(self, **entries: object) -> None:
        """
        Add to the record.

        :param entries: what JSON can hold
        """
        write_atomically(self.path / "run.json", json.dumps({**self.record, **entries}, indent=1) + "\n")

    def wall_time(self) -> float | None:
        """Seconds that the training took; where nobody watched its end, up to the model's writing; None: not known."""
        record: Mapping[str, Any] = self.record
        if "wall_time" in record:
            return float(record["wall_time"])
        if "started_at" in record and self.is_finished():
            return self.model.stat().st_mtime - float(record["started_at"])
        return None
