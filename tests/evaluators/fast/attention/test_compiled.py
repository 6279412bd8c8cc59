"""The compiled kernel's attention is attention, whatever rows it is given, as wide as vectors may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from exme.evaluators.c_library import build
from exme.evaluators.fast.attention import compiled
from exme.evaluators.fast.attention.compiled import FLAGS, SOURCE, Kernel, fits
from exme.evaluators.fast.attention.kernels import Scale


@pytest.fixture(scope="module", params=["as it is built here", "half as wide"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    narrow = ("-DWIDTH=8",) if request.param == "half as wide" else ()
    library = build(SOURCE, (*FLAGS, *narrow, "-Wall", "-Wextra", "-Werror"))
    if library is None:
        pytest.skip("no C compiler here")
    return Kernel(library)


@dataclass(frozen=True)
class Row:
    """Tokens of a pass that follow so many cached ones."""

    new: int
    cached: int


@dataclass(frozen=True)
class Pass:
    """Rows below one shared node, if it has tokens."""

    rows: list[Row]
    shared: int
    key_heads: int
    repeats: int
    size: int
    window: int | None


ROWS = st.lists(
    st.builds(Row, st.integers(1, 40), st.one_of(st.just(0), st.integers(1, 150))),
    min_size=1,
    max_size=5,
)
PASSES = st.builds(
    Pass,
    ROWS,
    st.one_of(st.just(0), st.integers(1, 200)),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([16, 32, 48, 64, 128, 256]),
    st.one_of(st.none(), st.integers(1, 90)),
)


def attend(kernel: Kernel, wanted: Pass, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The kernel's attention of all tokens of a pass, and the same written out in float64."""
    draw = torch.Generator().manual_seed(seed)
    heads, size = wanted.key_heads * wanted.repeats, wanted.size
    total = sum(row.new for row in wanted.rows)
    # As a model's projection leaves it: tokens outside, heads inside.
    query = torch.randn(total, heads, size, generator=draw).transpose(0, 1)
    room = sum(row.new + row.cached for row in wanted.rows) + 3
    cache = [torch.randn(wanted.key_heads, room, size, generator=draw) for _ in range(2)]
    node = [torch.randn(wanted.key_heads, wanted.shared, size, generator=draw) for _ in range(2)]
    parts = [(1, 0, total, 0, wanted.shared, 0)] if wanted.shared else []
    at, expected = [], []
    first, place = 0, 3  # not at the cache's beginning
    for row in wanted.rows:
        length = row.cached + row.new
        parts.append((0, first, first + row.new, place, length, wanted.shared))
        positions = torch.arange(wanted.shared + row.cached, wanted.shared + length)
        at.append(positions)
        keys, values = (
            torch.cat([n, c[:, place : place + length]], 1).repeat_interleave(wanted.repeats, 0)
            for n, c in zip(node, cache, strict=True)
        )
        scores = query[:, first : first + row.new].double() @ keys.double().transpose(1, 2)
        key_at = torch.arange(wanted.shared + length)
        hidden = key_at > positions[:, None]
        if wanted.window is not None:
            hidden |= key_at <= positions[:, None] - wanted.window
        weights = torch.softmax((size**-0.5 * scores).masked_fill(hidden, -torch.inf), -1)
        expected.append((weights @ values.double()).transpose(0, 1))
        first, place = first + row.new, place + length
    found = kernel.attend(
        query,
        [(cache[0], cache[1]), (node[0], node[1])],
        np.array(parts, np.int32),
        torch.cat(at),
        Scale(size**-0.5, window=wanted.window),
    )
    return found.double(), torch.cat(expected)


@settings(deadline=None, max_examples=150)
@given(wanted=PASSES)
def test_it_is_attention(kernel: Kernel, wanted: Pass) -> None:
    found, expected = attend(kernel, wanted)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=2e-5)


def test_threads_divide_the_heads(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Pass([Row(40, 20), Row(3, 100)], 50, 3, 2, 32, None)
    alone, _ = attend(kernel, wanted)
    monkeypatch.setattr(compiled, "_SPLIT", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    together, expected = attend(kernel, wanted)
    assert torch.equal(alone, together)
    torch.testing.assert_close(together, expected, atol=2e-6, rtol=2e-5)


@pytest.mark.parametrize("new", [1, 40])
@pytest.mark.parametrize("side", ["keys", "values"])
def test_what_is_not_a_number_is_not_lost(kernel: Kernel, side: str, new: int) -> None:
    """A candidate whose activations overflow must not be given an answer that looks sound."""
    keys, values = torch.randn(1, 70, 32), torch.randn(1, 70, 32)
    (keys if side == "keys" else values)[0, 5, 7] = torch.nan
    query = torch.randn(1, new, 32)
    parts = np.array([[0, 0, new, 0, 70, 0]], np.int32)
    at = torch.arange(70 - new, 70)
    found = kernel.attend(query, [(keys, values)], parts, at, Scale(1.0))
    assert found[..., 7].isnan().all()


def test_large_scores_do_not_overflow(kernel: Kernel) -> None:
    keys = torch.zeros(1, 80, 16)
    keys[0, :, 0] = torch.arange(80) * 100.0
    values = torch.arange(80.0)[None, :, None].expand(1, 80, 16).contiguous()
    query = torch.ones(1, 20, 16)
    parts = np.array([[0, 0, 20, 0, 80, 0]], np.int32)
    at = torch.arange(60, 80)
    found = kernel.attend(query, [(keys, values)], parts, at, Scale(1.0))
    assert torch.equal(found[:, 0, 0], at.float())  # each the last key that it sees


def test_what_is_not_for_the_kernel() -> None:
    plain = Scale(1.0)
    assert fits(torch.zeros(1, 32), plain)
    assert not fits(torch.zeros(1, 8), plain)
    assert not fits(torch.zeros(1, 512), plain)
    assert not fits(torch.zeros(1, 32).bfloat16(), plain)
    assert not fits(torch.zeros(1, 32), Scale(1.0, softcap=20.0))


def test_tokens_that_do_not_follow_each_other_are_copied(kernel: Kernel) -> None:
    """Without a cache keys are the pass's, as the model's projection leaves them."""
    keys, values = (torch.randn(30, 2, 32).transpose(0, 1) for _ in range(2))
    query = torch.randn(30, 4, 32).transpose(0, 1)
    parts = np.array([[0, 0, 30, 0, 30, 0]], np.int32)
    at = torch.arange(30)
    found = kernel.attend(query, [(keys, values)], parts, at, Scale(32**-0.5))
    expected = torch.nn.functional.scaled_dot_product_attention(
        query[None], keys[None], values[None], is_causal=True, enable_gqa=True
    )
    torch.testing.assert_close(found, expected[0].transpose(0, 1), atol=2e-6, rtol=2e-5)
