"""Runs are trained once, side by side, and again only where they were not finished; nothing is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from sb3_hyper.reproduction.progress import describe
from sb3_hyper.reproduction.scheduling import Scheduler
from sb3_hyper.reproduction.stopping import StopRequests
from tests.reproduction.conftest import ENV, FRAMES

ROOT = Path(__file__).parents[2]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither inherited locks nor these signals")


def train(folders, n_jobs=2, **kwargs):
    snapshots = []
    scheduler = Scheduler(folders, n_jobs, device="cpu")
    scheduler.run(snapshots.append, **kwargs)
    return scheduler, snapshots


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_every_run_is_trained_once_and_recorded(folders, starts):
    scheduler, snapshots = train(folders)
    assert not scheduler.failed and [folder.is_finished() for folder in folders] == [True] * 3
    assert set(starts().values()) == {1} and len(starts()) == 3
    assert max(snapshot.training for snapshot in snapshots) == 2
    assert snapshots[-1][:4] == (3 * FRAMES, 3 * FRAMES, 3, 0)
    record = folders[0].record
    assert (record["state"], record["exit_status"], record["side_by_side"]) == ("finished", 0, 2)
    assert record["command"].startswith("python ") and f"--env {ENV}" in record["command"]
    assert "torch" in record["versions"] and "cores" in record["machine"]
    assert 0 < folders[0].wall_time() < 60
    train(folders)
    assert set(starts().values()) == {1}


def test_one_at_a_time(folders):
    _, snapshots = train(folders, n_jobs=1)
    assert max(snapshot.training for snapshot in snapshots) == 1


def test_a_failed_run_is_recorded_and_alone_begins_again(folders, control, starts):
    (control / "fail_2").touch()
    scheduler, snapshots = train(folders)
    assert scheduler.failed == [folders[1]] and snapshots[-1].failed == 1
    assert (folders[1].record["state"], folders[1].record["exit_status"]) == ("failed", 1)
    assert folders[1].last_lines(1) == ["ValueError: <the reason>"]
    (control / "fail_2").unlink()
    assert not train(folders)[0].failed
    assert sorted(starts().values()) == [1, 1, 2]


def test_a_model_of_too_few_frames_or_half_a_file_is_not_finished(folders, control):
    (control / "early_1").touch()
    scheduler, _ = train(folders)
    assert scheduler.failed == [folders[0]] and folders[0].record["exit_status"] == 0
    whole = folders[1].model.read_bytes()
    folders[1].model.write_bytes(whole[: len(whole) // 2])
    assert not folders[1].is_finished()
    for name, content in (("other", {}), ("data", {}), ("data", [1]), ("data", {"num_timesteps": None})):
        with zipfile.ZipFile(folders[1].model, "w") as archive:
            archive.writestr(name, json.dumps(content))
        assert not folders[1].is_finished()


def test_told_to_stop_it_ends_its_processes_and_begins_again_in_a_clean_folder(folders, control, starts):
    (control / "hold").touch()
    with pytest.raises(KeyboardInterrupt):
        train(folders, should_stop=lambda: len(starts()) == 2)
    assert [folder.record.get("state") for folder in folders] == ["interrupted", "interrupted", None]
    left = folders[0].zoo_run / "left.over"
    left.touch()
    (control / "hold").unlink()
    train(folders)
    assert not left.exists() and all(folder.is_finished() for folder in folders)
    assert sorted(starts().values()) == [1, 2, 2]


def test_frames_of_trainings_that_go_on_are_read_from_their_logs(folders, control):
    (control / "hold").touch()
    snapshots = []

    def report(snapshot):
        snapshots.append(snapshot)
        if snapshot.frames == FRAMES:
            (control / "hold").unlink(missing_ok=True)

    Scheduler(folders, 2).run(report)
    halfway = next(snapshot for snapshot in snapshots if snapshot.frames == FRAMES)
    assert (halfway.total, halfway.training, halfway.waiting) == (3 * FRAMES, 2, 1)
    more = halfway._replace(frames=1_250_000, total=3_000_000, elsewhere=1, failed=2)
    assert describe(more) == "0/5 runs, 2 training, 1 elsewhere, 2 failed; 1.25/3.00 M frames"


@POSIX
def test_deleting_the_folder_of_a_training_costs_the_others_nothing(folders, control, starts):
    (control / "hold").touch()

    def report(snapshot):
        if len(starts()) == 2 and (control / "hold").exists():
            shutil.rmtree(folders[0].path)
            (control / "hold").unlink()

    scheduler = Scheduler(folders, 2, device="cpu")
    scheduler.run(report)
    assert scheduler.failed in ([], [folders[0]]) and all(folder.is_finished() for folder in folders[1:])
    assert folders[0].record["state"] in ("failed", "finished")


@POSIX
def test_two_schedulers_never_train_the_same_run(folders, starts):
    threads = [threading.Thread(target=train, args=(folders_of,)) for folders_of in (folders, copies(folders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(starts().values()) == {1} and all(folder.is_finished() for folder in folders)


def copies(folders):
    """The same runs with locks of their own, as another process has them."""
    return [type(folder)(folder.planned, folder.path.parent) for folder in folders]


def start_command(control, *arguments):
    """The command in a process of its own, with the fake training."""
    program = repr((sys.executable, str(Path(__file__).with_name("fake_training.py"))))
    lines = ["import signal, sys", "from sb3_hyper import reproduce", "from sb3_hyper.reproduction import planned_run"]
    # Tests that run in the background of a script ignore Ctrl-C, and so would the command.
    lines.append("signal.signal(signal.SIGINT, signal.default_int_handler)")
    code = "\n".join([*lines, f"planned_run.PROGRAM = {program}", "sys.exit(reproduce.main(sys.argv[1:]))"])
    small = ["grids", "--environments", ENV, "--methods", "RNN+HN", "--frames", str(FRAMES), "--seeds", "2"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *small, "-o", ".", "--n-trials", "4", "--jobs", "2", *arguments],
        cwd=control.parent,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_leaves_no_training_and_says_how_to_go_on(folders, control, starts, number):
    (control / "hold").touch()
    with start_command(control) as command:
        wait_for(lambda: len(starts()) == 2)
        # As a terminal does it: to the whole group.
        os.killpg(command.pid, number)
        try:
            error = command.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            command.kill()
            raise
    assert command.returncode == 130
    assert "to go on: python -m sb3_hyper.reproduce grids --environments GridNavi-v0" in error
    ends = [(folder.record["state"], folder.record["exit_status"]) for folder in folders[:2]]
    assert ends == [("interrupted", -signal.SIGTERM)] * 2
    # Their locks are free: nobody trains any more.
    assert all(folder.lock.acquire() for folder in folders)


@POSIX
def test_signals_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequests() as requests:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not requests()
            os.kill(os.getpid(), signal.SIGTERM)
            assert requests()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@POSIX
def test_a_training_that_outlives_its_scheduler_is_waited_for_and_not_repeated(folders, control, starts):
    (control / "hold").touch()
    with start_command(control) as command:
        wait_for(lambda: len(starts()) == 2)
        command.kill()
    assert not folders[0].lock.acquire()
    snapshots = []

    def report(snapshot):
        snapshots.append(snapshot)
        if snapshot.elsewhere == 2:
            (control / "hold").unlink(missing_ok=True)

    Scheduler(folders, 2).run(report)
    assert set(starts().values()) == {1} and len(starts()) == 3
    assert all(folder.is_finished() for folder in folders)
    assert folders[0].record["state"] == "training" and folders[0].wall_time() > 0


def test_numbers_that_make_no_sense(folders):
    with pytest.raises(ValueError, match="--jobs 0: wanted at least 1"):
        Scheduler(folders, 0)
    with pytest.raises(ValueError, match="--num-threads -1: wanted at least 1"):
        Scheduler(folders, 1, n_threads=-1)
