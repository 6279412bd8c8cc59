"""Whole searches over two suites that want different merges."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from exme.evaluators.scores import DocumentScores, join
from exme.search.merging.candidate import Candidate
from exme.search.proof.outcome import Outcome
from exme.search.proof.verdict import verdict
from exme.search.reports.pages.report import write_report
from exme.search.running.screen import Screen
from exme.search.running.search import open_search
from exme.search.running.stored_search import open_stored
from exme.search.scoring.worker import Scored
from exme.tasks.documents import SuiteDocuments
from exme.tasks.errors import UserError
from tests.helpers.searches.landscape import Landscape, uniform
from tests.helpers.searches.two_suites import data, study_file

__all__ = ["data"]

# Each suite has its own hill; between the two both are solved somewhat.
PEAKS = {"gsm8k": {"sums": 1.3, "products": 0.3}, "shop": {"sums": 0.3, "products": 1.3}}


class TwoHills(Landscape):
    def score(self, candidate: Candidate, split: str) -> Scored:
        parts = []
        for found in self.documents:
            name = found.suite.suite
            self.peak: Mapping[str, float] = PEAKS[name]
            share, ids = self.share(candidate.coefficients), tuple(d.id for d in found.of(split))
            values = tuple(float(uniform(f"{name}{split}{i}") < share) for i in ids)
            parts.append(DocumentScores(name, split, found.suite.metric_name, ids, values, 0))
        return Scored(join(parts), {"model": 1.0})


def two_hills(documents: Sequence[SuiteDocuments]) -> TwoHills:
    return TwoHills(documents, PEAKS["gsm8k"], top=0.9, width=0.7)


def run(folder: Path, data: Path, **changed: Any) -> tuple[Outcome, str]:
    study = study_file(
        data=str(data), **{"sampler": {"name": "auto"}, "budget": {"documents": 1500}, **changed}
    )
    with open_search(study, "all", name="test", runs=folder, worker=two_hills) as search:
        outcome = search.run()
        report = write_report(outcome, search.folder).read_text()
    assert outcome.winner is not None
    return outcome, report


def gains(outcome: Outcome) -> dict[str, float]:
    """Of the winner on the report documents."""
    assert outcome.merged is not None
    found = {}
    for i, part in enumerate(outcome.merged.report.parts):
        found[part.suite] = part.mean - max(e.report.parts[i].mean for e in outcome.inputs)
    return found


def test_the_worst_suite_is_raised_where_the_mean_would_give_one_up(
    tmp_path: Path, data: Path
) -> None:
    weighted, _ = run(tmp_path / "mean", data, weights={"shop": 0.0})
    level, _ = run(tmp_path / "worst", data, goal="worst")
    assert gains(weighted)["gsm8k"] > gains(level)["gsm8k"]
    assert min(gains(level).values()) > min(gains(weighted).values()) + 0.1
    assert level.winner is not None
    assert level.winner.belief == pytest.approx(min(gains(level).values()), abs=0.15)


class ThreeHills(Landscape):
    """Two suites with hills of their own, and a third on which every merge loses a little."""

    def score(self, candidate: Candidate, split: str) -> Scored:
        parts = []
        for found, peak in zip(self.documents, [*PEAKS.values(), {}], strict=True):
            self.peak: Mapping[str, float] = peak
            share = self.share(candidate.coefficients)
            if not peak:
                share = 0.7 - 0.1 * sum(candidate.coefficients.values())
            name, ids = found.suite.suite, tuple(d.id for d in found.of(split))
            values = tuple(float(uniform(f"{name}{split}{i}") < share) for i in ids)
            parts.append(DocumentScores(name, split, found.suite.metric_name, ids, values, 0))
        return Scored(join(parts), {"model": 1.0})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tail", "named"), [(0.6, "in the mean over its 2 worst suites"), (0.1, "on its worst suite")]
)
def test_the_mean_over_the_worst_suites_is_searched_for_and_proved_by(
    tmp_path: Path, tail: float, named: str
) -> None:
    study = study_file(
        suites=["gsm8k", "mmlu", "ifeval"], goal="cvar", tail=tail,
        sampler={"name": "auto"}, budget={"documents": 2500},
    )  # fmt: skip
    with open_search(
        study,
        "all",
        name="test",
        runs=tmp_path,
        worker=lambda d: ThreeHills(d, PEAKS["gsm8k"], top=0.9, width=0.9),
    ) as search:
        outcome = search.run()
        report = write_report(outcome, search.folder).read_text()
    assert outcome.winner is not None
    count = 2 if tail > 0.5 else 1
    lowest = sorted(gains(outcome).values())[:count]
    assert outcome.winner.belief == pytest.approx(sum(lowest) / count, abs=0.15)
    believed = [t.belief for t in outcome.trials if t.belief is not None and t.feasible]
    assert outcome.winner.belief is not None and outcome.winner.belief > max(believed) - 0.006
    assert any(t.state in ("rejected", "paused") for t in outcome.trials)
    found = verdict(outcome)
    assert named in found.sentence and f"**{found.sentence}**" in report
    assert found.gain is not None and "## By suite" in report
    inputs = [[p.mean for p in e.report.parts] for e in outcome.inputs]
    aim = outcome.aim.against(inputs)
    assert outcome.merged is not None
    assert found.gain.estimate == pytest.approx(
        aim.value([p.mean for p in outcome.merged.report.parts])
    )


def test_what_is_to_be_kept_is_kept(tmp_path: Path, data: Path) -> None:
    outcome, report = run(tmp_path, data, weights={"shop": 0.0}, keep={"shop": -15})
    assert outcome.winner is not None and outcome.winner.feasible
    assert gains(outcome)["shop"] >= -0.25  # (on other documents than the search kept to it on)
    assert any(not t.feasible for t in outcome.trials if t.scores)
    assert "## What was to be kept" in report
    assert [k.suite for k in verdict(outcome).kept] == ["shop"]


def test_a_front_is_reported_with_its_knee(tmp_path: Path, data: Path) -> None:
    outcome, report = run(
        tmp_path, data, goal="pareto", sampler={"name": "random"}, budget={"trials": 14}
    )
    assert {t.state for t in outcome.trials} <= {"complete", "rejected"}
    front = report.split("## The Pareto front")[1].split("##")[0]
    rows = [line for line in front.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert len(rows) >= 2
    assert [row.endswith("| knee |") for row in rows].count(True) == 1
    assert outcome.winner is not None
    assert any(row.startswith(f"| {outcome.winner.number} |") for row in rows)
    assert "merged, the knee of the front" in report.splitlines()[2]


def test_candidates_race_against_the_front_and_who_is_stopped_was_dominated(
    tmp_path: Path, data: Path
) -> None:
    study = study_file(
        data=str(data), goal="pareto", sampler={"name": "random"}, budget={"trials": 16},
        space={"coefficients": (-1.0, 3.0)}, racing={"chunk": 10},
    )  # fmt: skip
    with open_search(study, "all", name="test", runs=tmp_path, worker=two_hills) as search:
        hills = search.worker
        trials = search.run().trials
        frozen = search.storage.study.get_trials()
    rejected = [t for t in trials if t.state == "rejected"]
    assert len(rejected) >= 4
    for trial in rejected:
        assert trial.candidate is not None and trial.race_log is not None
        assert trial.race_log.lost_to is not None and trial.documents < 120
        rival = trials[trial.race_log.lost_to].scores
        assert rival is not None
        truth = hills.score(trial.candidate, "search").scores
        assert all(a.mean < b.mean for a, b in zip(truth.parts, rival.parts, strict=True))
        assert frozen[trial.number].state.name == "PRUNED" and frozen[trial.number].values is None


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_samplers_learn_from_those_that_a_front_stopped(
    tmp_path: Path, data: Path, sampler: str
) -> None:
    study = study_file(
        data=str(data), goal="pareto", sampler={"name": sampler}, budget={"trials": 9},
        starts=[{"sums": -1.0, "products": -1.0}], space={"coefficients": (-1.5, 3.0)},
    )  # fmt: skip
    with open_search(study, "all", name="test", runs=tmp_path, worker=two_hills) as search:
        trials = search.run().trials
        told = [search.history().values(t) for t in trials]
    assert any(t.state == "rejected" for t in trials)
    for trial, values in zip(trials, told, strict=True):
        assert values is not None and len(values) == 2, trial
    assert {t.origin for t in trials[6:]} == {sampler}


@pytest.mark.parametrize(
    ("goal", "sampler"), [("pareto", "gp"), ("mean", "gp"), ("mean", "auto"), ("mean", "cmaes")]
)
def test_a_sampler_that_is_drawn_beyond_the_bound_does_not_end_there(
    tmp_path: Path, data: Path, goal: str, sampler: str
) -> None:
    study = study_file(
        data=str(data), goal=goal, sampler={"name": sampler}, budget={"trials": 14},
        shift={"bound": 0.4, "parent": "sums"},
    )  # fmt: skip
    peak = {"sums": 3.0, "products": 3.0}  # both suites are best far beyond
    with open_search(
        study, "all", name="test", runs=tmp_path,
        worker=lambda d: Landscape(d, peak, top=0.9, width=2.0),
    ) as search:  # fmt: skip
        outcome = search.run()
    assert sum(t.duplicate_of is not None for t in outcome.trials) <= 2
    assert sum(t.origin == sampler for t in outcome.trials) >= 6
    assert outcome.winner is not None and 0.3 < (outcome.winner.shift or 0) <= 0.4


def test_several_objectives_are_searched_by_a_gaussian_process(tmp_path: Path, data: Path) -> None:
    outcome, _ = run(tmp_path, data, goal="pareto", budget={"trials": 8})
    assert {t.origin for t in outcome.trials[5:]} == {"gp"}


def test_names_of_suites_are_checked(data: Path) -> None:
    for key in ("weights", "keep"):
        with pytest.raises(UserError, match=f"{key}: suite 'shpo' is not in suites"):
            study_file(**{key: {"shpo": 1.0}})
    with pytest.raises(UserError, match="expected 0 or more"):
        study_file(weights={"shop": -1.0})


def test_a_search_on_suites_of_no_weight_is_refused(tmp_path: Path, data: Path) -> None:
    study = study_file(data=str(data), weights={"shop": 0.0})
    with pytest.raises(UserError, match="shop have weight 0"):
        open_search(study, "shop", runs=tmp_path)


def test_a_search_ends_when_more_documents_are_expected_to_bring_little(
    tmp_path: Path, data: Path
) -> None:
    """And says so at its end."""
    plain = io.StringIO()
    screen = Screen(Console(file=plain, soft_wrap=True, width=300, highlight=False))
    study = study_file(
        data=str(data), sampler={"name": "auto"}, budget={"documents": 6000, "gain": 1.5}
    )
    with open_search(
        study, "all", name="test", runs=tmp_path, screen=screen, worker=two_hills
    ) as search:
        search.work()
        assert 500 < sum(t.documents for t in search.storage.trials()) < 5000
    lines = plain.getvalue().splitlines()
    assert "more documents are expected to bring" in lines[-1]
    assert not any("more documents" in line for line in lines[1:-1])


def test_a_budget_of_gain_alone_promises_no_number_of_trials(tmp_path: Path, data: Path) -> None:
    plain = io.StringIO()
    screen = Screen(Console(file=plain, soft_wrap=True, width=300, highlight=False))
    study = study_file(data=str(data), sampler={"name": "auto"}, budget={"gain": 20.0})
    with open_search(
        study, "all", name="test", runs=tmp_path, screen=screen, worker=two_hills
    ) as search:
        search.work()
    first = plain.getvalue().splitlines()[0]
    assert "less where more documents are expected to bring less than 20" in first
    assert "trials" not in first and "candidates" not in first


@pytest.mark.parametrize("changed", [{"goal": "worst"}, {"keep": {"shop": -20.0}}], ids=str)
def test_status_names_the_best_that_the_search_goes_by(
    tmp_path: Path, data: Path, changed: dict[str, Any]
) -> None:
    outcome, _ = run(tmp_path, data, racing="off", budget={"trials": 14}, **changed)
    assert outcome.winner is not None
    means = {t.number: t.scores.mean for t in outcome.trials if t.scores is not None}
    assert max(means.values()) > means[outcome.winner.number]  # the comparison means something
    file = tmp_path / "test.yaml"
    content = study_file(data=str(data), **{"racing": "off", "budget": {"trials": 14}, **changed})
    file.write_text(content.model_dump_json(exclude_unset=True), encoding="utf-8")
    best = open_stored(file, "all", tmp_path).view().best
    assert best is not None
    assert best.trial.number == outcome.winner.number
