"""Scores on some of the documents."""

from __future__ import annotations

import json

import numpy as np
import pytest

from exme.evaluators.scores import DocumentScores, Scorecard
from exme.search.trials.partial import Partial

NAMES = {"gsm8k": ("a", "b", "c"), "mmlu": ("a", "b")}


def scores(suite: str, ids: tuple[str, ...], values: tuple[float, ...]) -> DocumentScores:
    return DocumentScores(suite, "search", "acc", ids, values, 3, {"empty": values})


def test_documents_come_in_any_order_and_the_whole_is_in_theirs() -> None:
    partial = Partial.blank(NAMES).add(scores("gsm8k", ("c", "a"), (1.0, 0.0)))
    assert (partial.count, partial.is_complete) == (2, False)
    assert np.array_equal(partial.values, [0, np.nan, 1, np.nan, np.nan], equal_nan=True)
    rest = Scorecard((scores("gsm8k", ("b",), (1.0,)), scores("mmlu", ("b", "a"), (0.0, 1.0))))
    whole = partial.add(rest).whole()
    assert [part.values for part in whole.parts] == [(0, 1, 1), (1, 0)]
    assert whole.parts[0] == scores("gsm8k", ("a", "b", "c"), (0.0, 1.0, 1.0))


def test_the_whole_is_refused_while_documents_lack() -> None:
    with pytest.raises(ValueError, match="not finite"):
        Partial.blank(NAMES).whole()


@pytest.mark.parametrize("value", [1.0, 0.25])
def test_the_storage_gives_back_what_it_got(value: float) -> None:
    partial = Partial.blank(NAMES).add(scores("gsm8k", ("b",), (value,)))
    data = json.loads(json.dumps(partial.to_json()))
    found = Partial.from_json(data, lambda suite, split: NAMES[suite])
    assert str(found) == str(partial)  # (NaN equals nothing)
    assert data[0]["values"] == ("-1-" if value == 1 else [None, 0.25, None])
