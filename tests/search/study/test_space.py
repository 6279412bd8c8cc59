from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from exme.search.merging.methods import METHODS, ExMe, ExPO, Linear
from exme.search.study.space import expo_points, first_points, read, unit
from exme.tasks.errors import UserError

NAMES = ("math", "code", "chat")
coefficients = st.lists(st.floats(-5, 25), min_size=1, max_size=6).map(
    lambda values: {f"c{i}": value for i, value in enumerate(values)}
)
shares = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@given(coefficients)
def test_alpha_and_beta_give_back_the_coefficients(c: dict[str, float]) -> None:
    reading = read(c)
    assert (reading.alpha is None) == (reading.beta is None)
    if reading.alpha is not None and reading.beta is not None:
        assert reading.alpha == pytest.approx(sum(c.values()) - 1)
        assert all(0 <= share <= 1 + 1e-9 for share in reading.beta.values())
        assert sum(reading.beta.values()) == pytest.approx(1, abs=1e-6)
        for name, share in reading.beta.items():
            assert share * (1 + reading.alpha) == pytest.approx(c[name], abs=1e-6)


@pytest.mark.parametrize(
    "values", [(0.5, -0.5), (1.44, -1.46), (0.7, -0.1), (-1.0, -0.5), (0.02, 0.03), (0.0, 0.0)]
)
def test_what_is_no_mix_is_not_read_as_one(values: tuple[float, float]) -> None:
    reading = read(dict(zip(("math", "code"), values, strict=True)))
    assert reading.alpha is None and reading.beta is None
    assert str(reading) == ("" if any(values) else "the base")


def test_a_mean_of_three_is_no_negative_extrapolation() -> None:
    assert str(read(dict.fromkeys(NAMES, 0.3333))).startswith("alpha +0.00, beta 0.33")


def test_expo_reads_as_its_alpha() -> None:
    reading = read({"math": 1.5, "code": 0.0})
    assert reading.alpha == pytest.approx(0.5)
    assert reading.beta == {"math": 1.0, "code": 0.0}
    assert str(reading) == "alpha +0.50, beta 1.00 0.00"


def test_the_base_reads_as_the_base() -> None:
    assert str(read({"math": 0.0})) == "the base"


@given(shares)
def test_every_proposal_of_linear_lies_on_the_simplex(values: list[float]) -> None:
    method = Linear([f"c{i}" for i in range(len(values) + 1)])
    c = method.to_coefficients(dict(zip(method.parameters(), values, strict=True)))
    assert sum(c.values()) == pytest.approx(1)
    assert all(-1e-12 <= value <= 1 + 1e-12 for value in c.values())


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=5))
def test_every_point_of_the_simplex_is_a_proposal_of_linear(weights: list[float]) -> None:
    names = [f"c{i}" for i in range(len(weights))]
    point = {n: w / math.fsum(weights) for n, w in zip(names, weights, strict=True)}
    method = Linear(names)
    proposal = method.to_parameters(point)
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in proposal.values())
    assert method.to_coefficients(proposal) == pytest.approx(point, abs=1e-9)


def test_linear_describes_a_checkpoint_alone_although_nothing_is_left_to_share() -> None:
    method = Linear(NAMES)
    for name in NAMES:
        alone = unit(NAMES, name)
        assert method.to_coefficients(method.to_parameters(alone)) == alone


def test_linear_searches_shares_whatever_bounds_the_study_states() -> None:
    assert Linear(NAMES).default_bounds(-1, 3) == {
        "share of math": (0.0, 1.0),
        "share of code": (0.0, 1.0),
    }


def test_exme_proposes_the_coefficients_themselves() -> None:
    method = ExMe(NAMES)
    point = {"math": 0.8, "code": -0.1, "chat": 1.2}
    assert method.parameters() == NAMES
    assert method.to_coefficients(point) == method.to_parameters(point) == point
    assert method.default_bounds(-0.5, 2)["chat"] == (-0.5, 2)


def test_expo_refuses_two_checkpoints_and_says_what_to_use() -> None:
    with pytest.raises(UserError) as refusal:
        ExPO(["math", "code"])
    assert str(refusal.value) == (
        "method 'expo' extrapolates exactly one checkpoint, the study has 2 (math, code); "
        "use `method: exme` for several"
    )


def test_every_method_is_found_by_its_name() -> None:
    assert all(name == method.name for name, method in METHODS.items())
    assert len(METHODS) == 12


def test_a_search_starts_from_each_checkpoint_alone_and_their_mean() -> None:
    points = first_points(ExMe(("math", "code")))
    assert [p.name for p in points] == ["math alone", "code alone", "mean"]
    assert [p.coefficients for p in points] == [
        {"math": 1.0, "code": 0.0},
        {"math": 0.0, "code": 1.0},
        {"math": 0.5, "code": 0.5},
    ]


def test_one_checkpoint_has_no_mean_to_start_from() -> None:
    assert [p.name for p in first_points(ExPO(["math"]))] == ["math alone"]


def test_expo_starts_at_0_3_and_0_5_of_the_best_checkpoint() -> None:
    points = expo_points(ExMe(("math", "code")), "code")
    assert [p.name for p in points] == ["ExPO 0.3 of code", "ExPO 0.5 of code"]
    assert [p.coefficients for p in points] == [
        {"math": 0.0, "code": 1.3},
        {"math": 0.0, "code": 1.5},
    ]


def test_a_method_that_cannot_extrapolate_has_no_expo_points() -> None:
    assert expo_points(Linear(NAMES), "math") == []
