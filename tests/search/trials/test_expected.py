"""What a candidate is expected to score: without the winner's curse, with an interval that holds."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from exme.search.racing.belief import Belief
from exme.search.racing.field import Field, Runner, draw
from exme.search.racing.strata import Estimate, Floats, draw_order, single_stratum
from exme.search.statistics.intervals import Interval, share_interval
from exme.search.trials.expected import (
    collapsed,
    documents_worth,
    expected_interval,
    expected_scores,
    mean_of,
)

USUAL = np.array([1.2, 1.2])


def shown_of(runners: Sequence[Runner]) -> list[Interval]:
    """What is shown of candidates on one suite of 256 documents."""
    points, values = (
        np.stack(found) for found in zip(*[(r.point, r.values) for r in runners], strict=True)
    )
    living = ~collapsed(values, share=True)
    means = Belief(points[living], values[living], USUAL).mean(points)
    return [found for _, found in expected_scores(runners, means, slice(0, 256))]


def runner(outcomes: Floats, seen: int, seed: int, point: Floats | None = None) -> Runner:
    order = draw_order(single_stratum(len(outcomes)), seed)
    return Runner(np.zeros(2) if point is None else point, order, outcomes[order.documents[:seen]])


@pytest.mark.slow
def test_the_intervals_of_the_first_candidates_hold_on_real_outcomes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(root))
    estimates = importlib.import_module("benchmarks.estimates")
    landscape = estimates.load(estimates.FOLDER / "gsm8k-mini.npz")
    found = estimates.coverage(landscape, range(25))
    assert {name.split(", ")[1] for name in found} == {
        "candidate 1", "candidate 2", "candidate 5", "candidate 10", "1% solved", "99% solved",
    }  # fmt: skip
    assert np.mean(list(found.values())) > 0.95
    assert min(found.values()) >= 0.84  # (21 of 25: seldom where 95% is true)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("number", [1, 5, 10])
def test_nothing_solved_of_sixteen_promises_no_more_than_sixteen_documents_do(
    value: float, number: int
) -> None:
    field, runners = Field((256,)), list[Runner]()
    for k in range(number):
        order = draw(runners, field, k).order
        runners.append(Runner(np.array([k / 10, 0.0]), order, np.full(16, value)))
    found = shown_of(runners)[-1]
    exact = share_interval(value, 16)
    assert found.low == pytest.approx(exact.low, abs=0.05)
    assert found.high == pytest.approx(exact.high, abs=0.05)
    assert found.high - found.low > 0.15


def beside(shares: list[float], more: list[Floats]) -> list[Interval]:
    """What is shown of candidates in a row that solve so much, and of more beyond a cliff, on 128 of 256 documents."""
    generator = np.random.default_rng(3)
    outcomes = [(generator.uniform(size=256) < share).astype(float) for share in shares]
    points = np.array([[k / 20, (k % 3) / 3] for k in range(len(shares) + len(more))])
    points[len(shares) :] += 1.0
    field, runners = Field((256,)), list[Runner]()
    for values, point in zip([*outcomes, *more], points, strict=True):
        order = draw(runners, field, len(runners)).order
        runners.append(Runner(point, order, values[order.documents[:128]]))
    return shown_of(runners)


def test_nothing_solved_beside_good_candidates_is_shown_as_nothing() -> None:
    *_, dead = beside([0.6] * 8, [np.zeros(256)])
    assert dead.estimate == pytest.approx(0.0, abs=1e-9) and dead.low == 0.0
    assert 0.005 < dead.high < 0.04  # (exact, 128 documents: 2.8%)


def test_all_solved_reaches_up_to_all() -> None:
    *_, sure = beside([0.9] * 8, [np.ones(256)])
    assert 0.9 < sure.estimate <= 1.0 and sure.high == 1.0


def test_collapsed_candidates_do_not_bring_back_the_winners_curse() -> None:
    """All equally good, 8 points apart by luck alone; the dead drove what is shown of them 10 points apart."""
    equal = beside([0.6] * 12, [])
    among = beside([0.6] * 12, [np.zeros(256)] * 3)[:12]
    assert max(found.estimate for found in among) == pytest.approx(
        max(found.estimate for found in equal), abs=0.01
    )
    assert np.ptp([found.estimate for found in among]) < 0.05


def test_who_scores_half_as_much_has_collapsed_only_when_that_is_sure() -> None:
    values = np.full((4, 128), np.nan)
    values[0] = np.arange(128) % 5 < 3
    values[1], values[2] = 0.0, np.arange(128) % 3 == 0
    values[3, :4] = 0.0
    assert collapsed(values, share=True).tolist() == [False, True, False, False]
    assert not collapsed(np.zeros((3, 128)), share=True).any()


def test_an_interval_shrinks_as_documents_come_and_does_not_jump_at_the_last() -> None:
    generator = np.random.default_rng(0)
    outcomes = (generator.uniform(size=256) < 0.6).astype(float)
    others = [runner((generator.uniform(size=256) < 0.5).astype(float), 64, k) for k in range(4)]
    widths, scores = [], []
    for seen in (16, 32, 64, 128, 192, 254, 255, 256):
        runners = [*others, runner(outcomes, seen, 9, np.array([0.5, 0.5]))]
        found = shown_of(runners)[-1]
        widths.append(found.high - found.low)
        scores.append(found.estimate)
    assert all(before > after - 0.002 for before, after in pairwise(widths))
    assert abs(widths[-1] - widths[-2]) < 0.002 and abs(scores[-1] - scores[-2]) < 0.005


def test_an_estimate_is_worth_the_documents_it_took_at_least_and_all_at_most() -> None:
    for count in (1, 16, 255, 256):
        for error in (0.0, 0.02, 0.2):
            worth = documents_worth(0.5, Estimate(0.5, error, count), 256)
            assert count <= worth <= 256
    assert documents_worth(0.3, Estimate(0.3, 0.01, 128), 256) > 200  # (others help much)


def test_the_mean_of_suites_stays_within_0_and_100_percent() -> None:
    parts = [share_interval(0.0, 8), share_interval(1.0, 300), share_interval(0.98, 20)]
    found = mean_of(parts)
    assert 0 <= found.low < found.estimate < found.high <= 1
    assert mean_of(parts[:1]) == parts[0]
    low = mean_of([share_interval(0.0, 8), share_interval(0.0, 4)])
    assert low.low == low.estimate == 0.0 and low.high < 1


def test_scores_that_are_no_shares_have_students_interval() -> None:
    values = np.array([0.5, 0.7, 0.9, np.nan])
    found = expected_interval(0.7, Estimate(0.7, 0.05, 3), values, share=False)
    error = np.sqrt(0.05**2 + 0.04 / 4)
    assert found.high - 0.7 == pytest.approx(4.302653 * error, rel=1e-5)
    one = expected_interval(0.7, Estimate(0.7, 0.5, 1), values[[0, 3]], share=False)
    assert one == Interval(0.7, -np.inf, np.inf)


def test_the_best_of_many_equal_candidates_is_shown_as_good_as_it_is() -> None:
    """All solve half of such documents: the best of 30 was counted 7 points too high, by luck alone."""
    counted, shown = [], []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        points = generator.uniform(0, 2, size=(30, 2))
        values = (generator.uniform(size=(30, 200)) < 0.5).astype(float)
        means = values.mean(1)
        found = Belief(points, values, USUAL).mean(points)
        counted.append(means.max() - 0.5)
        shown.append(found[np.argmax(means)] - 0.5)
    assert np.mean(counted) > 0.06
    assert abs(np.mean(shown)) < 0.02


def test_a_hill_of_scores_is_left_standing() -> None:
    """On documents that all candidates find equally hard; how hard they are is no candidate's merit."""
    generator = np.random.default_rng(1)
    points = generator.uniform(0, 2, size=(40, 2))
    chance = 0.3 + 0.5 * np.exp(-2 * ((points - 1) ** 2).sum(1))
    values = (generator.uniform(size=200) < chance[:, None]).astype(float)
    found = Belief(points, values, USUAL).mean(points)
    assert np.abs(found - chance).max() < 0.1
    assert np.ptp(found) > 0.8 * np.ptp(chance)


def test_one_candidate_and_candidates_that_never_differ_keep_their_scores() -> None:
    for count in (1, 3):
        points, values = np.ones((count, 2)), np.ones((count, 20))
        assert Belief(points, values, USUAL).mean(points) == pytest.approx(np.ones(count), abs=0.01)
