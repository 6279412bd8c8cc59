"""Rows of unlike length do not pay for each other, and no division into blocks changes an answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exme.evaluators.fast import passes
from exme.evaluators.fast.engine import FastEngine
from exme.evaluators.fast.passes import _cost, _runs

from .shapes import SHAPES, generations, make, prompts, stock

ROWS = st.lists(st.tuples(st.integers(1, 80), st.integers(1, 900)), min_size=1, max_size=40)


def padded(rows: list[tuple[int, int]]) -> int:
    """What one block of rows costs."""
    queries, keys = zip(*rows, strict=True)
    return len(rows) * _cost(max(queries), max(keys))


@given(rows=ROWS, split=st.one_of(st.none(), st.integers(0, 10_000)))
def test_runs_hold_every_slot_once_in_order(rows: list[tuple[int, int]], split: int | None) -> None:
    runs = _runs([q for q, _ in rows], [k for _, k in rows], split)
    assert [slot for first, last in runs for slot in range(first, last)] == list(range(len(rows)))
    if split is None:
        assert len(runs) == 1
        return
    for (first, last), _ in pairwise(runs):  # a block is begun where it pays
        apart = padded(rows[first:last]) + padded(rows[last : last + 1]) + split
        assert padded(rows[first : last + 1]) > apart


def test_a_row_with_a_long_draft_has_a_block_of_its_own() -> None:
    assert _runs([1, 1, 60, 1, 1], [300] * 5, 5000) == [(0, 2), (2, 3), (3, 5)]
    assert _runs([1, 2, 1, 2, 1], [300] * 5, 5000) == [(0, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_the_same_with_a_block_for_every_row(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(shape)
    requests = generations(prompts(), until=["th"], most=16)
    monkeypatch.setattr(passes, "_SPLIT", None)
    together = FastEngine(stock(model, 64))
    expected = together.generate_until(requests)
    again = together.generate_until(requests)
    monkeypatch.setattr(passes, "_SPLIT", 0)
    apart = FastEngine(stock(model, 64))
    assert apart.generate_until(requests) == expected
    assert apart.generate_until(requests) == again == expected
