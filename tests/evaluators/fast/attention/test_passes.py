"""How a pass's tokens are divided for attention changes no answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from exme.evaluators.fast.attention import compiled, products
from exme.evaluators.fast.attention.blocks import _NEVER, arrays_of
from exme.evaluators.fast.engine import FastEngine
from exme.evaluators.fast.prompts.rows import Piece, Rows
from tests.helpers.models.shapes import SHAPES, generations, make, prompts, stock

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
def test_blocks_hold_every_token_once_and_its_rows_keys(pieces: list[Piece]) -> None:
    rows = Rows.of(pieces)
    at = rows.own() + np.repeat(rows.starts, rows.lengths)
    places = rows.own() + np.repeat(rows.places, rows.lengths)
    blocks, back = arrays_of(rows)
    queries = np.concatenate([block[0].ravel() for block in blocks])
    assert queries[back].tolist() == list(range(sum(len(piece.tokens) for piece in pieces)))
    for index, query_at, key_at, *key_places in blocks:
        for row, tokens in enumerate(index):
            real = query_at[row] < _NEVER - 1
            assert (at[tokens[real]] == query_at[row][real]).all()
            seen = key_at[row] < _NEVER
            last = tokens[real][-1]
            assert key_at[row][seen].max() == at[last]  # it sees its row's keys up to itself
            for of_cache in key_places:
                assert of_cache[row][seen].max() == places[last]


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_the_same_in_padded_blocks(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(shape)
    requests = generations(prompts(), until=["th"], most=16)
    here = FastEngine(stock(model, 64))
    expected = here.generate_until(requests)
    again = here.generate_until(requests)
    monkeypatch.setattr(compiled, "kernel", lambda: None)
    in_blocks = FastEngine(stock(model, 64))
    assert in_blocks.fallback is None
    assert in_blocks.generate_until(requests) == expected
    assert in_blocks.generate_until(requests) == again == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_the_same_with_other_products(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(shape)
    requests = generations(prompts(), until=["th"], most=16)
    answers = []
    for better, least in ((False, 1 << 20), (True, 0)):
        monkeypatch.setattr(products, "is_better", lambda better=better: better)
        monkeypatch.setattr(products, "_LEAST", least)
        answers.append(FastEngine(stock(model, 64)).generate_until(requests))
    assert answers[0] == answers[1]
