"""The report says what was done, what came out and what failed."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np

from sb3_hyper import HyperPPO
from sb3_hyper.adaptation_statistics import AdaptationStatistics
from sb3_hyper.evaluation import evaluate_tasks
from sb3_hyper.reproduction.figures import find_figure
from sb3_hyper.reproduction.report import Report
from sb3_hyper.reproduction.results import TEST_SEED, evaluate_run, gather
from sb3_hyper.reproduction.scheduling import Scheduler
from sb3_hyper.reproduction.tables import HEADINGS, used_columns
from tests.reproduction.conftest import ENV

FOLDER = f"reproduced/grids-small-480-{ENV}"


class Page(HTMLParser):
    """Tags that are open, and addresses of other resources."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_of_a_figure(call, tmp_path):
    status, output, _ = call("--seeds", 2, "--methods", "RNN+HN", "RNN")
    assert status == 0 and f"Saved {FOLDER}-RNN+HN-RNN/report.html" in output.replace("\\", "/")
    folder = tmp_path / f"{FOLDER}-RNN+HN-RNN"
    assert (folder / "table.txt").read_text().strip() in output
    results = json.loads((folder / "results.json").read_text())
    assert (results["figure"], results["budget"], results["n_trials"]) == ("grids", "small", 6)
    assert [run["state"] for run in results["runs"]] == ["finished"] * 4
    methods = results["environments"][ENV]["methods"]
    assert [(one["method"], one["seeds"], one["frames"]) for one in methods] == [
        ("RNN+HN", [1, 2], 480),
        ("RNN", [1, 2], 480),
    ]
    # Two monitor files of four trials with 60 steps, returns 1 to 4 and 3 to 6.
    assert methods[0]["learning_curve"]["frames"] == [60, 180, 300, 420]
    assert [one["value"] for one in methods[0]["learning_curve"]["returns"]] == [2, 3, 4, 5]
    statistics = AdaptationStatistics.load(folder / "statistics" / f"{ENV}_RNN+HN.json")
    assert statistics.runs == ("seed 1", "seed 2") and statistics.returns.shape == (2, 6, 4)
    assert methods[0]["metrics"]["iqm"]["trial"]["value"] == statistics.estimates["iqm"][-1].value
    row = next(line for line in (folder / "table.md").read_text().splitlines() if line.startswith("| RNN+HN "))
    assert f"| {statistics.estimates['iqm'][-1].value:.2f} |" in row


def test_the_page_is_whole_and_needs_nothing_else(call, tmp_path):
    call("--seeds", 1, "--methods", "RNN+HN")
    text = (tmp_path / f"{FOLDER}-RNN+HN" / "report.html").read_text()
    page = Page(text)
    assert not page.open and len(page.addresses) == 2
    for address, name in zip(page.addresses, ("learning", "adaptation"), strict=True):
        kind, _, content = address.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content) == (tmp_path / f"{FOLDER}-RNN+HN" / f"{name}_{ENV}.png").read_bytes()
    assert not re.search(r"<(script|link|iframe)|url\(|@import", text)
    for said in ("--algo hyper_ppo --env GridNavi-v0", "--seed 1", "torch 2", "cores", "fewer than three seeds"):
        assert said in text
    assert "python -m sb3_hyper.reproduce grids --environments GridNavi-v0 --frames 480" in text


def test_what_failed_is_named_with_the_end_of_its_log(call, control, tmp_path):
    (control / "fail_2").touch()
    status, output, error = call("--seeds", 2, "--methods", "RNN+HN")
    assert status == 1 and "1 of 2 runs are missing." in error
    assert f"{ENV}, RNN+HN, seed 2" in error and "ValueError: <the reason>" in error
    assert "RNN+HN" in output
    folder = tmp_path / f"{FOLDER}-RNN+HN"
    text = (folder / "report.html").read_text()
    assert not Page(text).open
    assert "ValueError: &lt;the reason&gt;" in text and "1 of 2 runs are missing" in text
    results = json.loads((folder / "results.json").read_text())
    assert [run["state"] for run in results["runs"]] == ["finished", "failed"]
    assert results["environments"][ENV]["methods"][0]["seeds"] == [1]


def test_nothing_finished_still_gives_a_report(call, control, tmp_path):
    status, _, error = call("--seeds", 1, "--methods", "RNN", "--report-only")
    assert status == 1 and "There are no runs in reproduced to report on" in error
    assert not (tmp_path / "reproduced").exists()
    (tmp_path / "reproduced" / "runs").mkdir(parents=True)
    status, _, error = call("--seeds", 1, "--methods", "RNN", "--report-only")
    assert status == 1 and "1 of 1 runs are missing." in error
    folder = tmp_path / f"{FOLDER}-RNN"
    results = json.loads((folder / "results.json").read_text())
    assert results["environments"] == {} and results["runs"][0]["state"] == "not started"
    assert not Page((folder / "report.html").read_text()).open
    assert not (control / "starts").exists()


def test_a_report_is_not_replaced_by_nothing(call, tmp_path):
    report = tmp_path / f"{FOLDER}-RNN" / "report.html"
    report.parent.mkdir(parents=True)
    (tmp_path / "reproduced" / "runs").mkdir()
    report.write_text("an earlier one")
    status, output, _ = call("--seeds", 1, "--methods", "RNN", "--report-only")
    assert status == 1 and "Saved" not in output and report.read_text() == "an earlier one"


def test_one_run_that_cannot_be_evaluated_costs_the_others_nothing(call, control, folders, tmp_path):
    only = ("--methods", "RNN+HN", "--seeds", 2)
    assert call(*only)[0] == 0
    second = tmp_path / "reproduced" / "runs" / folders[1].path.name
    (second / "evaluation_6.json").write_text("[]")
    status, output, error = call(*only)
    assert status == 1 and "RNN+HN" in output
    assert "1 of 2 runs are missing." in error and "evaluation_6.json: This is not what" in error
    results = json.loads((tmp_path / f"{FOLDER}-RNN+HN" / "results.json").read_text())
    assert [run["state"] for run in results["runs"]] == ["finished", "not evaluated"]
    for monitor in second.rglob("*.monitor.csv"):
        monitor.unlink()
    assert "has no monitor files" in call(*only)[2]


def test_a_run_that_ends_while_others_are_evaluated_is_missing_from_the_report(folders):
    Scheduler(folders, 2).run(lambda snapshot: None)
    results = gather(folders[:2], 4, "cpu")
    report = Report(find_figure("grids"), "small", "command", 4, folders, *results)
    assert report.missing == [folders[2]] and folders[2].is_finished()
    assert [run["state"] for run in report.runs()] == ["finished", "finished", "not evaluated"]
    assert any("1 of 3 runs are missing" in note for note in report.notes)


def test_every_run_is_evaluated_on_the_same_trials_once(folders, monkeypatch):
    Scheduler(folders, 2).run(lambda snapshot: None)
    model = HyperPPO.load(folders[0].model, device="cpu")
    twin = evaluate_tasks(model, ENV, 6, seed=TEST_SEED)
    first, second = (evaluate_run(folder, 6, "cpu") for folder in folders[:2])
    assert first.tasks == second.tasks == twin.tasks
    np.testing.assert_array_equal(first.returns, twin.returns)
    monkeypatch.setattr("sb3_hyper.reproduction.results.evaluate_tasks", None)
    np.testing.assert_array_equal(evaluate_run(folders[0], 6, "cpu").returns, first.returns)


def test_seeds_that_were_trained_with_other_defaults_are_pointed_out(call, control, tmp_path):
    only = ("--methods", "RNN+HN")
    call("--seeds", 1, *only)
    (control / "settings").touch()
    assert call("--seeds", 2, *only)[0] == 0
    said = "The seeds of RNN+HN in GridNavi-v0 were trained with different hyperparameters"
    table = tmp_path / f"{FOLDER}-RNN+HN" / "table.md"
    assert said in table.read_text()
    call("--seeds", 1, *only)
    assert said not in table.read_text()


def test_columns_without_an_entry_are_left_out():
    row = [str(k) if k % 3 else "" for k in range(len(HEADINGS))]
    headings, entries = used_columns([row])
    assert headings == [name for k, name in enumerate(HEADINGS) if k % 3] and "" not in entries
