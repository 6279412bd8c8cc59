"""The race against a front: whom it stops, and how often wrongly."""

from __future__ import annotations

import numpy as np
import pytest

from exme.search.racing.domination import Domination
from exme.search.racing.race import Leg, Race
from exme.search.racing.strata import (
    Floats,
    Order,
    draw_order,
    side_by_side,
    single_stratum,
    stratify,
)

SIZES = (160, 120)
PARTS = (slice(0, 160), slice(160, 280))


def solved(*shares: float, seed: int = 0) -> Floats:
    """Outcomes on both suites: exactly these shares of their documents, which ones by chance."""
    generator = np.random.default_rng(seed)
    values = []
    for size, share in zip(SIZES, shares, strict=True):
        suite = np.arange(size) < round(share * size)
        values.append(generator.permutation(suite.astype(float)))
    return np.concatenate(values)


# Each is best on one suite, the third is between.
FRONT = [solved(0.8, 0.3, seed=1), solved(0.3, 0.8, seed=2), solved(0.6, 0.6, seed=3)]


def order_of(seed: int, known: list[Floats]) -> Order:
    """As a search draws it: strata within each suite, suites of unequal weight."""
    parts = [stratify([v[part] for v in known]) for part in PARTS]
    return draw_order(side_by_side(parts, [1.0, 0.6]), seed)


def stopped(share: tuple[float, float], front: list[Floats], races: int) -> tuple[float, float]:
    """Share of races that were lost, and the mean number of documents."""
    ends = []
    for seed in range(races):
        x, order = solved(*share, seed=1000 + seed), order_of(seed, front)
        race = Domination(order, PARTS, [Leg(0, y) for y in front])
        ends.append(race.stops_at(x[order.documents]))
    return float(np.mean([e is not None for e in ends])), float(
        np.mean([e or sum(SIZES) for e in ends])
    )


# 400 races: a true rate of 0.05 would pass 0.085 in one case of a thousand. Each candidate is exactly as good as the
# first member of its front on one suite, and most are beaten on the other as badly as can be.
@pytest.mark.parametrize(
    ("share", "members"),
    [
        ((0.8, 0.0), (0,)),
        ((0.8, 0.0), (0, 1, 2)),
        ((0.0, 0.8), (1,)),
        ((0.0, 0.8), (1, 2)),
        ((0.6, 0.0), (2,)),
        ((0.6, 0.6), (2, 0, 1)),
    ],
)
def test_a_candidate_that_is_not_dominated_is_seldom_stopped_however_many_rivals(
    share: tuple[float, float], members: tuple[int, ...]
) -> None:
    front = [FRONT[i] for i in members]
    assert not any(dominates(y, solved(*share)) for y in front[:1])
    assert stopped(share, front, 400)[0] <= 0.085


def dominates(y: Floats, x: Floats) -> bool:
    return all(y[part].mean() > x[part].mean() for part in PARTS)


def test_a_candidate_that_is_clearly_dominated_is_stopped_early() -> None:
    lost, documents = stopped((0.25, 0.2), FRONT, 60)
    assert lost == 1
    assert documents < 0.5 * sum(SIZES)
    assert stopped((0.05, 0.05), FRONT, 60)[1] < documents


def test_a_front_stops_sooner_than_bonferroni_would() -> None:
    """The mean of the rivals' evidence is at least a third of the largest."""
    for seed in range(20):
        x, order = solved(0.3, 0.3, seed=seed), order_of(seed, FRONT)
        seen = x[order.documents]
        alone = [Domination(order, PARTS, [Leg(0, y)]).evidence(seen) for y in FRONT]
        together = Domination(order, PARTS, [Leg(0, y) for y in FRONT]).evidence(seen)
        finite = np.isfinite(together)
        assert np.allclose(together[finite], np.mean(alone, axis=0)[finite])
        assert (together >= np.max(alone, axis=0) / 3).all()


def test_one_suite_and_one_rival_are_the_plain_race() -> None:
    x, y = solved(0.3, 0.5)[:160], FRONT[0][:160]
    order = draw_order(single_stratum(160), 4)
    seen = x[order.documents]
    ours = Domination(order, [slice(0, 160)], [Leg(0, y)]).evidence(seen)
    assert np.array_equal(ours, Race(order, (Leg(0, y),)).wealth(seen))


def test_a_new_front_is_raced_from_its_document_on_and_keeps_the_error_rate() -> None:
    old, ends = FRONT[:1], []
    for seed in range(400):
        x, order = solved(0.8, 0.0, seed=1000 + seed), order_of(seed, FRONT)
        legs = [Leg(0, y) for y in old] + [Leg(70, y) for y in FRONT]
        race = Domination(order, PARTS, legs)
        ends.append(race.stops_at(x[order.documents]) is not None)
    assert np.mean(ends) <= 0.085
    x, order = solved(0.25, 0.2), order_of(0, FRONT)
    seen = x[order.documents]
    legs = [Leg(0, old[0]), *(Leg(70, y) for y in FRONT)]
    evidence = Domination(order, PARTS, legs).evidence(seen)
    assert np.array_equal(evidence[:70], Domination(order, PARTS, legs[:1]).evidence(seen)[:70])


def test_it_is_the_rival_with_the_strongest_evidence_to_which_a_candidate_has_lost() -> None:
    x, order = solved(0.5, 0.05), order_of(3, FRONT)
    race = Domination(order, PARTS, [Leg(0, y) for y in FRONT])
    at = race.stops_at(x[order.documents])
    assert at is not None
    assert dominates(FRONT[race.strongest(x[order.documents][:at])], x)


def test_a_metric_without_a_highest_value_stops_nobody() -> None:
    x, order = solved(0.0, 0.0), order_of(0, FRONT)
    race = Domination(order, PARTS, [Leg(0, y) for y in FRONT], highest=float("inf"))
    assert race.stops_at(x[order.documents][:200]) is None
