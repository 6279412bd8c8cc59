"""Attention in parts, joined by the log-sum-exp, is attention."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from exme.evaluators.fast.attention import compiled
from exme.evaluators.fast.attention.attention import NEEDED, attention
from exme.evaluators.fast.attention.layout import Layout, Segment
from exme.evaluators.fast.prompts.cache import KVCache
from exme.evaluators.fast.prompts.rows import Piece, Rows

HEADS, KEY_HEADS, SIZE = 4, 2, 16


def plain(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """Written out, for one sequence: [heads, tokens, size]."""
    key, value = (x.repeat_interleave(HEADS // KEY_HEADS, 0) for x in (key, value))
    scores = query @ key.transpose(1, 2) * SIZE**-0.5
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    at = torch.arange(query.shape[1])
    seen = at[None] <= at[:, None]
    if window is not None:
        seen &= at[None] > at[:, None] - window
    return torch.softmax(scores.masked_fill(~seen, float("-inf")), -1) @ value


@pytest.mark.parametrize("window", [None, 4, 30, 100])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("own", [1, 7])
@pytest.mark.parametrize("in_blocks", [False, True])
def test_parts_join_to_the_whole(
    window: int | None,
    softcap: float | None,
    own: int,
    in_blocks: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if in_blocks:
        monkeypatch.setattr(compiled, "kernel", lambda: None)
    draw = torch.Generator().manual_seed(0)
    sizes = [5, 20, own]
    total = sum(sizes)
    query = torch.randn(HEADS, total, SIZE, generator=draw)
    key, value = (torch.randn(KEY_HEADS, total, SIZE, generator=draw) for _ in range(2))
    expected = plain(query, key, value, window, softcap)[:, -own:]
    cache = KVCache(40)
    segments = []
    for start, size, place in ((0, 5, 31), (5, 20, 3)):  # anywhere in the cache
        shared = slice(start, start + size)
        cache.write(0, key[:, shared], value[:, shared], place + torch.arange(size))
        segments.append(Segment(place, size, start, 0, own, reach=total - 1 - start))
    at = torch.arange(25, total)
    rows = Rows.of([Piece(range(own), 25, 0, (), -1, 1)])
    layout = Layout(at, rows, segments, cache)
    module = nn.Module()
    module.layer_idx = 0  # type: ignore[assignment]
    found, _ = attention(
        module,
        query[None, :, -own:],
        key[None, :, -own:],
        value[None, :, -own:],
        None,
        sliding_window=window,
        softcap=softcap,
        **{NEEDED: layout},  # type: ignore[arg-type]
    )
    torch.testing.assert_close(found[0].transpose(0, 1), expected, atol=1e-5, rtol=1e-5)


def test_what_it_does_not_do_is_refused() -> None:
    layout = Layout(torch.arange(1), Rows.of([Piece([0], 0, 0, (), -1, 1)]), [], KVCache(0))
    one = torch.zeros(1, 1, 1, 8)
    with pytest.raises(NotImplementedError, match="s_aux"):
        attention(nn.Module(), one, one, one, None, **{NEEDED: layout, "s_aux": one})  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="mask"):
        attention(nn.Module(), one, one, one, one, **{NEEDED: layout})  # type: ignore[arg-type]
