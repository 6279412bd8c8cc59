"""How a pass's tokens are divided for attention changes no answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exme.evaluators.fast import passes
from exme.evaluators.fast.engine import FastEngine
from exme.evaluators.fast.passes import Piece, _arrays, _spans

from .shapes import SHAPES, generations, make, prompts, stock

PIECES = st.lists(
    st.builds(
        lambda tokens, start, cached, place: Piece(
            range(tokens), start, cached, (), 100 * place, wanted=1
        ),
        st.integers(1, 9),
        st.integers(0, 50),
        st.one_of(st.just(0), st.integers(1, 40)),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=12,
)


@given(pieces=PIECES)
def test_spans_hold_every_token_once_in_order(pieces: list[Piece]) -> None:
    spans = _spans(pieces)
    ends = [span.first + span.rows * span.queries for span in spans]
    assert [span.first for span in spans] == [0, *ends[:-1]]
    assert ends[-1] == sum(len(piece.tokens) for piece in pieces)
    rows = [span for span in spans for _ in range(span.rows)]
    for span, piece in zip(rows, pieces, strict=True):
        assert (span.queries, span.keys) == (len(piece.tokens), piece.cached + len(piece.tokens))
        assert span.place == (piece.place if piece.cached else None)
        assert span.rows == 1 or not piece.cached  # rows of the cache stand anywhere in it


def test_rows_that_begin_and_are_as_long_as_their_neighbours_are_one_span() -> None:
    sizes = [(3, 0), (3, 0), (3, 5), (3, 0), (2, 0), (2, 0)]
    spans = _spans([Piece(range(n), 0, cached, (), 7, 1) for n, cached in sizes])
    assert [(s.rows, s.queries, s.place) for s in spans] == [
        (2, 3, None),
        (1, 3, 7),
        (1, 3, None),
        (2, 2, None),
    ]


@given(pieces=PIECES)
def test_blocks_hold_every_token_once_and_its_rows_keys(pieces: list[Piece]) -> None:
    arrays = _arrays(pieces, in_blocks=True)
    _, at, places, _, back, *rest = arrays.flat
    queries = np.concatenate([block.ravel() for block in _firsts(rest, arrays.are_cached)])
    total = sum(len(piece.tokens) for piece in pieces)
    assert queries[back].tolist() == list(range(total))
    parts = iter(rest)
    for is_cached in arrays.are_cached:
        index, query_at, key_at = next(parts), next(parts), next(parts)
        key_places = next(parts) if is_cached else None
        for row, tokens in enumerate(index):
            real = query_at[row] < passes._NEVER - 1
            assert (at[tokens[real]] == query_at[row][real]).all()
            seen = key_at[row] < passes._NEVER
            last = tokens[real][-1]
            assert key_at[row][seen].max() == at[last]  # it sees its row's keys up to itself
            if key_places is not None:
                assert key_places[row][seen].max() == places[last]


def _firsts(arrays: list[np.ndarray], are_cached: list[bool]) -> list[np.ndarray]:
    found, at = [], 0
    for is_cached in are_cached:
        found.append(arrays[at])
        at += 4 if is_cached else 3
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_the_same_in_padded_blocks_as_on_a_gpu(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(shape)
    requests = generations(prompts(), until=["th"], most=16)
    in_spans = FastEngine(stock(model, 64))
    expected = in_spans.generate_until(requests)
    again = in_spans.generate_until(requests)
    monkeypatch.setattr(passes, "_in_blocks", lambda device, pieces: True)
    in_blocks = FastEngine(stock(model, 64))
    assert in_blocks.fallback is None
    assert in_blocks.generate_until(requests) == expected
    assert in_blocks.generate_until(requests) == again == expected
