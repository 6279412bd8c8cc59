"""Whether a gain is one of format."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exme.evaluators.scores import DocumentScores, join
from exme.search.merging.candidate import Candidate
from exme.search.proof.audit import any_cut, audit_of
from exme.search.proof.outcome import Entry, Outcome
from exme.search.proof.verdict import verdict
from exme.search.reports.dashboard.notes import trial_note
from exme.search.reports.pages.report import write_report
from exme.search.reports.terminal.events import JsonScreen
from exme.search.scoring.worker import Scored
from exme.search.trials.standing import standing_of, standings
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.opened import Opened, close

IDS = tuple("abcdefgh")


def entry(name: str, values: str, cut: str, longer: str = "") -> Entry:
    def scores(text: str, odd: str) -> DocumentScores:
        numbers = tuple(float(v) for v in text)
        outcomes = {"cut": tuple(float(v) for v in odd)}
        return DocumentScores("gsm8k", "report", "acc", IDS, numbers, 0, outcomes)

    candidate = Candidate({"sums": 1.0}, "exme", "float32", {})
    more = scores(longer, "00000000") if longer else None
    return Entry(name, candidate, scores(values, cut), longer=more)


def test_a_gain_that_comes_with_fewer_cut_answers_is_flagged() -> None:
    found = audit_of(entry("merged", "11110000", "00000001"), entry("sums", "11000000", "00110001"))
    assert found.is_flagged
    assert found.fewer == (("cut", 1, 3),)
    assert found.gain == 0.25
    assert (found.spared, found.documents) == (0, 5)  # all of it on documents that were cut


def test_a_gain_that_a_few_such_answers_cannot_have_made_is_not() -> None:
    def long(values: list[int], cut: list[int]) -> Entry:
        ids = tuple(map(str, range(100)))
        scores = DocumentScores(
            "gsm8k",
            "report",
            "acc",
            ids,
            tuple(map(float, values)),
            0,
            {"cut": tuple(map(float, cut))},
        )
        return Entry("x", Candidate({"sums": 1.0}, "exme", "float32", {}), scores)

    best = long([0] * 100, [1] * 3 + [0] * 97)
    whole, part = long([1] * 40 + [0] * 60, [0] * 100), long([1] * 10 + [0] * 90, [0] * 100)
    found = audit_of(whole, best)
    assert found.fewer == (("cut", 0, 3),) and not found.is_flagged and not found.caution("sums")
    assert audit_of(part, best).is_flagged  # 3 of 10 is another matter


def test_a_gain_with_as_many_cut_answers_is_not() -> None:
    found = audit_of(entry("merged", "11110000", "00000001"), entry("sums", "11000000", "00000001"))
    assert not found.is_flagged
    assert found.spared == 2 / 7


def test_a_gain_that_goes_when_answers_may_be_longer_is_flagged() -> None:
    merged = entry("merged", "11110000", "00000001", longer="11110000")
    best = entry("sums", "11000000", "00000001", longer="11111000")
    found = audit_of(merged, best)
    assert found.is_flagged and not found.fewer
    assert found.longer == -0.125


def test_a_loss_is_nothing_to_flag() -> None:
    found = audit_of(entry("merged", "10000000", "00000000"), entry("sums", "11000000", "00110000"))
    assert not found.is_flagged


def test_suites_of_which_one_has_no_answers_are_audited_by_the_other() -> None:
    def both(values: str, cut: str) -> Entry:
        one = entry("x", values, cut).report.parts[0]
        other = DocumentScores("mmlu", "report", "acc", ("1", "2"), (1.0, 0.0), 0)
        return Entry("x", Candidate({"sums": 1.0}, "exme", "float32", {}), join([one, other]))

    merged, best = both("11110000", "00000001"), both("11000000", "00110001")
    found = audit_of(merged, best)
    assert found.is_flagged and found.fewer == (("cut", 1, 3),)
    assert found.documents == 5 + 2
    assert found.spared == 0
    assert any_cut(merged.report) and not any_cut(both("1" * 8, "0" * 8).report)
    assert found.caution("sums") == (
        "Caution: the gain may be one of format, for it has fewer such answers than sums (cut: 1 against 3)."
    )


class Cuts(Landscape):
    """Answers of inputs are cut on report documents that they would solve with room for more."""

    room = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.longer: list[str] = []

    def score(self, candidate: Candidate, split: str) -> Scored:
        found = super().score(candidate, split)
        (part,) = found.scores.parts
        alone = sum(c != 0 for c in candidate.coefficients.values()) <= 1
        cut = tuple(float(alone and i % 4 == 0) for i in range(part.count))
        values = tuple(0.0 if c else v for v, c in zip(part.values, cut, strict=True))
        return Scored(replace(part, values=values, audit={"cut": cut}), found.seconds)

    def score_longer(self, candidate: Candidate) -> Scored | None:
        self.longer.append(candidate.digest)
        return Landscape.score(self, candidate, "report") if self.room else None


def cutting(folder: Path, **changed: Any) -> tuple[Opened, Cuts]:
    settings = {"budget": {"trials": 8}, "scorer": lambda d: Cuts(d, PEAK), **changed}
    opened = Opened(folder, **settings)
    assert isinstance(opened.landscape, Cuts)
    return opened, opened.landscape


def written(opened: Opened, outcome: Outcome) -> str:
    return write_report(outcome, opened.search.folder).read_text()


def test_a_flagged_gain_says_so_wherever_the_verdict_stands(tmp_path: Path) -> None:
    opened, landscape = cutting(tmp_path)
    outcome = opened.search.run()
    assert outcome.merged is not None
    found = verdict(outcome)
    assert found.proved and found.caution.startswith("Caution: the gain may be one of format")
    assert f"(cut: 0 against {400 // 4})" in found.caution
    # The winner and the best input once more, each once, with room for more.
    best = next(e for e in outcome.inputs if e.name == found.best_input)
    assert sorted(landscape.longer) == sorted(
        [outcome.merged.candidate.digest, best.candidate.digest]
    )
    report = written(opened, outcome)
    assert report.split("\n\n")[2].endswith(f"**{found.caution}**")
    assert "With room for answers of twice the length (scored once) it is" in report
    for name, share in (
        ("merged", "0.0%"),
        ("base", "25.0%"),
        ("sums", "25.0%"),
        ("products", "25.0%"),
    ):
        assert f"| {name} | {share} |" in report
    assert "were used once, after the search" in report
    opened.search.screen.verdict(found, tmp_path / "report.md")
    assert opened.lines[-2] == found.caution
    stream = io.StringIO()
    JsonScreen(stream).verdict(found, tmp_path / "report.md")
    assert json.loads(stream.getvalue())["caution"] == found.caution
    first = outcome.trials[0]
    assert first.candidate is not None
    stands = standing_of(standings(outcome.trials), first.candidate.digest)
    note = trial_note(first, stands, None, {}, [])
    assert "| cut |" in note and "| 25.0% |" in note


def test_a_proof_that_ended_before_the_longer_answers_goes_on_with_them(tmp_path: Path) -> None:
    class Dies(Cuts):
        def score_longer(self, candidate: Candidate) -> Scored | None:
            if self.longer:
                raise KeyboardInterrupt
            return super().score_longer(candidate)

    opened, _ = cutting(tmp_path, scorer=lambda d: Dies(d, PEAK))
    with pytest.raises(KeyboardInterrupt):
        opened.search.run()
    close(opened)
    again, landscape = cutting(tmp_path)
    outcome = again.search.run()
    assert len(landscape.longer) == 1 and not landscape.calls[:-1]
    assert outcome.merged is not None and outcome.merged.longer is not None
    close(again)
    last, landscape = cutting(tmp_path)
    last.search.run()
    assert landscape.longer == [] and landscape.calls == []


def test_a_model_without_room_for_longer_answers_is_asked_once(tmp_path: Path) -> None:
    opened, landscape = cutting(tmp_path)
    landscape.room = False
    outcome = opened.search.run()
    assert len(landscape.longer) == 1
    assert "With room for" not in written(opened, outcome)
    close(opened)
    again, landscape = cutting(tmp_path)
    again.search.run()
    assert landscape.longer == []


@pytest.mark.slow
def test_every_further_winner_is_a_further_use_of_the_report_documents(tmp_path: Path) -> None:
    opened, _ = cutting(tmp_path)
    first = opened.search.run()
    close(opened)
    again, _ = cutting(tmp_path, budget={"trials": 24}, sampler={"name": "gp"})
    second = again.search.run()
    assert (first.use, second.use) == (1, 2)
    assert "in use 2 of these" in verdict(second).sentence
    assert "This is use 2 of these report documents" in written(again, second)
