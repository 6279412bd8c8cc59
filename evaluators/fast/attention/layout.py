"""Who attends to what in one pass."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from exme.evaluators.fast.prompts import Ints, KVCache, Piece, Rows

from .blocks import Blocks
from .compiled import Parts, Source


@dataclass
class Segment:
    """A shared node, and the stretch of a pass's tokens below it.

    Attributes:
        place: of the node's first token in the cache.
        length: tokens of the node.
        start: position of the first.
        first: first token of the stretch.
        last: the one after its last token.
        reach: distance of the last token of the stretch from the node's first token.
    """

    place: int
    length: int
    start: int
    first: int
    last: int
    reach: int


@dataclass
class Layout:
    """The same for all layers, but for the keys.

    Attributes:
        at: position of every token, shape [tokens].
        rows: what each brings.
        segments: shared nodes, from the beginning of the sequence.
        cache: where keys and values are kept.
        places: of every token in the cache, shape [tokens]; None where no later pass needs the tokens.
    """

    at: Tensor
    rows: Rows
    segments: list[Segment]
    cache: KVCache
    places: Tensor | None = None

    @functools.cached_property
    def blocks(self) -> Blocks:
        """Own tokens, for torch's kernels."""
        return Blocks.of(self.rows)

    @functools.cached_property
    def parts(self) -> Parts:
        """Who sees which of `sources`, for the compiled kernel: shape [parts, 6]."""
        rows = self.rows
        own = np.empty((len(rows.firsts), 6), np.int32)
        own[:, 0] = 0
        own[:, 1], own[:, 2] = rows.firsts, rows.ends
        own[:, 3] = rows.firsts if self.places is None else rows.places
        own[:, 4], own[:, 5] = rows.before + rows.lengths, rows.starts
        source = int(self.places is None)
        shared = [(source, s.first, s.last, s.place, s.length, s.start) for s in self.segments]
        return np.concatenate([np.array(shared, np.int32).reshape(-1, 6), own])

    def sources(self, layer: int, keys: Tensor, values: Tensor) -> list[Source]:
        """Keys and values of a layer: this pass's, where they are not in the cache, and the cache's."""
        own = [(keys, values)] if self.places is None else []
        cached = [self.cache.buffers(layer)] if self.segments or not own else []
        return own + cached


def segments_of(pieces: Sequence[Piece], rows: Rows, at: Ints) -> list[Segment]:
    """Every shared node with the stretch of tokens below it.

    Args:
        pieces: leaves of a node follow each other.
        at: position of every token, shape [tokens].
    """
    found: list[Segment] = []
    for depth in range(max(len(piece.chain) for piece in pieces)):
        for node, below in itertools.groupby(
            range(len(pieces)),
            key=lambda i: pieces[i].chain[depth] if depth < len(pieces[i].chain) else None,
        ):
            members = list(below)
            if node is None:
                continue
            first, last = int(rows.firsts[members[0]]), int(rows.ends[members[-1]])
            reach = int(at[first:last].max()) - node.start
            found.append(Segment(node.first, len(node.tokens), node.start, first, last, reach))
    return found
