from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from exme.evaluators.scores import DocumentScores, paired_values


def scores(
    values: Sequence[float], documents: tuple[str, ...] = (), **other: Any
) -> DocumentScores:
    documents = documents or tuple(f"d{i}" for i in range(len(values)))
    fields: dict[str, Any] = {
        "suite": "gsm8k",
        "split": "search",
        "metric": "exact_match,strict-match",
        "seed": 7,
    }
    return DocumentScores(documents=documents, values=tuple(values), **(fields | other))


def test_the_mean_is_the_share_of_solved_documents() -> None:
    assert scores([1.0, 0.0, 1.0, 1.0]).mean == 0.75


def test_count_is_the_number_of_documents() -> None:
    assert scores([0.0, 1.0]).count == 2


@pytest.mark.parametrize("values", [[0.0, 1.0, 1.0, 0.0, 1.0], [0.25, 0.5, 3.0], [2.0, 2.0]])
def test_mean_and_standard_error_equal_those_of_lm_eval(values: list[float]) -> None:
    metrics = pytest.importorskip("lm_eval.api.metrics")
    assert scores(values).mean == pytest.approx(metrics.mean(values), rel=1e-15)
    assert scores(values).standard_error == pytest.approx(metrics.mean_stderr(values), rel=1e-12)


def test_one_document_has_no_standard_error() -> None:
    assert math.isnan(scores([1.0]).standard_error)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_json_gives_back_the_scores_exactly(values: list[float]) -> None:
    before = scores(values, audit={"empty": tuple(0.0 for _ in values)})
    text = json.dumps(before.to_json(), allow_nan=False)
    assert DocumentScores.from_json(json.loads(text)) == before


def test_json_without_an_audit_is_read_as_an_empty_one() -> None:
    data = scores([1.0]).to_json()
    del data["audit"]
    assert DocumentScores.from_json(data).audit == {}


def test_a_document_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="2 documents but 1 values"):
        scores([1.0], documents=("a", "b"))


def test_a_document_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="not unique"):
        scores([1.0, 0.0], documents=("a", "a"))


def test_no_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="no documents in gsm8k/search"):
        scores([])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_document(value: float) -> None:
    with pytest.raises(ValueError, match=r"document d1 is not finite \(1 in all\)"):
        scores([1.0, value, 0.0])


def test_scores_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        scores([1.0]).seed = 8  # type: ignore[misc]


def test_paired_values_come_in_the_order_of_the_documents() -> None:
    a, b = scores([1.0, 0.0]), scores([0.0, 0.0])
    assert paired_values(a, b) == ((1.0, 0.0), (0.0, 0.0))


@pytest.mark.parametrize(
    "other", [{"suite": "mbpp"}, {"split": "report"}, {"documents": ("d1", "d0")}]
)
def test_scores_of_other_documents_or_another_order_are_not_paired(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not the same documents"):
        paired_values(scores([1.0, 0.0]), scores([1.0, 0.0], **other))
