"""Rows and shared nodes of any length come, grow and go in any order; each finds its tokens where they were."""

from __future__ import annotations

import torch
from hypothesis import given, strategies as st

from exme.evaluators.fast.prompts.cache import KVCache, Stretch

STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "give", "widen"]), st.integers(0, 9), st.integers(1, 20)),
    max_size=40,
)


def write(cache: KVCache, stretch: Stretch, mark: float) -> None:
    for layer in (0, 1):
        keys = torch.full((2, stretch.room, 3), mark + layer)
        places = torch.arange(stretch.first, stretch.first + stretch.room)
        cache.write(layer, keys, -keys, places)


def read(cache: KVCache, layer: int, first: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    keys, values = (buffer.narrow(1, first, length) for buffer in cache.buffers(layer))
    return keys, values


@given(steps=STEPS, tokens=st.integers(1, 60))
def test_rows_keep_what_is_theirs(steps: list[tuple[str, int, int]], tokens: int) -> None:
    cache = KVCache(tokens)
    rows: list[tuple[Stretch, int, float]] = []  # with how many tokens are written, and what
    for count, (step, which, room) in enumerate(steps):
        free = cache.free
        if step == "take":
            taken = cache.take(room)
            assert (taken is not None) == (room <= free)
            if taken is not None:
                write(cache, taken, 10.0 * count)
                rows.append((taken, room, 10.0 * count))
        elif rows and step == "give":
            cache.give(rows.pop(which % len(rows))[0])
        elif rows:
            stretch, written, mark = rows[which % len(rows)]
            wider = stretch.room + room
            assert cache.widen(stretch, wider) == (room <= free)
            assert stretch.room == (wider if room <= free else written)
            if room <= free:
                rows[which % len(rows)] = (stretch, written, mark)
                write_from(cache, stretch, written, mark)
                rows[which % len(rows)] = (stretch, wider, mark)
        assert cache.free == tokens - sum(stretch.room for stretch, _, _ in rows)
        for stretch, written, mark in rows:
            assert 0 <= stretch.first <= stretch.first + stretch.room <= tokens
            for layer in (0, 1):
                keys, values = read(cache, layer, stretch.first, written)
                assert (keys == mark + layer).all()
                assert (values == -mark - layer).all()
                places = torch.arange(stretch.first, stretch.first + written)[None]
                assert torch.equal(cache.gather(layer, places)[0], keys[None])


def write_from(cache: KVCache, stretch: Stretch, written: int, mark: float) -> None:
    """Write only what a row was given more room for."""
    places = torch.arange(stretch.first + written, stretch.first + stretch.room)
    for layer in (0, 1):
        keys = torch.full((2, len(places), 3), mark + layer)
        cache.write(layer, keys, -keys, places)


def test_a_cache_that_grows_keeps_its_rows() -> None:
    cache = KVCache(8)
    first = cache.take(8)
    assert first is not None
    assert cache.take(1) is None
    write(cache, first, 5.0)
    cache.make_free(12)
    assert (cache.tokens, cache.free) == (20, 12)
    cache.make_free(12)
    assert cache.tokens == 20, "it had room"
    second = cache.take(12)
    assert second is not None
    write(cache, second, 7.0)
    assert (read(cache, 0, first.first, 8)[0] == 5.0).all()
    cache.clear()
    assert cache.free == 20
