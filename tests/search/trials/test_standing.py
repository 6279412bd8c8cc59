"""What is known of candidates of which most were scored on some documents alone, and what people see of it."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from exme.search.proof.outcome import Outcome
from exme.search.reports.dashboard.annotate import differences
from exme.search.reports.dashboard.notes import documents_csv, trial_note
from exme.search.reports.exports.model_card import model_card
from exme.search.reports.pages.charts import search_curve
from exme.search.reports.pages.data_frame import documents_table, trials_table
from exme.search.reports.pages.plane_chart import plane
from exme.search.reports.pages.report import write_report
from exme.search.reports.pages.scene import scene_of_outcome
from exme.search.reports.terminal.events import search_facts, trial_facts
from exme.search.running.screen import Screen, named_text
from exme.search.running.search import Search, open_search
from exme.search.running.view import view_of
from exme.search.scoring.answers import save_answers
from exme.search.statistics.intervals import Interval, compare
from exme.search.trials.standing import (
    Standing,
    best_inputs,
    difference,
    incumbents,
    inputs_of,
    standing_of,
    standings,
)
from exme.search.trials.trial import TrialRecord
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.panel import TRIALS, drawn
from tests.helpers.searches.two_suites import study_file

RACING = {"chunk": 12, "error_rate": 0.05}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    """A racing search over two checkpoints: most of its candidates are scored in part."""
    folder = tmp_path_factory.mktemp("racing")
    study = study_file(
        suites=["gsm8k"], racing=RACING, budget={"documents": 900}, sampler={"name": "auto"}
    )
    with open_search(
        study, name="hill", runs=folder, worker=lambda d: Landscape(d, PEAK)
    ) as search:
        search.run()
        yield search


@pytest.fixture(scope="module")
def trials(searched: Search) -> list[TrialRecord]:
    return list(searched.history().trials)


@pytest.fixture(scope="module")
def outcome(searched: Search) -> Outcome:
    return searched.outcome()


def truth(search: Search, standing: Standing) -> float:
    assert standing.trial.candidate is not None
    return search.worker.score(standing.trial.candidate, "search").scores.mean


def in_part(trials: list[TrialRecord]) -> list[TrialRecord]:
    return [t for t in trials if t.race_log is not None and t.scores is None and not t.duplicate_of]


@pytest.mark.slow
def test_every_candidate_has_one_standing_with_all_that_was_scored_of_it(
    trials: list[TrialRecord],
) -> None:
    found = standings(trials)
    digests = [s.trial.candidate.digest for s in found if s.trial.candidate]
    assert len(set(digests)) == len(digests)
    assert set(digests) == {t.candidate.digest for t in trials if t.candidate}
    asked = {t.candidate.digest: 0 for t in trials if t.candidate}
    for trial in trials:
        if trial.candidate:
            asked[trial.candidate.digest] += trial.documents
    assert [s.count for s in found] == [asked[d] for d in digests]
    assert 0 < sum(s.is_complete for s in found) < len(found)


def test_estimates_are_near_the_scores_on_all_documents(
    searched: Search, trials: list[TrialRecord]
) -> None:
    found = [s for s in standings(trials) if not s.is_complete]
    held = [s.interval.low <= truth(searched, s) <= s.interval.high for s in found]
    assert np.mean(held) > 0.9
    assert all(0 <= s.interval.low <= s.mean <= s.interval.high <= 1 for s in found)


def test_one_candidate_has_one_score_on_every_surface(
    searched: Search, trials: list[TrialRecord], outcome: Outcome
) -> None:
    found = standings(trials)
    assert outcome.winner is not None and outcome.winner.candidate is not None
    best = standing_of(found, outcome.winner.candidate.digest)
    left = next(s for s in found if not s.is_complete and s.trial.state == "paused")
    report = write_report(outcome, searched.folder).read_text()
    table = trials_table(trials).set_index("trial")
    scene = scene_of_outcome(outcome)
    for standing in (best, left):
        assert standing is not None and standing.trial.candidate is not None
        trial, score = standing.trial, f"{standing.mean:.1%}"
        lines = io.StringIO()
        screen = Screen(Console(file=lines, width=300, highlight=False))
        screen.trial(trial, trials, "", searched.view().inputs)
        assert f"  {score} [" in lines.getvalue()
        assert re.search(rf"^\| {trial.number} \|.*\| {re.escape(score)} \(", report, re.MULTILINE)
        assert trial_note(trial, standing, None, {}, []).startswith(f"## {score} (")
        assert table.loc[trial.number, "score"] == standing.mean
        assert table.loc[trial.number, "documents"] == standing.count
        assert trial_facts(trial, standing)["score"] == standing.mean
        place = np.array([standing.trial.candidate.coefficients[n] for n in scene.names])
        assert scene.text_at(place) == score
    assert best is not None
    view = searched.view()
    text, told, named = drawn(view, 120), search_facts(view), named_text(view)
    assert view.gain is not None and f": {best.mean:.1%} [" in named
    assert f"{100 * view.gain.estimate:+.1f} points [{100 * view.gain.low:+.1f}, " in named
    assert f"Best    {best.mean:.1%} [" in text
    assert told["best"]["score"] == best.mean
    names = {"base": "base", "sums": "sums", "products": "products"}
    card = model_card(outcome, names=names, verdict="", licences={}, taken="", version="0")
    assert f"| merged | {best.mean:.1%} [" in card and f"{best.mean:.1%} (" in report


def test_the_gain_over_an_input_that_was_left_is_told_with_its_interval(
    searched: Search, trials: list[TrialRecord]
) -> None:
    view = searched.view()
    best, other, gain = view.best, view.best_input, view.gain
    assert best is not None and other is not None and gain is not None
    assert best.is_complete
    true = truth(searched, best) - truth(searched, other)
    assert gain.low <= true <= gain.high
    assert view.name_of(other) in ("sums", "products")
    text = drawn(view, 120)
    assert f"points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] over" in text
    assert "in part" in text and "∘" in text


def test_machines_are_told_how_a_racing_search_stands(
    searched: Search, trials: list[TrialRecord]
) -> None:
    told = search_facts(searched.view())
    assert set(told["best"]) == {"number", "score", "low", "high", "documents"}
    assert told["gain"]["low"] < told["gain"]["estimate"] < told["gain"]["high"]
    early = search_facts(view_of(searched.study, "hill", trials[:5], searched.storage))
    assert 0 < early["best"]["documents"] < 60 and early["gain"] is not None


def test_before_the_first_complete_trial_the_best_is_an_estimate_and_the_map_is_drawn(
    searched: Search, trials: list[TrialRecord]
) -> None:
    first = next(i for i, t in enumerate(trials) if t.scores is not None)
    assert first > 6
    view = view_of(searched.study, "hill", trials[:first], searched.storage)
    assert view.best is not None and not view.best.is_complete and view.gain is not None
    text = drawn(view, 120)
    assert f"Best    {view.best.mean:.1%} [" in text and "of 60 documents" in text and "★" in text


def test_complete_candidates_are_compared_in_pairs() -> None:
    """By what is believed of both; the interval is as wide as that of what was counted."""
    believed = [replace(t, means=(0.3 + 0.05 * t.number,)) for t in TRIALS]
    found = standings(believed)
    gap, counted = difference(found[5], found[1]), compare_trials(5, 1)
    assert gap.estimate == pytest.approx(0.2) and counted.estimate == pytest.approx(0.18)
    assert gap.high - gap.low == pytest.approx(counted.high - counted.low)


def compare_trials(a: int, b: int) -> Interval:
    one, other = TRIALS[a].scores, TRIALS[b].scores
    assert one is not None and other is not None
    return compare(one, other).difference


def test_nothing_scored_has_no_standing() -> None:
    assert standings([]) == []
    assert standings([TrialRecord(0, "failed", "gp", message="nan")]) == []


def test_inputs_are_known_once_each_was_looked_at(trials: list[TrialRecord]) -> None:
    inputs = ["sums alone", "products alone"]
    found = standings(trials[:1])
    assert inputs_of(found, trials[:1], inputs) == []
    found = standings(trials)
    both = inputs_of(found, trials, inputs)
    assert best_inputs(both) == {"gsm8k": max(s.interval.estimate for s in both)}


def test_the_line_of_the_search_is_what_the_best_so_far_is_worth_in_the_end(
    trials: list[TrialRecord], outcome: Outcome
) -> None:
    found = standings(trials)
    steps = incumbents(trials, found)
    assert len(steps) == sum(t.scores is not None or t.race_log is not None for t in trials)
    assert outcome.winner is not None and outcome.winner.candidate is not None
    assert steps[-1][1] == standing_of(found, outcome.winner.candidate.digest)
    drawing = search_curve(outcome)
    assert drawing is not None
    assert len(drawing.dots) == len([t for t in trials if t.duplicate_of is None])
    assert sum(dot.whole for dot in drawing.dots) == sum(t.scores is not None for t in trials)
    total = sum(t.documents for t in trials)  # of all trials, not of the complete ones alone
    last = drawing.below[-1]
    assert (last.at - 60) / (410 - 60) == pytest.approx(float(last.text) / total, abs=0.001)
    heights = [float(point.split(",")[1]) for point in drawing.line.split()]
    assert heights[-1] == min(
        heights
    )  # what is best in the end stands highest (SVG counts downwards)


def test_candidates_scored_in_part_stand_on_the_plane_as_small_white_dots(
    searched: Search, outcome: Outcome
) -> None:
    scene = scene_of_outcome(outcome)
    candidates = {t.candidate.digest for t in outcome.trials if t.candidate}
    assert len(scene.points) == len(candidates)
    assert (~scene.whole).sum() == len(candidates) - scene.whole.sum() > 0
    drawn_plane = plane(outcome)
    assert drawn_plane is not None and drawn_plane.image
    report = write_report(outcome, searched.folder)
    page = report.with_suffix(".html").read_text()
    small = page.count('<circle class="part"')
    assert small == sum(not d.whole for d in drawn_plane.dots) > 0
    assert "small white dots: scored on some of them" in page
    assert "Small white dots: scored on some of them" in report.read_text()
    assert re.search(
        r"\| sums \| [^|]+ \| [\d.]+% \([^|]+\), \d+ of 60 documents \|", report.read_text()
    )


def test_words_on_the_plane_are_within_it_and_cover_no_other(outcome: Outcome) -> None:
    drawn_plane = plane(outcome)
    assert drawn_plane is not None
    boxes = []
    for label in drawn_plane.labels:
        half = 7.1 * len(label.words) / 2
        boxes.append((label.x - half, label.y - 12, label.x + half, label.y))
    assert len(boxes) == 4  # best, base, sums, products
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert left >= drawn_plane.x - 0.1 and right <= drawn_plane.x + drawn_plane.width + 0.1
        assert top >= drawn_plane.y - 0.1 and bottom <= drawn_plane.y + drawn_plane.height + 0.1
        for other in boxes[:i]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart


def test_the_note_of_a_trial_scored_in_part_has_suites_gains_and_differing_answers(
    searched: Search, trials: list[TrialRecord]
) -> None:
    found = standings(trials)
    best = best_inputs(inputs_of(found, trials, ["sums alone", "products alone"]))
    winner = next(t for t in trials if t.scores is not None and t.candidate)
    left = {s.trial.candidate.digest for s in found if s.trial.candidate and not s.is_complete}
    trial = next(
        t
        for t in in_part(trials)
        if t.number > winner.number and t.continues is None and t.candidate
        if t.candidate.digest in left
    )
    assert trial.candidate is not None and winner.candidate is not None
    for who in (trial, winner):
        assert who.candidate is not None
        answers = {"gsm8k": [f"{who.number} says {i}" for i in range(60)]}
        save_answers(searched.folder, who.candidate.digest, answers, "search")
    differing = differences(trial, winner, searched.documents, searched.folder)
    assert trial.race_log is not None
    seen = trial.race_log.partial.values
    both = np.array(winner.scores.values if winner.scores else ())
    assert len(differing) == int((np.nan_to_num(seen, nan=-1) == 1 - both).sum())
    standing = standing_of(found, trial.candidate.digest)
    note = trial_note(trial, standing, winner, best, differing)
    assert re.search(r"\| gsm8k \| [^|]+ \| [\d.]+% [^|]+ from \d+ documents \| [+-]\d", note)
    assert f"of the {trial.race_log.partial.count} documents that both have been asked" in note
    rows = list(csv.DictReader(documents_csv(trial, winner).splitlines()))
    assert len(rows) == trial.race_log.partial.count
    assert all(row["score of the best before"] in ("0", "1") for row in rows)


def test_scores_by_document_are_given_of_candidates_scored_in_part(outcome: Outcome) -> None:
    table = documents_table(outcome)
    assert not any(math.isnan(v) for v in table["score"])
    asked = table[table["split"] == "search"].groupby("model").size().to_dict()
    taken_up = {t.continues for t in outcome.trials}
    for trial in in_part(list(outcome.trials)):
        assert trial.race_log is not None
        if trial.number not in taken_up:
            assert asked[f"trial {trial.number}"] == trial.race_log.partial.count
