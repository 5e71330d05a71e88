"""Training runs side by side, each in a process of its own: what is finished is left alone, the rest starts anew."""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sb3_hyper.reproduction.planned_run import spell
from sb3_hyper.reproduction.provenance import machine, versions
from sb3_hyper.reproduction.run_folder import RunFolder

_TICK, _TO_END = 0.5, 10.0
"""Seconds between two looks at the processes, and those that a process has to end when told to."""


class Snapshot(NamedTuple):
    """
    How far the runs are.

    :param frames: frames of all of them so far
    :param total: frames that they will have in the end, without those that failed
    :param finished: number of finished runs
    :param failed: number of failed runs
    :param training: number of runs that are trained by this process
    :param waiting: number of runs that are to be trained, by this process or another
    :param elsewhere: how many of those another process trains
    """

    frames: int
    total: int
    finished: int
    failed: int
    training: int
    waiting: int
    elsewhere: int


@dataclass
class _Training:
    folder: RunFolder
    started_at: float
    process: subprocess.Popen[bytes]

    def write_end(self, state: str) -> None:
        """Record how it ended; the folder may have been deleted meanwhile."""
        seconds = time.time() - self.started_at
        self.folder.write_record(state=state, exit_status=self.process.returncode, wall_time=seconds)


class Scheduler:
    """
    Trains runs, some of them at a time.

    Two schedulers may work on the same runs: each run is locked by who trains it, and the others wait for it.

    :param folders: the runs
    :param n_jobs: how many at a time
    :param device: where to compute
    :param n_threads: threads of each process
    :raises ValueError: when a number is less than 1
    """

    def __init__(self, folders: Sequence[RunFolder], n_jobs: int, device: str = "auto", n_threads: int = 1) -> None:
        for option, number in (("--jobs", n_jobs), ("--num-threads", n_threads)):
            if number < 1:
                raise ValueError(f"{option} {number}: wanted at least 1.")
        self.n_jobs, self.device, self.n_threads = n_jobs, device, n_threads
        self._finished = [folder for folder in folders if folder.is_finished()]
        self._waiting = deque(folder for folder in folders if folder not in self._finished)
        self._elsewhere: list[RunFolder] = []
        self._training: list[_Training] = []
        self.failed: list[RunFolder] = []

    @property
    def snapshot(self) -> Snapshot:
        """How far the runs are."""
        training = [one.folder for one in self._training]
        done = sum(folder.planned.frames for folder in self._finished)
        going = sum(folder.frames_done() for folder in (*training, *self._elsewhere))
        return Snapshot(
            frames=done + going,
            total=done + sum(folder.planned.frames for folder in (*training, *self._waiting)),
            finished=len(self._finished),
            failed=len(self.failed),
            training=len(self._training),
            waiting=len(self._waiting),
            elsewhere=len(self._elsewhere),
        )

    def run(self, report: Callable[[Snapshot], None], should_stop: Callable[[], bool] = lambda: False) -> None:
        """
        Train until every run is finished or has failed. Whatever ends this, no process is left behind.

        :param report: is told now and then how far the runs are
        :param should_stop: is asked now and then whether to give up
        :raises KeyboardInterrupt: when told to stop
        """
        try:
            while self._waiting or self._training:
                self._collect()
                self._start()
                report(self.snapshot)
                if should_stop():
                    raise KeyboardInterrupt
                if self._waiting or self._training:
                    time.sleep(_TICK)
        finally:
            self._stop()

    def _collect(self) -> None:
        for training in [one for one in self._training if one.process.poll() is not None]:
            self._training.remove(training)
            folder = training.folder
            is_finished = training.process.returncode == 0 and folder.is_finished()
            training.write_end("finished" if is_finished else "failed")
            folder.lock.release()
            (self._finished if is_finished else self.failed).append(folder)

    def _start(self) -> None:
        if len(self._training) == self.n_jobs:
            self._elsewhere = [folder for folder in self._elsewhere if not folder.is_finished()]
            return
        self._elsewhere = []
        for _ in range(len(self._waiting)):
            if len(self._training) == self.n_jobs:
                return
            folder = self._waiting.popleft()
            if not folder.lock.acquire():
                self._elsewhere.append(folder)
                self._waiting.append(folder)
            elif folder.is_finished():
                # By whoever held the lock until now.
                folder.lock.release()
                self._finished.append(folder)
            else:
                self._training.append(self._train(folder))

    def _train(self, folder: RunFolder) -> _Training:
        started_at = time.time()
        try:
            folder.clear()
            command = folder.command(self.device, self.n_threads)
            folder.write_record(
                state="training",
                command=spell(command),
                started_at=started_at,
                side_by_side=self.n_jobs,
                machine=machine(),
                versions=versions(),
            )
            with folder.log.open("wb") as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "OMP_NUM_THREADS": str(self.n_threads), "PYTHONUNBUFFERED": "1"},
                    # Ctrl-C in the terminal is for the scheduler: RL-Zoo would save a model of too few frames.
                    start_new_session=True,
                    pass_fds=folder.lock.descriptors,
                )
            return _Training(folder, started_at, process)
        except BaseException:
            folder.lock.release()
            raise

    def _stop(self) -> None:
        for training in self._training:
            training.process.terminate()
        for training in self._training:
            try:
                training.process.wait(_TO_END)
            except subprocess.TimeoutExpired:
                training.process.kill()
                training.process.wait()
        stopped, self._training = self._training, []
        for training in stopped:
            try:
                # Before another scheduler may take the folder and write a record of its own.
                training.write_end("interrupted")
            finally:
                training.folder.lock.release()
