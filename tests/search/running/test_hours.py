"""A budget of hours, on a clock that the scorer sets by what documents took in a real search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exme.search.merging.candidate import Candidate
from exme.search.proof import proving
from exme.search.running.search import open_search
from exme.search.scoring.worker import Scored
from exme.search.storage import storage as storage_module, stored_study
from exme.search.trials.clock import Clock, covered
from exme.search.trials.pace import pace_of
from exme.search.trials.trial import TrialRecord
from exme.tasks.errors import UserError
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.opened import close, racing, study_file

# Seconds of a search document, trial by trial, of `make search TASK=gsm8k`: falling as answers are drafted.
STORED = json.loads((Path(__file__).parent / "timings" / "mini.json").read_text())
TRIALS = [(row["documents"], row["seconds"]) for row in STORED["trials"]]
PROOF = sum(row["clock"][2] - row["clock"][1] for row in STORED["proofs"])
REPORT = PROOF / sum(row["documents"] for row in STORED["proofs"])


class Times:
    """A clock, and a scorer that takes as long as documents took then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.rounds = 1e9, 0
        for module in (storage_module, stored_study, proving):
            monkeypatch.setattr(module, "this_moment", lambda: self.now)

    def scorer(self, documents: Sequence[Any]) -> Landscape:
        times = self

        class Timed(Landscape):
            def score_part(self, candidate: Candidate, chosen: Sequence[int]) -> Scored:
                count, seconds = TRIALS[min(times.rounds, len(TRIALS) - 1)]
                times.rounds += 1
                took = len(chosen) * seconds / count
                times.now += took
                return replace(super().score_part(candidate, chosen), seconds={"model": took})

            def score(self, candidate: Candidate, split: str) -> Scored:
                found = super().score(candidate, split)
                if split == "report":
                    times.now += REPORT * found.scores.count
                return found

        return Timed(documents, PEAK)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [90, 150])
def test_a_search_ends_in_its_hours_with_finalists_and_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    times = Times(monkeypatch)
    opened = racing(tmp_path, scorer=times.scorer, budget={"hours": seconds / 3600})
    began = times.now
    outcome = opened.search.run()
    assert len(outcome.inputs) == 3 and outcome.verdict.is_final
    assert times.now - began <= seconds
    assert times.now - began >= 0.7 * seconds  # and they are made use of
    if (
        seconds >= 150
    ):  # with room for eight times all documents the winner was scored on all of them
        assert outcome.winner is not None and outcome.winner.scores is not None


@pytest.mark.slow
def test_hours_count_all_sittings_and_no_pause_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = Times(monkeypatch)
    first = racing(tmp_path, scorer=times.scorer, budget={"hours": 200 / 3600})
    began = times.now
    for _ in range(30):
        first.search.settle()
        first.search.loop.trial()
    sat = times.now - began
    assert sat > 2
    close(first)
    times.now += 36_000  # overnight
    second = racing(tmp_path, scorer=times.scorer, budget={"hours": 200 / 3600})
    resumed = times.now
    second.search.run()
    assert 140 <= sat + times.now - resumed <= 200
    assert second.search.view().elapsed == pytest.approx(sat + times.now - resumed, abs=1)


def test_hours_that_the_proof_alone_takes_still_name_and_prove_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = Times(monkeypatch)
    opened = racing(tmp_path, scorer=times.scorer, budget={"hours": 5 / 3600})
    outcome = opened.search.run()
    assert outcome.verdict.is_final
    assert sum(t.is_scored for t in outcome.trials) == 1
    assert any("budget.hours" in line and "when the proof begins" in line for line in opened.lines)


def test_workers_beside_each_other_count_once_and_pauses_do_not() -> None:
    assert covered([(0, 10), (2, 8), (5, 12), (100, 101)]) == 13
    assert covered([]) == 0


def test_the_pace_knows_how_many_are_at_work(tmp_path: Path) -> None:
    trials = racing(tmp_path, budget={"documents": 600}).search.run().trials
    paid = [replace(t, seconds=10.0, proposing=0.0) for t in trials if t.is_scored][:8]
    one = pace_of([_at(t, 10.0 * i, 10.0 * i + 10) for i, t in enumerate(paid)])
    two = pace_of([_at(t, 10.0 * (i // 2), 10.0 * (i // 2) + 10) for i, t in enumerate(paid)])
    assert one is not None and two is not None
    assert one.document == pytest.approx(two.document) and one.between == two.between == 0
    assert (one.workers, two.workers) == (1, 2)
    assert two.search(600, 20) == pytest.approx(one.search(600, 20) / 2)


def _at(trial: TrialRecord, begin: float, end: float) -> TrialRecord:
    return replace(trial, clock=Clock(0.0, begin, end))


def test_a_limit_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'hour' is no limit.*did you mean 'hours'"):
        open_search(study_file(), "gsm8k", runs=tmp_path, budget={"hour": 1})
    with pytest.raises(UserError, match=r"budget: hours: .*greater than 0, found -1"):
        open_search(study_file(), "gsm8k", runs=tmp_path, budget={"hours": -1})
    assert list(tmp_path.iterdir()) == []
