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

from .attention import NAME, NEEDED, Block, Layout, Segment
from .cache import RowCache
from .prefix_tree import Node

# What one more block costs on a processor (some tens of microseconds a layer), and what reading a key
# costs, both in products of a query and a key of the mini models' four heads (about 6 nanoseconds).
_SPLIT = 5000
_READ = 3
_NEVER = 1 << 30  # a position that no token has: padding keys stand there, padding queries before


@dataclass(frozen=True)
class Piece:
    """What one row brings into a pass.

    Attributes:
        tokens: its tokens, at least one.
        start: position of its first own token, cached or not.
        cached: own tokens that the cache holds already.
        chain: the shared nodes before its own tokens.
        slot: its row in the cache; -1 where nothing is cached.
        wanted: how many of its last tokens' logits are wanted.
    """

    tokens: Sequence[int]
    start: int
    cached: int
    chain: tuple[Node, ...]
    slot: int
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
        pieces: leaves of a node follow each other; either all go on from cached tokens, or none.
        cache: where own keys and values are kept; None where no later pass needs them.
        harvest: keep every piece's keys and values in the layout.

    Returns:
        Logits of the wanted tokens, shape [sum of wanted, vocabulary], and the layout.
    """
    device = model.device
    arrays = _arrays(
        pieces,
        cached=any(piece.cached for piece in pieces),
        split=_SPLIT if device.type == "cpu" else None,
    )
    ids, at, slots, columns, keep, back, *padded = _to_device(arrays.flat, device)
    firsts = iter(arrays.slots)
    blocks = [
        Block(index, query_at, key_at, next(firsts) if arrays.slots else None)
        for index, query_at, key_at in zip(*[iter(padded)] * 3, strict=True)
    ]
    layout = Layout(at, arrays.segments, blocks, back)
    if cache is not None:
        cache.reserve(arrays.columns)
        layout.cache, layout.slots, layout.columns = cache, slots, columns
    if harvest:
        ends = list(itertools.accumulate(len(piece.tokens) for piece in pieces))
        layout.harvest = list(zip([0, *ends[:-1]], ends, strict=True))
    others: dict[str, Any] = {NEEDED: layout}
    logits: Tensor = model(
        input_ids=ids[None],
        position_ids=at[None],
        use_cache=False,
        logits_to_keep=keep,
        **others,
    ).logits[0]
    return logits, layout


@dataclass(frozen=True)
class _Arrays:
    """Index arrays of a pass.

    Attributes:
        flat: six of all tokens, then three for each block.
        segments: shared nodes.
        slots: the first slot of each block that reads the cache; empty where none does.
        columns: tokens of the longest row.
    """

    flat: list[NDArray[np.int64]]
    segments: list[Segment]
    slots: list[int]
    columns: int


def _arrays(pieces: Sequence[Piece], *, cached: bool, split: int | None) -> _Arrays:
    """Index arrays of a pass, on the host."""
    lengths = np.array([len(piece.tokens) for piece in pieces])
    ends = np.cumsum(lengths)
    firsts = ends - lengths
    starts = np.array([piece.start for piece in pieces])
    before = np.array([piece.cached for piece in pieces])
    slots = np.array([piece.slot for piece in pieces])
    ids = np.fromiter(itertools.chain.from_iterable(p.tokens for p in pieces), np.int64, ends[-1])
    within = np.arange(ends[-1]) - np.repeat(firsts, lengths)
    columns = within + np.repeat(before, lengths)
    at = columns + np.repeat(starts, lengths)
    wanted = np.array([piece.wanted for piece in pieces])
    keep = np.repeat(ends - np.cumsum(wanted), wanted) + np.arange(wanted.sum())
    flat = [ids, at, np.repeat(slots, lengths), columns, keep]
    runs: list[tuple[int, int]] = []
    if cached:
        by_slot = np.argsort(slots)  # every slot below the highest brings a piece
        runs = _runs(lengths[by_slot].tolist(), (before + lengths)[by_slot].tolist(), split)
        blocks, back = _cached_blocks(firsts, lengths, starts, before, by_slot, runs)
    else:
        blocks, back = _fresh_blocks(firsts, lengths, starts)
    longest = int((before + lengths).max())
    segments = _segments(pieces, firsts, ends, at)
    return _Arrays([*flat, back, *blocks], segments, [first for first, _ in runs], longest)


_Ints = NDArray[np.int64]


def _runs(queries: list[int], keys: list[int], split: int | None) -> list[tuple[int, int]]:
    """Neighbouring slots (first, one after the last) that share a block.

    A block is padded to its longest row: one row with a long draft, or with a long prompt, would
    make all rows as expensive. A slot joins its neighbours where padding costs less than a block.

    Args:
        queries: tokens that each slot's row brings.
        keys: tokens that it attends to.
        split: what a block costs, in keys read and multiplied; None is one block of all.
    """
    if split is None:
        return [(0, len(queries))]
    runs: list[tuple[int, int]] = []
    first = most_queries = most_keys = spent = 0
    for slot, (query, key) in enumerate(zip(queries, keys, strict=True)):
        together = max(most_queries, query), max(most_keys, key)
        joined = (slot + 1 - first) * _cost(*together)
        if slot > first and joined > spent + _cost(query, key) + split:
            runs.append((first, slot))
            first, together, joined = slot, (query, key), _cost(query, key)
        (most_queries, most_keys), spent = together, joined
    return [*runs, (first, len(queries))]


def _cost(queries: int, keys: int) -> int:
    """Of one row's attention: keys are read once, and multiplied with every query."""
    return keys * (_READ + queries)


def _cached_blocks(
    firsts: _Ints,
    lengths: _Ints,
    starts: _Ints,
    before: _Ints,
    by_slot: _Ints,
    runs: Sequence[tuple[int, int]],
) -> tuple[list[_Ints], _Ints]:
    """Blocks of neighbouring slots; their keys are the cache's."""
    blocks: list[_Ints] = []
    back = np.empty(int(lengths.sum()), np.int64)
    offset = 0
    for first, last in runs:
        rows = by_slot[first:last]
        queries = int(lengths[rows].max())
        steps = np.arange(queries)
        real = steps < lengths[rows, None]
        index = np.where(real, firsts[rows, None] + steps, firsts[rows, None])
        query_at = np.where(real, (starts + before)[rows, None] + steps, _NEVER - 1)
        columns = np.arange(int((before + lengths)[rows].max()))
        used = columns < (before + lengths)[rows, None]
        key_at = np.where(used, starts[rows, None] + columns, _NEVER)
        blocks += [index, query_at, key_at]
        back[index[real]] = offset + np.flatnonzero(real)
        offset += index.size
    return blocks, back


def _fresh_blocks(firsts: _Ints, lengths: _Ints, starts: _Ints) -> tuple[list[_Ints], _Ints]:
    """Rows of like length in blocks; their keys are the pass's."""
    order = np.argsort(-lengths, kind="stable")
    blocks: list[_Ints] = []
    back = np.empty(int(lengths.sum()), np.int64)
    offset = 0
    for rows in _alike(lengths, order):
        queries = int(lengths[rows].max())
        steps = np.arange(queries)
        real = steps < lengths[rows, None]
        index = np.where(real, firsts[rows, None] + steps, firsts[rows, None])
        at = np.where(real, starts[rows, None] + steps, _NEVER - 1)
        blocks += [index, at, np.where(real, at, _NEVER)]
        for place, row in enumerate(rows):
            here = offset + place * queries
            back[firsts[row] : firsts[row] + lengths[row]] = np.arange(here, here + lengths[row])
        offset += len(rows) * queries
    return blocks, back


def _alike(lengths: _Ints, order: _Ints) -> Iterator[_Ints]:
    """Rows, longest first, in groups whose shortest has at least two thirds of the longest."""
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


def _ranges(lengths: _Ints) -> _Ints:
    """0, 1, ... for each of the lengths, one after another."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _to_device(arrays: Sequence[_Ints], device: torch.device) -> list[Tensor]:
    """All arrays in one transfer, from pinned memory where the device is not the host."""
    whole = torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))
    if device.type == "cuda":
        whole = whole.pin_memory().to(device, non_blocking=True)
    parts = whole.split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]
