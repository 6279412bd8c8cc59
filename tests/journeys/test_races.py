"""Racing in a whole search: who is rejected, what is kept, what may be best."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from exme.search.merging.candidate import Candidate
from exme.search.scoring.worker import Scored
from exme.search.trials.budget import spent
from exme.search.trials.ranking import best_trial
from exme.search.trials.trial import TrialRecord
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.opened import close, racing


def rows(trials: Any) -> list[Any]:
    """What trials left behind; numbers alone differ after one was cut off."""
    return [
        (t.origin, t.candidate, t.scores, t.race_log.partial if t.race_log else None)
        for t in trials
        if t.scores or t.race_log
    ]


class Watches(Landscape):
    """Keeps which documents every candidate was asked."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[tuple[str, int]] = []

    def score_part(self, candidate: Candidate, documents: Any) -> Scored:
        self.asked += [(candidate.digest, d) for d in documents]
        return super().score_part(candidate, documents)


def test_a_racing_search_finds_the_hill_with_the_documents_of_a_dozen_full_trials(
    tmp_path: Path,
) -> None:
    opened = racing(tmp_path, scorer=lambda d: Watches(d, PEAK))
    landscape = opened.landscape
    assert isinstance(landscape, Watches)
    outcome = opened.search.run()
    assert outcome.winner is not None and outcome.winner.candidate is not None
    found = outcome.winner.candidate.coefficients
    assert max(abs(found[n] - PEAK[n]) for n in PEAK) < 0.35
    assert len(landscape.asked) == spent(outcome.trials)[1] <= 1500
    assert len(outcome.trials) > 1.5 * 1500 / 128  # most were scored in part
    # No candidate was asked a document twice, though many were looked at more than once.
    assert len(set(landscape.asked)) == len(landscape.asked)
    assert any(t.continues is not None for t in outcome.trials)


def test_a_trial_scored_in_part_is_pruned_with_its_estimate_and_never_best(tmp_path: Path) -> None:
    opened = racing(tmp_path, sampler="random", budget={"trials": 12})
    outcome = opened.search.run()
    trials = opened.search.storage.study.get_trials()
    rejected = [t for t in outcome.trials if t.state == "rejected"]
    assert rejected
    for record in rejected:
        assert record.estimate is not None and record.race_log is not None
        assert record.estimate.count == record.documents < 128
        assert record.estimate.standard_error > 0
        frozen = trials[record.number]
        assert frozen.state == TrialState.PRUNED
        assert frozen.value == record.estimate.mean
        assert frozen.intermediate_values == {record.estimate.count: record.estimate.mean}
        rival = outcome.trials[record.race_log.lost_to or 0]
        assert rival.scores is not None and rival.number < record.number
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    assert opened.search.storage.study.best_trial in complete
    assert all(t.value == outcome.trials[t.number].value for t in complete)
    assert any("rejected after 32 documents: behind #" in line for line in opened.lines)
    assert set(outcome.importance) == {"sums", "products"}  # of 12 trials, not of the few complete


def test_stopped_candidates_were_worse_on_all_documents(tmp_path: Path) -> None:
    opened = racing(tmp_path, sampler="random", budget={"trials": 25})
    trials = opened.search.run().trials
    landscape = Landscape(opened.search.documents, PEAK)
    rejected = [t for t in trials if t.state == "rejected" and t.candidate and t.race_log]
    assert len(rejected) > 8
    for trial in rejected:
        assert trial.candidate is not None and trial.race_log is not None
        rival = trials[trial.race_log.lost_to or 0].scores
        truth = landscape.score(trial.candidate, "search").scores.mean
        assert rival is not None and truth < rival.mean


@pytest.mark.parametrize("sampler", ["gp", "cmaes", "tpe", "qmc", "random"])
def test_every_sampler_learns_from_races(tmp_path: Path, sampler: str) -> None:
    outcome = racing(tmp_path, sampler=sampler, budget={"trials": 12}).search.run()
    states = {t.state for t in outcome.trials}
    assert states <= {"complete", "rejected"} and "complete" in states
    assert spent(outcome.trials)[0] == 12
    assert {t.origin for t in outcome.trials[5:]} == {sampler}


@pytest.mark.slow
def test_a_race_that_was_cut_off_is_taken_up_again_as_if_nothing_had_been(tmp_path: Path) -> None:
    class Stops(Landscape):
        left = 9

        def score_part(self, candidate: Candidate, documents: Any) -> Scored:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().score_part(candidate, documents)

    whole = racing(tmp_path / "whole", budget={"documents": 700}).search.run()
    broken = racing(tmp_path / "broken", budget={"documents": 700}, scorer=lambda d: Stops(d, PEAK))
    with pytest.raises(KeyboardInterrupt):
        broken.search.run()
    close(broken)
    resumed = racing(tmp_path / "broken", budget={"documents": 700})
    outcome = resumed.search.run()
    assert sum(t.state == "cut off" for t in outcome.trials) == 1
    assert not [t for t in outcome.trials if t.state in ("running", "waiting")]
    assert rows(outcome.trials)[:8] == rows(whole.trials)[:8]
    assert outcome.winner is not None
    close(resumed)
    again = racing(tmp_path / "broken", budget={"documents": 700})
    assert rows(again.search.run().trials) == rows(outcome.trials)
    assert again.landscape.calls == []


def test_a_model_is_named_and_proved_before_any_was_scored_on_all_documents(
    tmp_path: Path,
) -> None:
    """That of which most is believed, on every surface; the budget is what scoring one candidate in full costs."""
    opened = racing(tmp_path, budget={"documents": 128})
    outcome = opened.search.run()
    assert not [t for t in outcome.trials if t.scores is not None]
    assert outcome.winner is not None and outcome.winner.belief is not None
    assert outcome.winner.belief == max(t.belief for t in outcome.trials if t.belief is not None)
    assert outcome.merged is not None and outcome.merged.candidate == outcome.winner.candidate
    best = opened.search.view().best
    assert best is not None and best.trial.candidate == outcome.winner.candidate


def test_candidates_meet_on_the_same_documents(tmp_path: Path) -> None:
    outcome = racing(tmp_path, budget={"documents": 256}).search.run()
    logs = [t.race_log for t in outcome.trials if t.race_log is not None]
    assert len({log.draw.seed for log in logs}) == 1 and not any(log.legs for log in logs)
    tables = [~np.isnan(log.partial.values) for log in logs]
    assert all((tables[0] & table).any() for table in tables[1:5])  # the known points
    seen = np.sum(tables, axis=0)
    assert (seen > 1).sum() > 8


def test_a_look_that_was_stored_but_not_told_is_finished_by_who_comes_next(tmp_path: Path) -> None:
    opened = racing(tmp_path)
    storage = opened.search.storage
    found = opened.search.loop.claim()
    assert found is not None
    tell = storage._tell
    storage._tell = lambda *_: None  # type: ignore[method-assign]  # killed between two lines
    opened.search.loop.score(*found)
    storage._tell = tell  # type: ignore[method-assign]
    assert storage.release(found[0]) == "trial 0 had been scored when its process was killed"
    assert storage.trials()[0].state == "paused"
    assert storage.study.trials[0].value == pytest.approx(storage.trials()[0].estimate.mean)  # type: ignore[union-attr]


def test_an_estimate_is_shown_with_its_interval_and_its_documents(tmp_path: Path) -> None:
    opened = racing(tmp_path, budget={"documents": 200})
    opened.search.run()
    first = next(line for line in opened.lines if line.startswith("#0 "))
    assert re.search(r"\d\.\d% \[[\d.]+%, [\d.]+%\]  8 documents  ", first) and "left " in first


def test_without_complete_trials_nothing_is_best() -> None:
    trial = TrialRecord(0, "paused", "auto")
    assert best_trial([trial]) is None
    assert spent([trial]) == (0, 0, 0.0)


def test_a_metric_beyond_its_bound_stops_nobody(tmp_path: Path) -> None:
    class Points(Landscape):
        def score(self, candidate: Candidate, split: str) -> Scored:
            found = super().score(candidate, split)
            (part,) = found.scores.parts
            values = tuple(10 * v for v in part.values)
            return Scored(type(part)(**{**vars(part), "values": values}), found.seconds)

    opened = racing(
        tmp_path, sampler="random", budget={"trials": 8}, scorer=lambda d: Points(d, PEAK)
    )
    outcome = opened.search.run()
    assert [t.state for t in outcome.trials] == ["complete"] * 8
    assert math.isinf(opened.search.settled.objective.field(outcome.trials).highest)


def test_optuna_reads_a_racing_study(tmp_path: Path) -> None:
    opened = racing(tmp_path, budget={"documents": 400})
    opened.search.run()
    study = optuna.load_study(
        study_name=opened.search.storage.name, storage=opened.search.storage.url
    )
    kept = {"candidate", "look", "origin", "reading"}
    assert all(kept <= t.user_attrs.keys() for t in study.trials)
    for trial in study.trials:
        look = trial.user_attrs["look"]
        assert look["documents"] > 0 and {"propose", "model"} <= look["seconds"].keys()
        assert "draw" in look or "draw" in look["course"]
    assert not study.trials_dataframe().empty
