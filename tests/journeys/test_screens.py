"""A search as it is seen: live on a terminal, as events by a machine, from another window."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from exme.search.cli import doctor
from exme.search.cli.main import app
from exme.search.proof.verdict import verdict
from exme.search.reports.pages.report import write_report
from exme.search.reports.terminal.events import JsonScreen
from exme.search.reports.terminal.live import LiveScreen
from exme.search.reports.terminal.status import all_runs
from exme.search.running.screen import Screen
from exme.search.running.search import open_search
from exme.search.running.stored_search import open_stored
from exme.search.storage.backend import sqlite_url
from exme.search.study.study_file import load_study_file
from exme.tasks.errors import UserError
from tests.helpers.places import ROOT
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.two_suites import study_file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study file, hill.yaml, whose search is over."""
    folder = tmp_path_factory.mktemp("place")
    content = study_file(suites=["gsm8k"]).model_dump(mode="json", exclude_none=True)
    content["racing"] = False  # what is shown here are complete trials
    (folder / "hill.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def searched(folder: Path, screen: Screen, runs: str) -> None:
    with open_search(
        folder / "hill.yaml", runs=folder / runs, screen=screen, worker=lambda d: Landscape(d, PEAK)
    ) as search:
        outcome = search.run()
        screen.verdict(verdict(outcome), write_report(outcome, search.folder))


@pytest.fixture(scope="module")
def events(place: Path) -> list[dict[str, object]]:
    """The events of the search in the folder ``runs``."""
    stream = io.StringIO()
    searched(place, JsonScreen(stream), "runs")
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_trial_is_one_event(events: list[dict[str, object]]) -> None:
    trials = [e for e in events if e["event"] == "trial"]
    assert [e["number"] for e in trials] == list(range(len(trials)))
    assert sum(e["duplicate_of"] is None for e in trials) == 8
    first = trials[0]
    assert first["origin"] == "sums alone" and first["documents"] == 60
    assert isinstance(first["low"], float) and isinstance(first["score"], float)
    assert first["low"] < first["score"]
    used = trials[-1]["used"]
    assert isinstance(used, dict) and used.pop("hours") > 0
    assert used == {"trials": 8, "documents": 480, "minutes": pytest.approx(0.133, 1)}


def test_events_of_several_threads_are_whole_lines() -> None:
    class Slow(io.StringIO):
        """Gives way to the other threads between two writes, as a pipe may."""

        def write(self, text: str) -> int:
            time.sleep(0.0001)
            return super().write(text)

    stream = Slow()
    screen = JsonScreen(stream)

    def say(number: int) -> None:
        for _ in range(40):
            screen.say(f"{number} {'x' * 50}")

    threads = [threading.Thread(target=say, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [json.loads(line)["text"] for line in stream.getvalue().splitlines()]
    assert len(told) == 160 and all(told.count(f"{n} {'x' * 50}") == 40 for n in range(4))


def test_events_begin_and_end_with_the_search(events: list[dict[str, object]]) -> None:
    kinds = [e["event"] for e in events]
    assert kinds.index("begin") < kinds.index("trial")
    assert kinds[-1] == "verdict"
    assert set(kinds) == {"begin", "trial", "message", "verdict"}
    assert all(re.match(r"\d{4}-\d\d-\d\dT.*\+00:00$", str(e["time"])) for e in events)
    assert str(events[-1]["report"]).endswith("report.md")


def test_a_terminal_keeps_the_picture_and_ends_with_the_verdict(place: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, height=50, highlight=False)
    screen = LiveScreen(console)
    searched(place, screen, "live")
    screen.close()  # closing twice is no harm
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    last = text[text.rindex("╭") :]
    assert "8 of 8" in last and "over sums" in last
    assert "Working on the next trial" not in last  # it is over
    assert "proof: 4 of 4 models scored" in last
    assert "report.md" in last[last.index("╰") :]
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h")  # cursor


def test_status_reads_what_the_search_wrote(events: object, place: Path) -> None:
    status = open_stored(place / "hill.yaml", None, place / "runs")
    shown = status.view()
    assert shown.used[0] == 8 and shown.is_over and shown.proved == shown.to_prove == 4
    assert shown.gain is not None and shown.gain.estimate > 0
    assert status.report is not None and status.report.name == "report.html"


def test_status_has_a_panel_a_list_and_json(events: object, place: Path) -> None:
    runs = ["--runs", str(place / "runs")]
    study = str(place / "hill.yaml")
    panel = CliRunner().invoke(app, ["status", study, *runs])
    assert panel.exit_code == 0 and "8 of 8" in panel.output
    listed = CliRunner().invoke(app, ["status", *runs])
    assert "hill-gsm8k" in listed.output and "proved" in listed.output
    told = json.loads(CliRunner().invoke(app, ["status", study, *runs, "--json"]).output)
    assert told["used"]["trials"] == 8 and told["gain"]["over"] in ("sums", "products")


def test_status_loads_no_torch(events: object, place: Path) -> None:
    """It is asked for often, from another window, and torch takes seconds."""
    arguments = ["status", str(place / "hill.yaml"), "--runs", str(place / "runs")]
    code = (
        "import sys; from exme.search.cli.main import app\n"
        f"app({arguments!r}, standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'lm_eval', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert "8 of 8" in shown


def test_status_of_a_run_of_another_version_says_what_it_cannot_read(tmp_path: Path) -> None:
    study = tmp_path / "hill.yaml"
    shutil.copy(ROOT / "studies" / "mini.yaml", study)
    folder = tmp_path / "runs" / "hill-gsm8k"
    folder.mkdir(parents=True)
    old = optuna.create_study(storage=sqlite_url(folder), study_name=folder.name)
    old.set_user_attr("pinned", {"checkpoints": ["sums", "products"]})  # as format 1 had it
    old.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED))
    runs = ["--runs", str(tmp_path / "runs")]
    shown = CliRunner().invoke(app, ["status", str(study), *runs])
    assert shown.exit_code == 0 and "Begun by another version of ExMe" in shown.output
    told = CliRunner().invoke(app, ["status", str(study), *runs, "--json"])
    assert json.loads(told.stdout)["best"] is None
    assert "another version of ExMe" in told.stderr
    assert "of another version" in CliRunner().invoke(app, ["status", *runs]).output


def test_status_of_a_search_that_was_not_begun_writes_nothing(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not begun yet.*`exme search .*hill.yaml --task gsm8k`"):
        open_stored(place / "hill.yaml", None, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert all_runs(tmp_path) == []


def test_every_run_is_listed_with_the_score_of_every_other_surface(place: Path) -> None:
    """Also one whose study cannot be read any more, e.g. for its suite's file is gone."""
    study, runs = load_study_file(place / "hill.yaml"), place / "listed"
    for name in ("kept", "gone"):
        with open_search(
            study, name=name, runs=runs, worker=lambda d: Landscape(d, PEAK)
        ) as search:
            search.run()
            best = search.view().best
            if name == "gone":
                kept = search.storage.record.description()
                kept["study"] = {**kept["study"], "suites": ["gone.yaml"]}
                search.storage.record.describe(kept)
    found = {run.view.study: run.view for run in all_runs(runs)}
    assert set(found) == {"kept-gsm8k", "gone-gsm8k"} and found["gone-gsm8k"].trials
    shown = found["kept-gsm8k"]
    assert shown.best is not None and best is not None and shown.best.mean == best.mean
    assert shown.verdict is not None and shown.verdict.is_final


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> doctor.Finding:
        raise OSError("no such thing")

    monkeypatch.setattr(doctor, "_machine", broken)
    found = {finding.name: finding for finding in doctor.examine(tmp_path / "runs")}
    assert found["broken"].state == doctor.BROKEN
    assert "no such thing" in found["broken"].detail
    assert found["Python"].state == found["libraries"].state == found["disk"].state == doctor.OK
    assert found["hub"].state == doctor.ABSENT  # tests run with HF_HUB_OFFLINE
    assert all(f.remedy for f in found.values() if f.state != doctor.OK)
    assert doctor.storage_finding("nonsense://a:secret@b/c").state == doctor.BROKEN
    monkeypatch.setattr(doctor, "examine", lambda runs: found.values())
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1 and "✗" in result.output
