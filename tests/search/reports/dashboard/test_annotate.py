"""What the dashboard shows of a trial: its note and its artifacts, asked for as a browser does."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from exme.search.reports.dashboard.annotate import Annotator
from exme.search.reports.dashboard.dashboard import open_server
from exme.search.reports.dashboard.notes import Difference, trial_note
from exme.search.running.search import Search, open_search
from exme.search.scoring.answers import save_answers
from exme.search.trials.standing import standings
from exme.search.trials.trial import TrialRecord
from exme.search.trials.unit import Unit
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.panel import TRIALS
from tests.helpers.searches.two_suites import study_file
from tests.helpers.services.chromium import chromium
from tests.helpers.services.http import get, serving


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    """A search of eight trials, annotated."""
    folder = tmp_path_factory.mktemp("annotated")
    study = study_file(suites=["gsm8k"])
    with open_search(
        study, name="test", runs=folder, worker=lambda d: Landscape(d, PEAK)
    ) as search:
        search.work()
        for trial in search.storage.trials():
            if trial.candidate is None:
                continue
            answers = [f"{trial.number} says {i} | <b>``` " for i in range(60)]
            save_answers(search.folder, trial.candidate.digest, {"gsm8k": answers}, "search")
        annotator = Annotator(search)
        assert annotator.annotate() == len(search.storage.trials())
        assert annotator.annotate() == 0  # all have theirs
        assert Annotator(search).done == annotator.done  # as the next process finds
        yield search


def test_a_note_says_what_a_trial_is_and_how_it_compares() -> None:
    best, trial = TRIALS[2], TRIALS[5]
    differing = [
        Difference(f"train/{i}", "How many?", f"answer {i}", "other", i % 2 == 0) for i in range(9)
    ]
    standing = standings(TRIALS)[5]
    rival = standings(TRIALS)[2]
    note = trial_note(trial, standing, best, {"gsm8k": 0.44}, differing, rival)
    score = Unit([]).full(standing.interval)
    assert note.startswith(f"## {score}\n")
    assert "scored on 100 documents: 62 of the 100 documents solved" in note
    assert "candidate = base +1.1000 × (sums − base) +1.2000 × (products − base)" in note
    gain = f"{100 * (standing.mean - 0.44):+.1f} points"
    assert f"| gsm8k | exact_match,strict-match | {score} | {gain} |" in note
    gap = f"{100 * (standing.mean - rival.mean):+.1f} ("
    assert f"**Against trial 2**, the best before it: {gap}" in note
    assert "won 16, lost 0 of the 100 documents" in note
    shown = [line for line in note.splitlines() if line.startswith(("**Won", "**Lost"))]
    assert shown == [
        "**Won: train/0**",
        "**Won: train/2**",
        "**Lost: train/1**",
        "**Lost: train/3**",
    ]


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (TrialRecord(9, "failed", "gp", message="a weight `x`\nis not finite"), "not be scored"),
        (TrialRecord(9, "cut off", "gp"), "Its process was killed"),
        (TrialRecord(9, "complete", "gp", duplicate_of=3), "same candidate as trial 3"),
    ],
)
def test_a_trial_without_scores_of_its_own_says_why(trial: TrialRecord, words: str) -> None:
    note = trial_note(trial, None, TRIALS[2], {}, [])
    assert words in note
    assert "a weight 'x' is not finite" in note or not trial.message


def test_the_dashboard_serves_notes_and_artifacts(searched: Search) -> None:
    server = open_server(searched.storage.url, port=0, artifacts=searched.folder / "artifacts")
    with serving(server) as address:
        (study,) = json.loads(get(f"{address}/api/studies"))["study_summaries"]
        identifier = study["study_id"]
        trials = json.loads(get(f"{address}/api/studies/{identifier}?after=0"))["trials"]
        assert all(trial["note"]["body"] for trial in trials)
        told = json.loads(get(f"{address}/api/studies/{identifier}?after=0"))["note"]["body"]
        outcome = searched.outcome()
        assert told.startswith(f"## {outcome.verdict.sentence}\n\n")
        assert "\n\nmerged = base " in told
        assert "marked as pruned are no failures" in told
        last = [trial for trial in trials if trial["state"] == "Complete"][-1]
        kinds = {artifact["filename"]: artifact for artifact in last["artifacts"]}
        assert set(kinds) == {"scores by document.csv", "where it is.svg"}
        place = f"{address}/artifacts/{identifier}/{last['trial_id']}"
        rows = list(csv.DictReader(
            get(f"{place}/{kinds['scores by document.csv']['artifact_id']}").splitlines()
        ))  # fmt: skip
        assert len(rows) == 60 and {row["score"] for row in rows} <= {"0", "1"}
        solved = sum(float(row["score"]) for row in rows) / 60
        assert solved == pytest.approx(last["values"][0])
        assert get(f"{place}/{kinds['where it is.svg']['artifact_id']}").startswith("<svg")


def test_the_objective_has_its_name_in_the_dashboard(searched: Search) -> None:
    annotator = Annotator(searched)
    annotator.start()
    annotator.close()
    with serving(open_server(searched.storage.url, port=0)) as address:
        (study,) = json.loads(get(f"{address}/api/studies"))["study_summaries"]
        detail = json.loads(get(f"{address}/api/studies/{study['study_id']}?after=0"))
    assert detail["objective_names"] == ["score on gsm8k"]


def test_chromium_shows_a_trials_note_and_picture(searched: Search, tmp_path: Path) -> None:
    server = open_server(searched.storage.url, port=0, artifacts=searched.folder / "artifacts")
    with serving(server) as address:
        (study,) = json.loads(get(f"{address}/api/studies"))["study_summaries"]
        trials = json.loads(get(f"{address}/api/studies/{study['study_id']}?after=0"))["trials"]
        differing = [t["number"] for t in trials if "First differing" in t["note"]["body"]]
        page = f"{address}/dashboard/studies/{study['study_id']}/trials?numbers={differing[-1]}"
        dom = chromium(
            tmp_path, page, "--dump-dom", "--virtual-time-budget=15000", "--window-size=1400,3000"
        )
    assert "First differing answers" in dom
    assert f"{differing[-1]} says " in dom and "&lt;b&gt;'''" in dom  # as text, not as markup
    assert "scores by document.csv" in dom
    artifacts = next(t["artifacts"] for t in trials if t["number"] == differing[-1])
    picture = next(a for a in artifacts if a["filename"] == "where it is.svg")
    assert f"/{picture['artifact_id']}" in dom
