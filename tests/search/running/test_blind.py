"""Suites that cannot tell candidates apart are named early, and once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exme.evaluators.scores import join
from exme.search.merging.candidate import Candidate
from exme.search.reports.pages.report import write_report
from exme.search.running.blind import blind_suites, chance
from exme.search.scoring.worker import Scored
from exme.search.trials.trial import TrialRecord
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.opened import Opened, close


class Shares(Landscape):
    """Every candidate solves one share of the documents."""

    def __init__(self, documents: Any, share: float) -> None:
        super().__init__(documents, PEAK)
        self.solved = share

    def share(self, coefficients: Any) -> float:
        return self.solved


def searched(folder: Path, share: float, suite: str = "gsm8k", **changed: Any) -> list[str]:
    """The lines of a search in which all candidates solve this share."""
    settings: dict[str, Any] = {"racing": {"chunk": 32}, "budget": {"trials": 6}, **changed}
    opened = Opened(
        folder,
        suites=[suite],
        task=suite,
        sampler="auto",
        **settings,
        scorer=lambda d: Shares(d, share),
    )
    opened.search.work()
    close(opened)
    return opened.lines


def told(lines: list[str]) -> list[str]:
    return [line for line in lines if "cannot tell candidates apart" in line]


@pytest.mark.parametrize(("share", "what"), [(0.0, "0 of "), (1.0, "all of ")])
def test_a_suite_on_which_all_candidates_score_alike_is_named_as_soon_as_that_is_sure(
    tmp_path: Path, share: float, what: str
) -> None:
    lines = searched(tmp_path, share)
    (said,) = told(lines)
    assert re.match(
        rf"gsm8k: \d candidates, the inputs among them, solve {what}\d+ documents: ", said
    )
    # A search that goes on does not say it again, though more is known.
    again = searched(tmp_path, share, budget={"trials": 9})
    report = write_report(Opened(tmp_path).search.outcome(), tmp_path).read_text()
    assert report.count(f"{said}.") == 1
    assert told(again) == [] and any("over: 9 candidates" in line for line in again)


def test_a_suite_that_tells_candidates_apart_is_not_named(tmp_path: Path) -> None:
    assert told(searched(tmp_path, 0.4)) == []


def test_a_suite_of_choices_at_chance_is_named_when_enough_was_asked(tmp_path: Path) -> None:
    (line,) = told(searched(tmp_path / "chance", 0.25, "mmlu", racing={"chunk": 64}))
    assert line.startswith("mmlu: no input solves more than guessing would (25%) of ")
    assert told(searched(tmp_path / "better", 0.5, "mmlu", racing={"chunk": 64})) == []


def test_chance_is_known_where_every_document_has_as_many_choices(tmp_path: Path) -> None:
    opened = Opened(tmp_path, suites=["gsm8k", "mmlu"], task="gsm8k,mmlu")
    words, choices = opened.search.documents
    assert chance(words) is None and chance(choices) == 0.25
    other = replace(choices.search[0], row={**choices.search[0].row, "choices": ["a", "b"]})
    assert chance(replace(choices, search=(*choices.search, other))) is None
    told_of_words = replace(choices.search[0], row={**choices.search[0].row, "choices": "abcd"})
    assert chance(replace(choices, search=(told_of_words,))) is None


def test_every_suite_is_judged_by_its_own_documents(tmp_path: Path) -> None:
    class OneBlind(Landscape):
        def score(self, candidate: Candidate, split: str) -> Scored:
            found = super().score(candidate, split)
            first, second = found.scores.parts
            blank = replace(first, values=(0.0,) * first.count)
            return Scored(join([blank, second]), found.seconds)

    opened = Opened(tmp_path, suites=["gsm8k", "mmlu"], task="gsm8k,mmlu")
    landscape = OneBlind(opened.search.documents, PEAK)
    trials = []
    for number, name in enumerate(PEAK):
        candidate = opened.search.inputs()[name]
        scores = landscape.score(candidate, "search").scores
        trials.append(TrialRecord(number, "complete", f"{name} alone", candidate, scores))
    assert [suite for suite, _ in blind_suites(trials, trials, opened.search.documents)] == [
        "gsm8k"
    ]


class Cut(Landscape):
    """Every third answer of `products` has as many tokens as it may; none of other candidates."""

    def score_part(self, candidate: Candidate, documents: Any) -> Scored:
        found = super().score_part(candidate, documents)
        is_long = candidate.coefficients == {"sums": 0.0, "products": 1.0}
        parts = [
            replace(p, audit={"cut": tuple(float(is_long and i % 3 == 0) for i in range(p.count))})
            for p in found.scores.parts
        ]
        return Scored(join(parts), found.seconds)


def test_cut_answers_are_told_by_input_before_the_budget_is_spent_and_once(tmp_path: Path) -> None:
    def run(trials: int) -> list[str]:
        opened = Opened(
            tmp_path, sampler="auto", racing={"chunk": 32}, budget={"trials": trials},
            max_gen_toks=64, scorer=lambda d: Cut(d, PEAK),
        )  # fmt: skip
        opened.search.work()
        close(opened)
        return opened.lines

    lines = run(6)
    (said,) = told_of_limit(lines)
    told = re.match(
        r"gsm8k: answers reach the limit on their length \(now 64 tokens\): "
        r"sums alone 0 of (\d+), products alone (\d+) of (\d+); raise `max_gen_toks`",
        said,
    )
    assert told is not None
    _, cut, count = map(int, told.groups())
    assert count / 4 < cut < count / 2  # (a third of each chunk, rounded up)
    trials = [line for line in lines if line.startswith("#")]
    assert len(trials) > 4 and lines.index(said) < lines.index(trials[3])
    assert not told_of_limit(run(9))
    assert not told_of_limit(searched(tmp_path / "short", 0.4))


def told_of_limit(lines: list[str]) -> list[str]:
    return [line for line in lines if "limit on their length" in line]
