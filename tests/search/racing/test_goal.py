"""What is maximised over several suites."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exme.search.racing.goal import Goal, front, knee

LEVEL = (1 / 3, 1 / 3, 1 / 3)


def goal(**changed: object) -> Goal:
    return Goal(LEVEL, **changed).against([[0.5, 0.2, 0.4], [0.3, 0.6, 0.4]])  # type: ignore[arg-type]


def test_the_reference_is_the_best_input_suite_by_suite() -> None:
    assert goal().reference == (0.5, 0.6, 0.4)
    assert goal().gains([0.6, 0.6, 0.1]) == pytest.approx((0.1, 0.0, -0.3))


def test_the_mean_weighs_suites_as_the_study_says() -> None:
    weighted = Goal((0.5, 0.5, 0.0))
    assert weighted.value([0.6, 0.2, 0.9]) == pytest.approx(0.4)


def test_the_worst_suite_and_the_tail_of_suites() -> None:
    means = [0.7, 0.5, 0.5]  # gains 0.2, -0.1, 0.1
    assert goal(kind="worst").value(means) == pytest.approx(-0.1)
    assert goal(kind="cvar", tail=2).value(means) == pytest.approx(0.0)
    assert goal(kind="cvar", tail=3).value(means) == pytest.approx(0.2 / 3)
    assert goal(kind="worst").tangent(means) == (0, 1, 0)


@pytest.mark.parametrize("kind", ["mean", "worst", "cvar"])
def test_whoever_is_as_good_as_the_incumbent_is_as_good_in_its_tangent(kind: str) -> None:
    """The race rests on this: stopping by the tangent stops nobody who is better."""
    generator = np.random.default_rng(0)
    aim = goal(kind=kind, tail=2)
    for _ in range(500):
        x, y = generator.random((2, 3))
        if aim.value(x) >= aim.value(y):
            linear = np.array(aim.tangent(y))
            assert linear @ x >= linear @ y - 1e-12


def test_what_must_be_kept_makes_candidates_infeasible() -> None:
    keeps = goal(keep=(-math.inf, -0.005, -math.inf))
    assert keeps.shortfall([0.9, 0.6, 0.0]) == 0
    assert keeps.shortfall([0.9, 0.58, 0.0]) == pytest.approx(0.015)
    assert keeps.merit([0.9, 0.58, 0.0]) < keeps.value([0.9, 0.58, 0.0])


def test_whoever_is_at_the_bound_of_what_must_be_kept_keeps_it() -> None:
    """Of 50 documents one fewer is 2 points fewer, whatever 0.3 - 0.32 is in a computer."""
    for solved in range(1, 51):
        keeps = Goal(keep=(-0.02,), reference=(solved / 50,))
        assert keeps.shortfall([(solved - 1) / 50]) == 0
        assert keeps.shortfall([(solved - 1) / 50 - 0.001]) == pytest.approx(0.001)


def test_the_front_and_its_knee() -> None:
    points = [(0.0, 1.0), (0.8, 0.8), (1.0, 0.0), (0.5, 0.5), (0.8, 0.8)]
    assert front(points) == [0, 1, 2, 4]
    assert int(np.argmax(knee(points))) == 1
