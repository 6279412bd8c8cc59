"""What a search is said to take, beside what searches took: their timings are stored in `timings/`.

Each file is one search on two shared cores: what was probed before its first trial, and when each trial and each model of
its proof began and ended.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exme.search.opening import Weights
from exme.search.running.forecast import Forecast, Probe
from exme.search.running.view import View
from exme.search.study.study_file import StudyFile
from exme.search.trials.clock import Clock
from exme.search.trials.pace import Timed
from exme.search.trials.trial import TrialRecord
from tests.helpers.searches.outcomes import trial

PLACE = Path(__file__).parent / "timings"
# The shipped study, on busy cores and on quiet ones; two suites, of choices and of answers, by trials; lm-eval's own model and Optuna's TPE.
STUDIES = ("mini", "mini-quiet", "two-suites", "stock")
RIGHT, NEARLY = 1.5, 2.0


class Stored:
    """A search as it was timed."""

    def __init__(self, name: str) -> None:
        self.data: dict[str, Any] = json.loads((PLACE / f"{name}.json").read_text())
        self.study = StudyFile.model_validate(self.data["study"])
        self.trials = tuple(self._trial(i, row) for i, row in enumerate(self.data["trials"]))
        self.proofs = tuple(
            Timed(row["documents"], Clock(*row["clock"])) for row in self.data["proofs"]
        )

    def _trial(self, number: int, row: dict[str, Any]) -> TrialRecord:
        names = [f"{name} alone" for name in self.study.checkpoints]
        return trial(
            number,
            (number / 100, 1.0),
            100 + number,
            origin=names[number] if number < len(names) else "auto",
            documents=row["documents"],
            seconds=row["seconds"],
            proposing=row["proposing"],
            continues=row["continues"],
            clock=Clock(*row["clock"]),
        )

    @property
    def searched(self) -> float:
        first, last = self.trials[0].clock, self.trials[-1].clock
        assert first is not None and last is not None
        return last.end - first.begin

    @property
    def proved(self) -> float:
        return sum(proof.clock.seconds for proof in self.proofs)

    def forecast(self, tmp_path: Path, workers: int = 1) -> Forecast:
        adaptive = self.study.sampler.name == "auto"
        whole = len(self.study.checkpoints) if len(self.study.suites) > 1 else 0
        count, report = self.data["search"], self.data["report"]
        return Forecast(
            self.study, Weights(1, 1, 1), tmp_path, count, report, adaptive, whole, None, workers
        )

    @property
    def probe(self) -> Probe:
        return Probe(**self.data["probe"])

    def view(self, count: int, proofs: int = 0) -> View:
        inputs = tuple(f"{name} alone" for name in self.study.checkpoints)
        return View(
            "stored",
            self.study.budget,
            inputs,
            self.trials[:count],
            proofs,
            shared=self.data["search"] if self.study.sampler.name == "auto" else 0,
            report=self.data["report"],
            timed=self.proofs[:proofs],
        )


def off(said: float, took: float) -> float:
    return max(said / took, took / said)


@pytest.mark.parametrize("name", STUDIES)
def test_the_time_before_the_first_trial_is_right_within_half(name: str, tmp_path: Path) -> None:
    stored = Stored(name)
    costs = stored.forecast(tmp_path).costs((), stored.probe)
    assert costs.search is not None
    took = stored.searched + stored.proved
    assert off(costs.search + costs.proving, took) < RIGHT, (costs, took)
    line = stored.forecast(tmp_path).line(costs)
    documents = sum(t.documents for t in stored.trials)
    assert costs.documents is not None and off(costs.documents, documents) < RIGHT
    assert f"{costs.documents + costs.proof:,} documents (" in line and " of proof" in line


@pytest.mark.parametrize("name", STUDIES)
def test_the_time_left_is_nearly_right_from_a_third_of_the_search_on(name: str) -> None:
    stored = Stored(name)
    ended = stored.proofs[-1].clock.end
    for share in (1 / 3, 1 / 2, 3 / 4):
        count = round(share * len(stored.trials))
        clock = stored.trials[count - 1].clock
        left = stored.view(count).seconds_left
        assert clock is not None and left is not None
        assert off(left, ended - clock.end) < NEARLY, (share, left, ended - clock.end)


@pytest.mark.parametrize("name", STUDIES)
def test_the_time_left_counts_the_proof_until_it_is_over(name: str) -> None:
    stored = Stored(name)
    whole = len(stored.trials)
    budget = stored.study.budget.model_copy(
        update={"trials": None, "documents": sum(t.documents for t in stored.trials)}
    )
    left = [
        replace(stored.view(whole, proofs), budget=budget).seconds_left
        for proofs in range(len(stored.proofs) + 1)
    ]
    assert left[0] is not None and left[0] > 0.25 * stored.proved
    assert left[-1] == 0.0
    assert "with the proof" in stored.view(whole).left


def test_several_workers_share_the_documents(tmp_path: Path) -> None:
    stored = Stored("stock")
    one = stored.forecast(tmp_path).costs((), stored.probe)
    four = stored.forecast(tmp_path, workers=4).costs((), stored.probe)
    assert one.search is not None and four.search == pytest.approx(one.search / 4)
    assert four.documents == one.documents
    assert "by 4 workers" in stored.forecast(tmp_path, workers=4).line(four)


def test_what_trials_took_is_believed_before_what_was_probed(tmp_path: Path) -> None:
    stored = Stored("mini")
    half = stored.trials[: len(stored.trials) // 2]
    wrong = replace(stored.probe, document=100.0)
    costs = stored.forecast(tmp_path).costs(half, wrong)
    clock = half[-1].clock
    assert costs.search is not None and clock is not None
    left = stored.proofs[-1].clock.end - clock.end
    assert off(costs.search + costs.proving, left) < RIGHT


def test_hours_bound_what_is_said(tmp_path: Path) -> None:
    stored = Stored("mini")
    study = stored.study.model_copy(
        update={"budget": stored.study.budget.model_copy(update={"hours": 60 / 3600})}
    )
    forecast = replace(stored.forecast(tmp_path), study=study)
    costs = forecast.costs((), stored.probe)
    assert costs.search is not None
    assert costs.search + costs.proving == pytest.approx(60)
    assert " and 1 min 0 s: " in forecast.line(costs)


def test_without_a_limit_that_tells_the_proof_is_said(tmp_path: Path) -> None:
    stored = Stored("mini")
    budget = stored.study.budget.model_copy(update={"documents": None, "gain": 0.5})
    forecast = replace(
        stored.forecast(tmp_path), study=stored.study.model_copy(update={"budget": budget})
    )
    costs = forecast.costs((), stored.probe)
    assert costs.search is None and costs.documents is None
    line = forecast.line(costs)
    assert "2,000 documents and those of the search (4 models on 500 report documents)" in line
    assert " of proof after the search; less where more documents are expected" in line
