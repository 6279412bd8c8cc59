"""Whole searches on a known landscape: order, budget, resumption, proof."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from exme.evaluators.vllm.logs import EngineDied
from exme.search.merging.candidate import Candidate
from exme.search.running.loop import MOST_DEATHS
from exme.search.running.search import open_search
from exme.search.scoring.worker import Scored
from exme.tasks.errors import UserError
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.opened import Opened, close, study_file


def test_a_search_tries_the_known_points_first_and_then_the_sampler(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    outcome = opened.search.run()
    origins = [t.origin for t in outcome.trials]
    assert origins[:3] == ["sums alone", "products alone", "mean"]
    assert origins[3:5] == ["ExPO 0.3 of sums", "ExPO 0.5 of sums"]
    assert set(origins[5:]) == {"random"}
    coefficients = [dict(t.candidate.coefficients) for t in outcome.trials[:5] if t.candidate]
    assert coefficients == [
        {"sums": 1.0, "products": 0.0},
        {"sums": 0.0, "products": 1.0},
        {"sums": 0.5, "products": 0.5},
        {"sums": 1.3, "products": 0.0},
        {"sums": 1.5, "products": 0.0},
    ]


def test_a_search_ends_above_its_inputs_and_proves_it(tmp_path: Path) -> None:
    outcome = Opened(tmp_path, budget={"trials": 20}, sampler={"name": "gp"}).search.run()
    assert outcome.winner is not None and outcome.winner.candidate is not None
    found = outcome.winner.candidate.coefficients
    assert max(abs(found[n] - PEAK[n]) for n in PEAK) < 0.35
    assert outcome.merged is not None
    assert all(outcome.merged.report.mean > entry.report.mean for entry in outcome.inputs)
    assert [e.name for e in outcome.inputs] == ["base", "sums", "products"]
    assert outcome.use == 1


def test_every_model_is_scored_once_on_each_split(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    opened.search.run()
    calls = opened.landscape.calls
    assert len(calls) == len(set(calls))
    assert sum(split == "report" for _, split in calls) == 4


def test_the_same_command_on_a_finished_search_scores_nothing(tmp_path: Path) -> None:
    first = Opened(tmp_path)
    before = first.search.run()
    close(first)
    again = Opened(tmp_path)
    after = again.search.run()
    assert again.landscape.calls == []
    assert [t.number for t in after.trials] == [t.number for t in before.trials]
    assert after.merged == before.merged


def test_an_interrupted_search_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    whole = Opened(tmp_path / "whole").search.run()

    class Stops(Landscape):
        left = 7

        def score(self, candidate: Candidate, split: str) -> Scored:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().score(candidate, split)

    broken = Opened(tmp_path / "broken", scorer=lambda d: Stops(d, PEAK))
    with pytest.raises(KeyboardInterrupt):
        broken.search.run()
    close(broken)
    resumed = Opened(tmp_path / "broken")
    outcome = resumed.search.run()
    cut = [t for t in outcome.trials if t.state == "cut off"]
    assert len(cut) == 1
    assert any("cut off and is taken up again" in line for line in broken.lines)

    def scored(trials: Any) -> list[Any]:
        return [(t.origin, t.candidate, t.scores) for t in trials if t.scores]

    # The trial after the cut has another number, hence another seed; up to there all is equal.
    assert scored(outcome.trials)[:8] == scored(whole.trials)[:8]
    assert len(scored(outcome.trials)) == len(scored(whole.trials))


def test_a_candidate_that_is_not_finite_fails_as_a_trial_and_the_search_goes_on(
    tmp_path: Path,
) -> None:
    class Overflows(Landscape):
        def score(self, candidate: Candidate, split: str) -> Scored:
            if candidate.coefficients["sums"] == 1.3:
                raise FloatingPointError("tensor 'lm_head.weight' of the candidate is not finite")
            return super().score(candidate, split)

    opened = Opened(tmp_path, scorer=lambda d: Overflows(d, PEAK))
    outcome = opened.search.run()
    failed = [t for t in outcome.trials if t.state == "failed"]
    assert [t.origin for t in failed] == ["ExPO 0.3 of sums"]
    assert "lm_head.weight" in failed[0].message
    assert failed[0].candidate is not None
    assert sum(t.scores is not None for t in outcome.trials) == 11
    assert any("failed: tensor 'lm_head.weight'" in line for line in opened.lines)


class Dying(Landscape):
    """Its engine ends as so many candidates are scored; another is started each time."""

    deaths = 0

    def score(self, candidate: Candidate, split: str) -> Scored:
        if self.deaths and split == "search":
            self.deaths -= 1
            raise EngineDied("vLLM's processes have ended, see vllm.log")
        return super().score(candidate, split)


@pytest.mark.parametrize("racing", ["off", "on"])
def test_an_engine_that_ends_frees_its_trial_and_the_search_goes_on(
    racing: str, tmp_path: Path
) -> None:
    opened = Opened(tmp_path, racing=racing, scorer=lambda d: Dying(d, PEAK))
    worker = opened.landscape
    assert isinstance(worker, Dying)
    worker.deaths = MOST_DEATHS - 1
    outcome = opened.search.run()
    assert not [t for t in outcome.trials if t.state == "failed"]
    assert outcome.winner is not None
    assert sum("the engine is started again" in line for line in opened.lines) == 2
    cut = [t.candidate for t in outcome.trials if t.state == "cut off"]
    scored = [t.candidate for t in outcome.trials if t.scores is not None or t.state == "rejected"]
    assert len(cut) == 2
    assert all(c in scored for c in cut)


def test_an_engine_that_always_ends_ends_the_search_and_the_same_command_resumes(
    tmp_path: Path,
) -> None:
    opened = Opened(tmp_path, scorer=lambda d: Dying(d, PEAK))
    worker = opened.landscape
    assert isinstance(worker, Dying)
    worker.deaths = 100
    with pytest.raises(UserError, match=r"have ended, see vllm\.log, 3 times in a row"):
        opened.search.run()
    worker.deaths = 0
    assert sum(t.scores is not None for t in opened.search.run().trials) == 12


def test_a_known_candidate_is_not_scored_again(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    opened.search.storage.study.enqueue_trial(
        {"sums": 1.00001, "products": 0.0}, user_attrs={"origin": "by hand"}
    )
    outcome = opened.search.run()
    twins = [t for t in outcome.trials if t.duplicate_of is not None]
    assert len(twins) == 1
    paid = [t for t in outcome.trials if t.scores and t.duplicate_of is None]
    assert len(paid) == 12
    assert twins[0].scores == outcome.trials[twins[0].duplicate_of or 0].scores


def test_nothing_is_proposed_beyond_the_bounds(tmp_path: Path) -> None:
    space = {"coefficients": [0.0, 1.0]}
    outcome = Opened(tmp_path, peak={"sums": 1.4, "products": 0.5}, space=space).search.run()
    points = [t.candidate.coefficients.values() for t in outcome.trials if t.candidate]
    assert all(c <= 1.0 for point in points for c in point)  # not even ExPO goes beyond them


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["auto", "gp", "cmaes", "tpe", "random", "qmc"])
def test_every_sampler_proposes_within_bounds_without_repeating_itself(
    tmp_path: Path, sampler: str
) -> None:
    outcome = Opened(tmp_path, sampler={"name": sampler, "seed": 1}).search.run()
    points = [tuple(t.candidate.coefficients.values()) for t in outcome.trials if t.candidate]
    assert len(set(points)) == len(points) == 12
    assert all(0 <= c <= 2.4 for point in points for c in point)


@pytest.mark.slow
@pytest.mark.parametrize("budget", [{"documents": 128 * 7}, {"minutes": 8 / 60}])
def test_a_budget_of_documents_or_minutes_ends_the_search(
    tmp_path: Path, budget: dict[str, float]
) -> None:
    outcome = Opened(tmp_path, budget=budget).search.run()
    assert 6 <= sum(t.scores is not None for t in outcome.trials) <= 8


def test_one_checkpoint_is_extrapolated_along_a_line(tmp_path: Path) -> None:
    opened = Opened(
        tmp_path,
        peak={"sums": 1.2},
        checkpoints={"sums": "mini/sums"},
        method="expo",
        sampler={"name": "gp"},
    )
    outcome = opened.search.run()
    assert [t.origin for t in outcome.trials[:3]] == [
        "sums alone",
        "ExPO 0.3 of sums",
        "ExPO 0.5 of sums",
    ]
    assert outcome.winner is not None and outcome.winner.candidate is not None
    assert abs(outcome.winner.candidate.coefficients["sums"] - 1.2) < 0.2


@pytest.mark.slow
def test_linear_stays_on_the_line_between_its_checkpoints(tmp_path: Path) -> None:
    outcome = Opened(tmp_path, method="linear").search.run()
    for trial in outcome.trials:
        assert trial.candidate is not None, trial
        assert sum(trial.candidate.coefficients.values()) == pytest.approx(1, abs=2e-4)


@pytest.mark.slow
def test_two_searches_on_one_study_share_its_trials(tmp_path: Path) -> None:
    first, second = Opened(tmp_path), Opened(tmp_path)
    threads = [threading.Thread(target=o.search.run) for o in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls = first.landscape.calls + second.landscape.calls
    assert len(calls) == len(set(calls))  # nothing was scored twice, on either split
    assert sum(split == "search" for _, split in calls) == 12
    outcome = second.search.outcome()
    assert [t.state for t in outcome.trials] == ["complete"] * 12
    assert [t.origin for t in outcome.trials[:3]] == ["sums alone", "products alone", "mean"]
    assert len({t.origin for t in outcome.trials} - {"random"}) == 5


def test_a_study_is_not_continued_with_other_documents(tmp_path: Path) -> None:
    close(Opened(tmp_path))
    with pytest.raises(UserError, match="documents changed since study 'test-gsm8k' was begun"):
        Opened(tmp_path, documents={"search": 64, "report": 400})


def test_a_changed_study_is_forked_when_asked_and_found_again(tmp_path: Path) -> None:
    fewer = {"search": 64, "report": 400}
    close(Opened(tmp_path))
    forked = Opened(tmp_path, fork=True, documents=fewer)
    close(forked)
    assert forked.search.folder.name == "test-gsm8k-fork1"
    assert forked.lines == ["This is study test-gsm8k-fork1: test-gsm8k was begun otherwise."]
    again = Opened(tmp_path, documents=fewer)
    close(again)
    assert again.search.folder == forked.search.folder
    assert Opened(tmp_path).search.folder.name == "test-gsm8k"


def test_a_study_in_another_format_is_refused_and_can_be_forked(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    study = opened.search.storage.study
    pinned = {k: v for k, v in study.user_attrs["pinned"].items() if k != "format"}
    study.set_user_attr("pinned", pinned)
    close(opened)
    with pytest.raises(UserError, match=r"begun by another version of ExMe.*give --fork"):
        Opened(tmp_path)
    assert Opened(tmp_path, fork=True).search.folder.name == "test-gsm8k-fork1"


def test_a_larger_budget_continues_the_study(tmp_path: Path) -> None:
    first = Opened(tmp_path)
    first.search.run()
    close(first)
    outcome = Opened(tmp_path, budget={"trials": 15}).search.run()
    assert sum(t.scores is not None for t in outcome.trials) == 15


def test_the_cost_is_said_before_the_first_trial(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    opened.search.run()
    assert opened.lines[0].startswith("This will take about ")
    for part in (
        "of memory",
        "of disk",
        "documents (1,536 to score 12 candidates, 4 models on 400",
        " of proof",
    ):
        assert part in opened.lines[0]
    assert opened.lines[1].startswith("#0 ")


def test_an_unknown_suite_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'gsm8'.*did you mean 'gsm8k'"):
        open_search(study_file(), "gsm8", runs=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_cmaes_goes_on_with_its_state_in_another_process(tmp_path: Path) -> None:
    """Generations follow each other over a resume: what Optuna's sampler knows is in the trials."""
    for trials in (20, 40):
        opened = Opened(tmp_path, sampler={"name": "cmaes", "seed": 1}, budget={"trials": trials})
        outcome = opened.search.run()
        study = opened.search.storage.study
        generations = [t.system_attrs.get("cma:generation") for t in study.get_trials()]
        close(opened)
    drawn = [g for g in generations if g is not None]
    assert drawn == sorted(drawn) and drawn[0] == 0 and drawn[-1] >= 4
    assert outcome.winner is not None and outcome.winner.scores is not None
