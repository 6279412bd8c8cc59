"""Starts of a study: tried as they are said, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from exme.search.proposing.plan import Plan
from exme.tasks.errors import UserError
from tests.helpers.searches.two_suites import study_file


def test_a_start_of_something_unknown_is_refused() -> None:
    with pytest.raises(UserError, match=r"'sum' is neither a checkpoint.*did you mean 'sums'"):
        study_file(suites=["gsm8k"], starts=[{"sum": 1.0}])


@pytest.mark.parametrize(
    ("method", "start", "message"),
    [
        (
            "linear",
            {"sums": 0.1, "products": 1.0},
            "as weights they give sums 0.09091, products 0.9091",
        ),
        (
            "linear",
            {"sums": 2.0},
            "found sums 2, products 0; as weights they give sums 1, products 0",
        ),
        ("linear", {"sums": -0.5, "products": 1.5}, "0 or more and add up to 1, found sums -0.5"),
        ("ties", {"sums": 0.5, "density": 0.01}, "density is 0.01, outside of 0.05 to 1"),
        ("exme", {"sums": 2.7}, r"sums is 2.7, outside of 0 to 2.4, .* change space.coefficients"),
    ],
)
def test_a_start_that_would_not_be_tried_as_it_is_is_refused(
    method: str, start: dict[str, float], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        study_file(suites=["gsm8k"], method=method, starts=[start])


def test_a_checkpoint_with_the_name_of_a_parameter_is_refused() -> None:
    names = {"density": "mini/sums", "products": "mini/products"}
    with pytest.raises(UserError, match="name 'density' is that of a parameter of ties, too"):
        study_file(suites=["gsm8k"], method="ties", checkpoints=names)


@pytest.mark.parametrize(
    ("method", "start"),
    [
        ("linear", {"sums": 0.25, "products": 0.75}),
        ("linear", {"products": 1.0}),
        ("exme", {"sums": 7.0, "products": -2.0}),
        ("ties", {"sums": 0.5, "products": 0.9, "density": 0.05}),
        ("slerp", {"sums": 0.4, "products": 0.9}),
        (["ties", "dare_ties"], {"sums": 0.4, "products": 0.9, "density": 0.3}),
    ],
)
def test_a_start_is_tried_as_the_study_says_it(method: Any, start: dict[str, float]) -> None:
    plan = Plan(
        study_file(
            suites=["gsm8k"], method=method, starts=[start], space={"coefficients": [-5.0, 10.0]}
        )
    )
    (point,) = [point for point in plan.due_points([]) if point.name == "start 1"]
    made = plan.proposals.candidate(plan.of_point(point), dtype="float32", sources={})
    given = {"sums": 0.0, "products": 0.0} | start
    own = {"density": given.pop("density")} if "density" in given else {}
    assert made.coefficients == pytest.approx(given)
    assert dict(made.parameters) == own
