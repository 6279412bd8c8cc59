"""Which of equals is best, and what follows from scores that do not differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exme.evaluators.scores import DocumentScores
from exme.search.merging.candidate import Candidate
from exme.search.racing.field import Field, Runner, front_of, incumbent_of
from exme.search.racing.goal import Goal
from exme.search.racing.strata import Draw, Estimate, Order, single_stratum
from exme.search.reports.exports.selection import ranking
from exme.search.reports.pages.front_chart import pareto_front
from exme.search.trials.partial import Partial
from exme.search.trials.race_log import RaceLog
from exme.search.trials.ranking import (
    best_known,
    best_trial,
    distance,
    from_inputs,
    is_flat,
    is_input,
)
from exme.search.trials.trial import TrialRecord
from tests.helpers.searches.landscape import PEAK, Flat, Landscape
from tests.helpers.searches.opened import Opened

IDS = tuple(f"d{i}" for i in range(8))


def candidate(**coefficients: float) -> Candidate:
    return Candidate(coefficients, "exme", "float32", {})


def scores(*values: float) -> DocumentScores:
    return DocumentScores("gsm8k", "search", "m", IDS[: len(values)], values, 0)


def trial(number: int, solved: float = 4, **coefficients: float) -> TrialRecord:
    """A complete trial that has solved so many of 8 documents."""
    values = [float(i < solved) for i in range(8)]
    return TrialRecord(number, "complete", "auto", candidate(**coefficients), scores(*values))


def part(number: int, seen: Mapping[int, float], **coefficients: float) -> TrialRecord:
    """A trial that was scored on some documents."""
    some = DocumentScores(
        "gsm8k", "search", "m", tuple(IDS[i] for i in seen), tuple(seen.values()), 0
    )
    race_log = RaceLog(
        Draw(single_stratum(8), (0, 0, 0)),
        Partial.blank({"gsm8k": IDS}).add(some),
        Estimate(0.5, 0.1, len(seen)),
    )
    return TrialRecord(number, "paused", "auto", candidate(**coefficients), race_log=race_log)


def test_a_tie_goes_to_the_input_then_to_the_nearest_to_one_then_to_the_earliest() -> None:
    wild, near, alone = trial(0, a=1.6, b=1.6), trial(1, a=0.9, b=0.1), trial(2, a=1.0, b=0.0)
    twin = trial(3, a=0.1, b=0.9)
    assert best_trial([wild, near, twin]) is near
    assert best_trial([wild, near, alone, twin]) is alone
    assert [t.number for t in ranking([wild, twin, near, alone])] == [2, 1, 3, 0]
    assert best_trial([wild, alone, trial(4, 5, a=1.6, b=1.6)]).number == 4  # type: ignore[union-attr]


def test_the_base_is_an_input_and_near_it_is_near_one() -> None:
    assert is_input(trial(0, a=0.0, b=0.0)) and not is_input(trial(0, a=0.0, b=0.1))
    assert from_inputs(candidate(a=0.1, b=0.0)) == pytest.approx(0.1)
    assert from_inputs(candidate(a=0.5, b=0.5)) == pytest.approx(np.sqrt(0.5))


def test_a_task_vector_alone_is_no_input() -> None:
    assert distance(trial(0, sums=0.0, doge=1.0)) == pytest.approx(1.0)  # from the base
    assert is_input(trial(0, sums=1.0, doge=0.0))


def test_an_input_whose_deltas_are_masked_is_no_input() -> None:
    masked = Candidate({"a": 1.0}, "ties", "float32", {}, parameters={"density": 0.5})
    assert 0 < from_inputs(masked) < 0.001


def test_groups_are_as_far_as_they_are_on_average() -> None:
    grouped = Candidate(
        {"a": 1.0},
        "exme",
        "float32",
        {},
        groups={"blocks": 2},
        grouped={"x": {"a": 1.3}, "y": {"a": 1.0}},
    )
    assert from_inputs(grouped) == pytest.approx(0.3 / np.sqrt(2))


def test_where_a_study_measures_the_shift_a_tie_goes_to_the_lower_one() -> None:
    def shifted(number: int, shift: float, **coefficients: float) -> TrialRecord:
        found = trial(number, **coefficients)
        return TrialRecord(**{**vars(found), "shift": shift, "parent": "a"})

    far, near = shifted(0, 0.9, a=0.9, b=0.1), shifted(1, 0.3, a=0.5, b=0.5)
    assert best_trial([far, near]) is near
    assert best_trial([far, near, shifted(2, 1.2, a=0.0, b=1.0)]).number == 2  # type: ignore[union-attr]


def test_values_that_differ_in_their_last_digit_are_a_tie() -> None:
    first = TrialRecord(**{**vars(trial(0, a=1.6, b=1.6)), "value": 0.1 + 0.2})
    second = TrialRecord(**{**vars(trial(1, a=1.0, b=0.0)), "value": 0.3})
    assert best_trial([first, second]) is second and best_known([first, second]) is second


def test_the_incumbent_of_a_race_and_a_front_go_by_the_same_rule() -> None:
    order = Order(np.arange(8), single_stratum(8).appeal, single_stratum(8))

    def runner(away: float, *values: float) -> Runner:
        return Runner(np.zeros(2), order, np.array(values), distance=away)

    same = (1.0,) * 4 + (0.0,) * 4
    runners = [runner(0.8, *same), runner(0.2, *same), runner(0.4, *same)]
    assert incumbent_of(runners, Field((8,))) == 1
    field = Field((4, 4), Goal((0.5, 0.5), "pareto"))
    assert front_of(runners, field) == [1]
    both = [trial(0, a=1.6, b=1.6), trial(1, a=1.0, b=0.0)]
    assert [t.number for t in pareto_front(ranking(both), both)] == [1]


def test_scores_are_flat_where_none_differ_as_far_as_can_be_compared() -> None:
    assert is_flat([]) and is_flat([trial(0, a=1.0)])
    assert is_flat([trial(0, a=1.0), trial(1, a=0.5)])
    assert not is_flat([trial(0, a=1.0), trial(1, 5, a=0.5)])
    whole = trial(0, 4, a=1.0)
    assert is_flat([whole, part(1, {0: 1.0, 7: 0.0}, a=0.5)])
    assert not is_flat([whole, part(1, {0: 1.0, 7: 1.0}, a=0.5)])
    assert is_flat([part(0, {0: 1.0, 1: 0.0}, a=1.0), part(1, {1: 0.0, 2: 1.0}, a=0.5)])
    assert not is_flat([part(0, {0: 1.0, 1: 0.0}, a=1.0), part(1, {1: 1.0}, a=0.5)])


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["auto", "random"])
@pytest.mark.parametrize("racing", ["off", {"chunk": 64}])
def test_a_flat_search_names_an_input_moves_no_bound_and_finds_nothing_important(
    tmp_path: Path, racing: Any, sampler: str
) -> None:
    opened = Opened(
        tmp_path,
        racing=racing,
        sampler=sampler,
        budget={"trials": 14},
        scorer=lambda d: Flat(d, PEAK),
    )
    outcome = opened.search.run()
    assert outcome.winner is not None and is_input(outcome.winner)
    assert outcome.importance == {}


def test_importances_are_told_where_the_best_is_an_input(tmp_path: Path) -> None:
    peak = {"sums": 1.0, "products": 0.0}
    opened = Opened(
        tmp_path,
        peak=peak,
        sampler={"name": "random"},
        budget={"trials": 20},
        scorer=lambda d: Landscape(d, peak, width=0.4),
    )
    outcome = opened.search.run()
    assert outcome.winner is not None and is_input(outcome.winner)
    assert set(outcome.importance) == {"sums", "products"}


def test_known_points_alone_say_nothing_of_importance(tmp_path: Path) -> None:
    opened = Opened(tmp_path, budget={"trials": 5})
    outcome = opened.search.run()
    assert {t.origin for t in outcome.trials}.isdisjoint({"random", "auto"})
    assert outcome.importance == {}
