"""One forward pass over the tokens of many rows, packed one after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from .attention import NAME, NEEDED, Block, Layout, Segment, Span
from .cache import RowCache
from .prefix_tree import Node

_SHORT = 16  # tokens of rows for which a kernel's call each costs more than padding (measured)
_NEVER = 1 << 30  # a position that no token has: padding keys stand there, padding queries before


@dataclass(frozen=True)
class Piece:
    """What one row brings into a pass.

    Attributes:
        tokens: its tokens, at least one.
        start: position of its first own token, cached or not.
        cached: own tokens that the cache holds already.
        chain: the shared nodes before its own tokens.
        place: of its own first token in the cache; -1 where nothing is cached.
        wanted: how many of its last tokens' logits are wanted.
    """

    tokens: Sequence[int]
    start: int
    cached: int
    chain: tuple[Node, ...]
    place: int
    wanted: int


@contextmanager
def shared_prefix_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model's attention layers go through ours, without gradients; puts back what was there."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        with torch.inference_mode():
            yield
    finally:
        model.set_attn_implementation(before)


def forward(
    model: PreTrainedModel,
    pieces: Sequence[Piece],
    cache: RowCache | None,
    *,
    harvest: bool = False,
) -> tuple[Tensor, Layout]:
    """Run the model on pieces.

    Args:
        model: inside `shared_prefix_attention`.
        pieces: leaves of a node follow each other.
        cache: where own keys and values are kept; None where no later pass needs them.
        harvest: keep every piece's keys and values in the layout.

    Returns:
        Logits of the wanted tokens, shape [sum of wanted, vocabulary], and the layout.
    """
    device = model.device
    arrays = _arrays(pieces, in_blocks=_in_blocks(device, pieces))
    ids, at, places, keep, *others = _to_device(arrays.flat, device)
    layout = Layout(at, arrays.segments, arrays.spans)
    if not arrays.spans:
        layout.back, *rest = others
        layout.blocks = list(_blocks_of(rest, arrays.are_cached))
    if cache is not None:
        layout.cache, layout.places = cache, places
    if harvest:
        ends = list(itertools.accumulate(len(piece.tokens) for piece in pieces))
        layout.harvest = list(zip([0, *ends[:-1]], ends, strict=True))
    needed: dict[str, Any] = {NEEDED: layout}
    logits: Tensor = model(
        input_ids=ids[None],
        position_ids=at[None],
        use_cache=False,
        logits_to_keep=keep,
        **needed,
    ).logits[0]
    return logits, layout


def _in_blocks(device: torch.device, pieces: Sequence[Piece]) -> bool:
    """Whether rows attend in padded blocks: a GPU is busy with many at once, a processor with one.

    Unless rows are so short that calling the kernel for each takes longer than it computes.
    """
    tokens = sum(len(piece.tokens) for piece in pieces)
    is_short = tokens < _SHORT * len(pieces) and not any(piece.cached for piece in pieces)
    return device.type != "cpu" or is_short


_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Arrays:
    """Index arrays of a pass, on the host.

    Attributes:
        flat: four of all tokens; with blocks, where their queries stand, and then each block's.
        segments: shared nodes.
        spans: of neighbouring rows; none with blocks.
        are_cached: of each block, whether its keys are the cache's, and so it has four arrays, not three.
    """

    flat: list[_Ints]
    segments: list[Segment]
    spans: list[Span]
    are_cached: list[bool]


@dataclass(frozen=True)
class _Rows:
    """Of every piece, in the pass's order.

    Attributes:
        firsts: its first token in the pass.
        lengths: how many it brings.
        starts: position of its first own token.
        before: own tokens that are cached.
        places: of its first own token in the cache.
    """

    firsts: _Ints
    lengths: _Ints
    starts: _Ints
    before: _Ints
    places: _Ints


def _arrays(pieces: Sequence[Piece], *, in_blocks: bool) -> _Arrays:
    lengths = np.array([len(piece.tokens) for piece in pieces])
    ends = np.cumsum(lengths)
    rows = _Rows(
        ends - lengths,
        lengths,
        np.array([piece.start for piece in pieces]),
        np.array([piece.cached for piece in pieces]),
        np.array([piece.place for piece in pieces]),
    )
    ids = np.fromiter(itertools.chain.from_iterable(p.tokens for p in pieces), np.int64, ends[-1])
    within = np.arange(ends[-1]) - np.repeat(rows.firsts - rows.before, lengths)
    at = within + np.repeat(rows.starts, lengths)
    places = within + np.repeat(rows.places, lengths)
    wanted = np.array([piece.wanted for piece in pieces])
    keep = np.repeat(ends - np.cumsum(wanted), wanted) + np.arange(wanted.sum())
    flat = [ids, at, places, keep]
    segments = _segments(pieces, rows.firsts, ends, at)
    if not in_blocks:
        return _Arrays(flat, segments, _spans(pieces), [])
    blocks, back = _blocks(rows)
    return _Arrays(
        [*flat, back, *itertools.chain.from_iterable(blocks)],
        segments,
        [],
        [len(block) == 4 for block in blocks],
    )


def _spans(pieces: Sequence[Piece]) -> list[Span]:
    """Every row by itself; neighbours that begin in this pass and are as long as each other together."""
    spans: list[Span] = []
    first = 0
    for piece in pieces:
        size = len(piece.tokens)
        last = spans[-1] if spans else None
        if piece.cached:
            spans.append(Span(first, 1, size, piece.cached + size, piece.place))
        elif last is not None and last.place is None and last.queries == size:
            last.rows += 1
        else:
            spans.append(Span(first, 1, size, size, None))
        first += size
    return spans


def _blocks(rows: _Rows) -> tuple[list[list[_Ints]], _Ints]:
    """Each block's arrays: index, positions of queries and of keys, and the keys' places in the cache.

    Rows that begin in this pass, of like length; then all others.
    """
    fresh, going = np.flatnonzero(rows.before == 0), np.flatnonzero(rows.before)
    groups = [*_alike(rows.lengths, fresh), *([going] if going.size else [])]
    blocks: list[list[_Ints]] = []
    back = np.empty(int(rows.lengths.sum()), np.int64)
    offset = 0
    for group in groups:
        lengths, before = rows.lengths[group, None], rows.before[group, None]
        first, start = rows.firsts[group, None], rows.starts[group, None]
        steps = np.arange(int(lengths.max()))
        real = steps < lengths
        index = np.where(real, first + steps, first)
        query_at = np.where(real, start + before + steps, _NEVER - 1)
        back[index[real]] = offset + np.flatnonzero(real)
        offset += index.size
        if not before.any():
            blocks.append([index, query_at, np.where(real, query_at, _NEVER)])
            continue
        columns = np.arange(int((before + lengths).max()))
        used = columns < before + lengths
        place = rows.places[group, None]
        blocks.append(
            [
                index,
                query_at,
                np.where(used, start + columns, _NEVER),
                np.where(used, place + columns, place),  # what is hidden must not be NaN
            ]
        )
    return blocks, back


def _blocks_of(arrays: Sequence[Tensor], are_cached: Sequence[bool]) -> Iterator[Block]:
    """Blocks of the arrays that `_blocks` made, on the device now."""
    rest = iter(arrays)
    for is_cached in are_cached:
        yield Block(next(rest), next(rest), next(rest), next(rest) if is_cached else None)


def _alike(lengths: _Ints, rows: _Ints) -> Iterator[_Ints]:
    """Rows, longest first, in groups whose shortest has at least two thirds of the longest."""
    order = rows[np.argsort(-lengths[rows], kind="stable")]
    first = 0
    for i in range(1, len(order) + 1):
        if i == len(order) or 3 * lengths[order[i]] < 2 * lengths[order[first]]:
            yield order[first:i]
            first = i


def _segments(pieces: Sequence[Piece], firsts: _Ints, ends: _Ints, at: _Ints) -> list[Segment]:
    """Every shared node with the stretch of tokens below it."""
    found: list[Segment] = []
    for depth in range(max(len(piece.chain) for piece in pieces)):
        for node, rows in itertools.groupby(
            range(len(pieces)),
            key=lambda i: pieces[i].chain[depth] if depth < len(pieces[i].chain) else None,
        ):
            members = list(rows)
            if node is None or node.keys is None or node.values is None:
                continue
            first, last = int(firsts[members[0]]), int(ends[members[-1]])
            reach = int(at[first:last].max()) - node.start
            found.append(Segment(node.keys, node.values, node.start, first, last, reach))
    return found


def _to_device(arrays: Sequence[_Ints], device: torch.device) -> list[Tensor]:
    """All arrays in one transfer, from pinned memory where the device is not the host."""
    whole = torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))
    if device.type == "cuda":
        whole = whole.pin_memory().to(device, non_blocking=True)
    parts = whole.split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]
