"""A search ends when its budget is spent, or when nothing is left to try, and says which."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exme.search.merging.candidate import Candidate
from exme.search.proposing.box import Box
from exme.search.proposing.policy import NOTHING_LEFT
from exme.search.proposing.untried import SMALL, Untried
from exme.search.scoring.worker import Scored
from exme.search.trials.budget import spent
from exme.search.trials.trial import TrialRecord
from tests.helpers.searches.landscape import PEAK, Flat, Landscape
from tests.helpers.searches.opened import Opened, close

# Seconds that a document takes.
EACH = 0.005
SAMPLERS = ["auto", "gp", "cmaes", "tpe", "random", "qmc"]
# (two values a coefficient, the only four candidates there are)
FOUR = {"coefficients": [1.0, 1.0001]}


def searched(
    folder: Path, kind: type[Landscape] = Flat, fork: bool = False, **changed: Any
) -> tuple[list[TrialRecord], str]:
    """The trials of a search without its proof, and the last line."""
    opened = Opened(folder, fork=fork, **changed, scorer=lambda d: kind(d, PEAK))
    opened.search.work()
    close(opened)
    return opened.search.storage.trials(), opened.lines[-1]


def digests(trials: list[TrialRecord]) -> list[str]:
    """Of the trials that began a candidate."""
    return [t.candidate.digest for t in trials if t.candidate and t.continues is None]


@pytest.mark.parametrize("kind", [Flat, Landscape])
@pytest.mark.parametrize(("documents", "chunk"), [(96, 64), (70, 64), (33, 32), (64, 64), (40, 7)])
def test_the_adaptive_sampler_spends_its_budget_on_candidates_that_differ(
    tmp_path: Path, kind: type[Landscape], documents: int, chunk: int
) -> None:
    for seed in range(2):
        trials, said = searched(
            tmp_path / str(seed),
            kind,
            documents={"search": documents, "report": 20},
            racing={"chunk": chunk},
            budget={"trials": 14},
            sampler={"name": "auto", "seed": seed},
        )
        assert spent(trials)[0] == 14, (seed, said)
        assert said.startswith("The search is over: 14 candidates in ")
        assert not [t for t in trials if t.duplicate_of is not None]
        assert len(set(digests(trials))) == 14


@pytest.mark.parametrize("racing", [{"chunk": 64}, "off"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_spends_a_budget_of_documents_on_a_flat_score(
    tmp_path: Path, sampler: str, racing: Any
) -> None:
    trials, said = searched(
        tmp_path,
        documents={"search": 96, "report": 20},
        racing=racing,
        budget={"documents": 1200},
        sampler={"name": sampler, "seed": 3},
    )
    assert spent(trials)[1] >= 1200 and said.endswith("documents.")
    assert not [t for t in trials if t.duplicate_of is not None]


@pytest.mark.parametrize("racing", ["on", "off"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_of_few_candidates_tries_each_once_and_says_that_nothing_is_left(
    tmp_path: Path, sampler: str, racing: str
) -> None:
    for kind in (Flat, Landscape):
        trials, said = searched(
            tmp_path / kind.__name__,
            kind,
            space=FOUR,
            racing=racing,
            budget={"trials": 12},
            sampler={"name": sampler},
        )
        assert said == f"The search is over: {NOTHING_LEFT}."
        assert len(digests(trials)) == len(set(digests(trials))) == spent(trials)[0] == 4
        assert {t.state for t in trials} <= {"complete", "rejected", "paused"}


def test_a_search_over_methods_that_are_one_sum_tries_it_once(tmp_path: Path) -> None:
    trials, said = searched(
        tmp_path,
        checkpoints={"sums": "mini/sums"},
        method=["exme", "task_arithmetic"],
        space=FOUR,
        budget={"trials": 9},
    )
    assert len(digests(trials)) == 2 and NOTHING_LEFT in said


def test_workers_together_spend_the_budget_and_repeat_nothing(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "documents": {"search": 96, "report": 20},
        "racing": {"chunk": 64},
        "budget": {"trials": 16},
        "sampler": {"name": "auto", "seed": 3},
    }
    crew = [Opened(tmp_path, **settings, scorer=lambda d: Flat(d, PEAK)) for _ in range(3)]
    threads = [threading.Thread(target=one.search.work) for one in crew]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    trials = crew[0].search.storage.trials()
    assert spent(trials)[0] == 16
    assert not [t for t in trials if t.duplicate_of is not None]
    assert all(one.lines[-1].startswith("The search is over: 16 candidates in ") for one in crew)


class Sleeping(Landscape):
    """A landscape that takes its time over every document."""

    def score_part(self, candidate: Candidate, documents: Sequence[int]) -> Scored:
        seconds = EACH * len(documents)
        time.sleep(seconds)
        return replace(super().score_part(candidate, documents), seconds={"model": seconds})

    def score(self, candidate: Candidate, split: str) -> Scored:
        found = super().score(candidate, split)
        if split == "report":
            time.sleep(EACH * found.scores.count)
        return found


@pytest.mark.slow
def test_workers_together_keep_to_their_hours_with_the_proof(tmp_path: Path) -> None:
    hours = 45 / 3600
    settings: dict[str, Any] = {
        "documents": {"search": 96, "report": 500},
        "racing": {"chunk": 16},
        "budget": {"hours": hours},
        "sampler": "auto",
    }
    crew = [Opened(tmp_path, **settings, scorer=lambda d: Sleeping(d, PEAK)) for _ in range(2)]
    threads = [threading.Thread(target=one.search.work) for one in crew]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all("The search is over: 0.0125 hours" in one.lines[-1] for one in crew)
    outcome = crew[0].search.run()  # as the command that started them does
    assert outcome.verdict.is_final
    assert all(sum(line.startswith("#") for line in one.lines) > 5 for one in crew)
    clocks = [timed.clock for timed in crew[0].search.storage.record.timed()]
    assert len(clocks) == 4  # base, sums, products, merged
    begun = min(t.clock.sitting for t in outcome.trials if t.clock)
    lasted = max(c.end for c in clocks) - begun
    assert max(t.clock.end for t in outcome.trials if t.clock) - begun < 0.9 * 3600 * hours
    assert 0.5 * hours <= lasted / 3600 <= 2 * hours  # (a busy machine's proof may take longer)


def test_workers_together_try_the_few_candidates_that_there_are(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"space": FOUR, "racing": "on", "sampler": "auto"}
    crew = [Opened(tmp_path, **settings) for _ in range(3)]
    threads = [threading.Thread(target=one.search.work) for one in crew]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    trials = crew[0].search.storage.trials()
    assert len(digests(trials)) == 4 and not [t for t in trials if t.duplicate_of is not None]
    assert all(NOTHING_LEFT in one.lines[-1] for one in crew)


def test_a_resumed_search_that_has_nothing_left_scores_nothing(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"space": FOUR, "racing": "on", "sampler": "auto"}
    before, _ = searched(tmp_path, **settings)
    after, said = searched(tmp_path, **settings)
    assert len(after) == len(before) and NOTHING_LEFT in said


@pytest.mark.parametrize("sampler", ["auto", "gp", "random"])
def test_a_bound_on_the_shift_that_leaves_little_room_repeats_nothing(
    tmp_path: Path, sampler: str
) -> None:
    trials, _ = searched(
        tmp_path,
        documents={"search": 96, "report": 20},
        racing={"chunk": 64},
        shift={"bound": 0.01},
        sampler={"name": sampler},
        budget={"trials": 14},
    )
    assert spent(trials)[0] == 14
    assert not [t for t in trials if t.duplicate_of is not None]


def candidate(proposal: Any) -> Candidate:
    return Candidate({"a": float(proposal["a"])}, "exme", "float32", {})


def untried(trials: list[TrialRecord], *bounds: float) -> Untried:
    return Untried(trials, Box({"a": (bounds[0], bounds[1])}, {}), dict, candidate)


def test_what_is_in_hand_or_failed_is_not_proposed_and_what_was_left_is() -> None:
    for state, is_new in (
        ("running", False),
        ("failed", False),
        ("rejected", False),
        ("paused", True),
    ):
        trial = TrialRecord(0, state, "auto", candidate({"a": 0.5}))
        assert untried([trial], 0, 1).has({"a": 0.50001}) is is_new
        assert untried([trial], 0, 1).has({"a": 0.5002})


def test_a_small_space_is_gone_through_to_its_last_proposal() -> None:
    step = 1e-4
    all_but_one = [
        TrialRecord(i, "rejected", "auto", candidate({"a": i * step}))
        for i in range(1000)
        if i != 617
    ]
    found = untried(all_but_one, 0, 0.0999).draw(0)
    assert found is not None and found["a"] == pytest.approx(617 * step)
    last = TrialRecord(617, "rejected", "auto", candidate(found))
    assert untried([*all_but_one, last], 0, 0.0999).draw(0) is None
    assert SMALL > 1000
