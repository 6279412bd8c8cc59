from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, strategies as st

from exme.search.merging.candidate import Candidate

SOURCES = {"base": "aa", "math": "bb", "code": "cc"}


def candidate(coefficients: Mapping[str, float] | None = None, **other: Any) -> Candidate:
    fields: dict[str, Any] = {"method": "exme", "dtype": "bfloat16", "sources": SOURCES} | other
    return Candidate(coefficients=coefficients or {"math": 0.7, "code": 0.6}, **fields)


def test_coefficients_that_round_to_the_same_make_the_same_candidate() -> None:
    assert candidate({"math": 0.70001, "code": 0.6}) == candidate()
    assert candidate({"math": 0.70001, "code": 0.6}).digest == candidate().digest


def test_coefficients_that_differ_in_the_fourth_decimal_make_another_candidate() -> None:
    assert candidate({"math": 0.7001, "code": 0.6}).digest != candidate().digest


def test_the_method_that_proposed_it_is_not_part_of_the_digest() -> None:
    assert candidate(method="linear").digest == candidate(method="expo").digest


def test_the_order_of_the_checkpoints_is_not_part_of_the_digest() -> None:
    assert candidate({"code": 0.6, "math": 0.7}).digest == candidate().digest


@pytest.mark.parametrize(
    "other", [{"dtype": "float32"}, {"seed": 1}, {"sources": SOURCES | {"math": "dd"}}]
)
def test_whatever_decides_the_weights_is_part_of_the_digest(other: dict[str, Any]) -> None:
    assert candidate(**other).digest != candidate().digest


def test_minus_zero_is_zero() -> None:
    assert str(candidate({"math": -0.0, "code": -0.00001}).coefficients["code"]) == "0.0"
    assert candidate({"math": -0.0}).digest == candidate({"math": 0.0}).digest


def test_the_digest_does_not_change_from_one_version_to_the_next() -> None:
    """Recorded with the first version: a change would orphan the studies that people have."""
    assert candidate().digest == "0351529a0c9999f2"


@given(st.dictionaries(st.sampled_from(["a", "b|", "c é", "d/e"]), st.floats(-99, 99), min_size=1))
def test_json_gives_back_the_candidate_and_its_digest(coefficients: dict[str, float]) -> None:
    before = candidate(coefficients, seed=3)
    after = Candidate.from_json(json.loads(json.dumps(before.to_json())))
    assert after == before
    assert after.digest == before.digest


def test_json_without_a_seed_is_read_as_seed_0() -> None:
    data = candidate().to_json()
    del data["seed"]
    assert Candidate.from_json(data) == candidate()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_coefficient_that_is_not_finite_is_refused_by_name(value: float) -> None:
    with pytest.raises(ValueError, match=f"coefficient of 'code' is {value}"):
        candidate({"math": 0.5, "code": value})


def test_a_candidate_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        candidate().seed = 2  # type: ignore[misc]


def test_a_candidate_does_not_change_with_the_mapping_it_was_made_from() -> None:
    coefficients = {"math": 0.5, "code": 0.5}
    made = candidate(coefficients)
    coefficients["math"] = 9.0
    assert made.coefficients["math"] == 0.5
