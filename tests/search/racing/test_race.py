"""The race: how often it stops whom, whatever is done to it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exme.search.racing.race import Leg, Race
from exme.search.racing.strata import Floats, draw_order, single_stratum, stratify

N = 300


def population(won: int, lost: int, both: int = 100) -> tuple[Floats, Floats]:
    """A candidate and an incumbent: documents that only one solves, that both do, that neither does."""
    x, y = np.zeros(N), np.zeros(N)
    x[:won], y[won : won + lost] = 1, 1
    x[won + lost : won + lost + both] = y[won + lost : won + lost + both] = 1
    return x, y


def others(y: Floats, seed: int) -> list[Floats]:
    """Outcomes of four candidates that differ from `y` on a sixth of the documents."""
    generator = np.random.default_rng(seed)
    return [np.where(generator.random(len(y)) < 1 / 6, 1 - y, y) for _ in range(4)]


def stopped(x: Floats, y: Floats, races: int, *, strata: bool = True) -> tuple[float, float]:
    """Share of races that were lost, and the mean number of documents."""
    ends = []
    for seed in range(races):
        known = stratify(others(y, seed)) if strata else single_stratum(N)
        order = draw_order(known, seed)
        ends.append(Race(order, (Leg(0, y),)).stops_at(x[order.documents]))
    return float(np.mean([e is not None for e in ends])), float(np.mean([e or N for e in ends]))


# 500 races: a true rate of 0.05 would pass 0.08 in one case of a thousand.
@pytest.mark.parametrize("strata", [False, True])
@pytest.mark.parametrize(("won", "lost"), [(60, 60), (15, 15), (1, 1), (100, 100), (70, 60)])
def test_a_candidate_that_is_as_good_is_seldom_stopped_however_often_one_looks(
    won: int, lost: int, strata: bool
) -> None:
    x, y = population(won, lost, both=50)
    assert stopped(x, y, 500, strata=strata)[0] <= 0.08


def test_a_candidate_that_is_worse_is_stopped_the_sooner_the_worse_it_is() -> None:
    documents = [stopped(*population(20, lost), 60)[1] for lost in (30, 50, 80, 120)]
    assert documents == sorted(documents, reverse=True)
    assert documents[-1] < 40
    assert documents[0] > 150


def test_a_worse_candidate_is_always_stopped_before_the_last_document_can_say_so() -> None:
    x, y = population(20, 21)
    assert stopped(x, y, 20)[0] == 1


def test_equal_outcomes_are_never_a_reason_to_stop() -> None:
    y = population(0, 150)[1]
    order = draw_order(single_stratum(N), 0)
    race = Race(order, (Leg(0, y),))
    assert race.stops_at(y[order.documents]) is None
    assert (race.wealth(y[order.documents]) <= 1).all()


@pytest.mark.parametrize("seed", range(20))
def test_wealth_is_never_negative_and_not_a_number(seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, y = generator.random((2, 40)).round(generator.integers(0, 3))
    order = draw_order(stratify(others(y.round(), seed)), seed)
    wealth = Race(order, (Leg(0, y),)).wealth(x[order.documents])
    assert (wealth >= 0).all()


def test_metrics_between_their_lowest_and_highest_value_keep_the_error_rate_too() -> None:
    generator = np.random.default_rng(1)
    y = generator.beta(2, 1, N)
    x = generator.permutation(y)  # other documents, the same mean
    assert stopped(x, y, 500)[0] <= 0.08
    assert stopped(np.clip(x - 0.25, 0, 1), y, 60)[0] == 1


def test_the_mean_wealth_of_a_candidate_that_is_as_good_is_at_most_one() -> None:
    x, y = population(40, 40)
    for place in (5, 30, 120):
        wealths = []
        for seed in range(3000):
            order = draw_order(single_stratum(N), seed)
            race = Race(order, (Leg(0, y),))
            wealths.append(race.wealth(x[order.documents][:place])[-1])
        assert np.mean(wealths) < 1 + 4 * np.std(wealths) / math.sqrt(len(wealths))


def test_a_race_goes_on_against_a_better_incumbent_at_the_same_error_rate() -> None:
    y, first = population(60, 60)
    last = np.maximum(first, np.arange(N) < 10)  # better than the first
    ends = []
    for seed in range(500):
        order = draw_order(stratify(others(first, seed)), seed)
        x = np.random.default_rng(seed).permutation(last)  # as good as the last
        legs = (Leg(0, first), Leg(60, last))
        ends.append(Race(order, legs).stops_at(x[order.documents]) is not None)
    assert np.mean(ends) <= 0.08
    order = draw_order(single_stratum(N), 3)
    seen = y[order.documents]
    whole = Race(order, (Leg(0, first),)).wealth(seen)
    halves = Race(order, (Leg(0, first), Leg(100, first))).wealth(seen)
    assert np.allclose(whole, halves)


def test_a_race_cannot_begin_without_an_incumbent_or_with_other_documents() -> None:
    order = draw_order(single_stratum(N), 0)
    with pytest.raises(ValueError, match="at least one"):
        Race(order, ())
    with pytest.raises(ValueError, match="40 values of the incumbent, 300 documents"):
        Race(order, (Leg(0, np.zeros(40)),))
    with pytest.raises(ValueError, match="above the highest"):
        Race(order, (Leg(0, np.full(N, 2.0)),))
    with pytest.raises(ValueError, match="error rate"):
        Race(order, (Leg(0, np.zeros(N)),), error_rate=1.0)
