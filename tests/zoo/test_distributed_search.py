"""Workers that share a study: one joins late, one is killed; through a journal file and through PostgreSQL."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import optuna
import optuna.cli
import pytest
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.zoo.conftest import zoo_environment
from tests.zoo.postgresql import database

STUDY = "grid"
ENDLESS = 1000
FINISHED = re.compile(r"Trial (\d+) finished with value: (\S+)")
SEARCH = (
    *("-m", "rl_zoo3.train", "--algo", "hyper_ppo", "--env", "GridNavi-v0", "--device", "cpu", "--num-threads", "1"),
    *("-f", "logs", "-optimize", "--no-optim-plots", "-n", "256", "--n-evaluations", "1", "--pruner", "none"),
    *("--study-name", STUDY),
)


class Storage(NamedTuple):
    """Where a study is, as RL-Zoo and Optuna's command line are told, and opened here."""

    argument: str
    optuna_class: str
    opened: BaseStorage


@pytest.fixture(params=["journal", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "journal":
        path = str(tmp_path / "study.log")
        yield Storage(path, "JournalFileBackend", JournalStorage(JournalFileBackend(path)))
    else:
        with database() as url:
            yield Storage(url, "RDBStorage", RDBStorage(url))


class Worker:
    """A process of the search; what it writes is in a file."""

    def __init__(self, folder: Path, storage: str, n_trials: int, seed: int) -> None:
        self.log = folder / f"worker_{seed}.txt"
        arguments = ("--storage", storage, "--n-trials", str(n_trials), "--seed", str(seed), "-params", "n_envs:2")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *SEARCH, *arguments], stdout=log, stderr=log, cwd=folder, env=zoo_environment()
            )

    def finished(self) -> dict[int, float]:
        """Number and value of the trials that it has said to be finished."""
        return {int(number): float(value) for number, value in FINISHED.findall(self.log.read_text())}

    def join(self) -> None:
        assert self.process.wait(timeout=300) == 0, self.log.read_text()


@contextmanager
def team(folder: Path, storage: str) -> Iterator[Callable[[int], Worker]]:
    """Start workers that do so many trials; kill whoever still runs at the end."""
    workers: list[Worker] = []

    def start(n_trials: int) -> Worker:
        workers.append(Worker(folder, storage, n_trials, seed=len(workers)))
        return workers[-1]

    try:
        yield start
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "the workers have not come so far in five minutes"
        time.sleep(0.05)


def kill_in_the_middle_of_a_trial(victim: Worker, others: list[Worker], study: optuna.Study) -> None:
    """A worker runs one trial at a time: if more trials run than there are others, one is the stopped victim's."""

    def stopped_in_a_trial() -> bool:
        victim.process.send_signal(signal.SIGSTOP)
        n_others = sum(worker.process.poll() is None for worker in others)
        if len(study.get_trials(states=[TrialState.RUNNING])) > n_others:
            return True
        victim.process.send_signal(signal.SIGCONT)
        return False

    wait_until(stopped_in_a_trial)
    victim.process.kill()
    victim.process.wait()


def check_every_report_is_in_the_study(workers: list[Worker], study: optuna.Study) -> None:
    reports = [worker.finished() for worker in workers]
    values = {number: value for finished in reports for number, value in finished.items()}
    assert len(values) == sum(map(len, reports))
    complete = study.get_trials(states=[TrialState.COMPLETE])
    assert {trial.number: trial.value for trial in complete} == values
    assert study.best_value == max(values.values())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'tell' is an experimental")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_a_killed_worker_loses_its_trial_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, storage: Storage
) -> None:
    # Workers that find an empty database at the same moment fall over each other's tables.
    study = optuna.create_study(storage=storage.opened, study_name=STUDY, direction="maximize")
    with team(tmp_path, storage.argument) as start:
        first, victim = start(4), start(ENDLESS)
        wait_until(lambda: bool(first.finished()) and bool(victim.finished()))
        n_before, late = len(study.get_trials()), start(4)
        wait_until(lambda: bool(late.finished()))
        kill_in_the_middle_of_a_trial(victim, [first, late], study)
        for survivor in (first, late):
            survivor.join()
            assert len(survivor.finished()) == 4
    assert min(late.finished()) >= n_before
    check_every_report_is_in_the_study([first, victim, late], study)

    trials = study.get_trials()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    (lost,) = [trial.number for trial in trials if trial.state is not TrialState.COMPLETE]
    assert trials[lost].state is TrialState.RUNNING
    where = ("--storage", storage.argument, "--storage-class", storage.optuna_class, "--study-name", STUDY)
    monkeypatch.setattr(sys, "argv", ["optuna", "tell", *where, "--trial-number", str(lost), "--state", "fail"])
    assert optuna.cli.main() == 0
    assert study.get_trials()[lost].state is TrialState.FAIL
