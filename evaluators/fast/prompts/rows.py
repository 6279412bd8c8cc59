"""What the rows of a pass bring, as arrays on the host."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .prefix_tree import Node

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """What one row brings into a pass.

    Attributes:
        tokens: its tokens, at least one.
        start: position of its first own token, cached or not.
        cached: own tokens that the cache holds already.
        chain: the shared nodes before its own tokens.
        place: of its own first token in the cache; -1 where there is no cache.
        wanted: how many of its last tokens' logits are wanted.
    """

    tokens: Sequence[int]
    start: int
    cached: int
    chain: tuple[Node, ...]
    place: int
    wanted: int


@dataclass(frozen=True)
class Rows:
    """Of every piece, in the pass's order; each of shape [rows].

    Attributes:
        firsts: its first token in the pass.
        lengths: how many it brings.
        starts: position of its first own token.
        before: own tokens that are cached.
        places: of its first own token in the cache.
        wanted: last tokens whose logits are wanted.
    """

    firsts: Ints
    lengths: Ints
    starts: Ints
    before: Ints
    places: Ints
    wanted: Ints

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> Rows:
        """The rows of pieces."""
        lengths = np.array([len(piece.tokens) for piece in pieces])
        return cls(
            np.cumsum(lengths) - lengths,
            lengths,
            np.array([piece.start for piece in pieces]),
            np.array([piece.cached for piece in pieces]),
            np.array([piece.place for piece in pieces]),
            np.array([piece.wanted for piece in pieces]),
        )

    @property
    def ends(self) -> Ints:
        """The token after a row's last, shape [rows]."""
        return self.firsts + self.lengths

    def own(self) -> Ints:
        """Every token's place among its row's own ones, shape [tokens]."""
        return np.arange(int(self.ends[-1])) - np.repeat(self.firsts - self.before, self.lengths)

    def kept(self) -> Ints:
        """Tokens of the pass whose logits are wanted."""
        wanted = self.wanted
        return np.repeat(self.ends - np.cumsum(wanted), wanted) + np.arange(int(wanted.sum()))


def tokens_of(pieces: Sequence[Piece]) -> Ints:
    """All pieces' tokens, one after another."""
    return np.fromiter(itertools.chain.from_iterable(p.tokens for p in pieces), np.int64)
