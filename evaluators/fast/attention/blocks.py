"""Attention of rows to their own tokens in padded blocks, by torch's kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from exme.evaluators.fast.prompts import Ints, KVCache, Rows

from .kernels import Scale, partial

_NEVER = 1 << 30  # a position that no token has: padding keys stand there, padding queries before


@dataclass
class Block:
    """Rows whose own tokens attend to each other, padded to one length.

    Attributes:
        index: per row and query, the token of the pass, shape [rows, queries]; padding repeats some.
        query_at: position of every query, shape [rows, queries].
        key_at: position of every key, shape [rows, keys]; keys after the query are not seen.
        places: of every key in the cache, shape [rows, keys]; None where keys are this pass's.
    """

    index: Tensor
    query_at: Tensor
    key_at: Tensor
    places: Tensor | None
    _bias: dict[int | None, Tensor] = field(default_factory=dict)

    def bias(self, window: int | None, like: Tensor) -> Tensor:
        """What is added to the scores, shape [rows, 1, queries, keys]."""
        if window not in self._bias:
            seen = seen_by(self.query_at[:, :, None], self.key_at[:, None, :], window)
            bias = like.new_zeros(seen.shape).masked_fill_(~seen, float("-inf"))
            self._bias[window] = bias[:, None]
        return self._bias[window]


@dataclass(frozen=True)
class Blocks:
    """All own tokens of a pass; every token is a query of exactly one block.

    Attributes:
        blocks: in any order.
        back: where each token's query stands in the blocks' queries, one after another.
    """

    blocks: list[Block]
    back: Tensor

    @classmethod
    def of(cls, rows: Rows) -> Blocks:
        """Rows in blocks."""
        arrays, back = arrays_of(rows)
        blocks = []
        for array in arrays:
            index, query_at, key_at, *places = map(torch.from_numpy, array)
            blocks.append(Block(index, query_at, key_at, *places or (None,)))
        return cls(blocks, torch.from_numpy(back))

    def attend(
        self,
        layer: int,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        cache: KVCache,
        scale: Scale,
    ) -> tuple[Tensor, Tensor]:
        """Every token's attention to its row's own tokens, and the log-sum-exp of its scores.

        Args:
            query: shape [heads, tokens, head size].
            keys: shape [key heads, tokens, head size]; values likewise.

        Returns:
            Shapes [heads, tokens, head size] and [heads, tokens].
        """
        outs, weights = [], []
        for block in self.blocks:
            if block.places is None:
                own_keys = keys[:, block.index].transpose(0, 1)
                own_values = values[:, block.index].transpose(0, 1)
            else:
                own_keys, own_values = cache.gather(layer, block.places)
            causal = block.places is None and scale.window is None and scale.softcap is None
            bias = None if causal else block.bias(scale.window, query)
            picked = query[:, block.index].transpose(0, 1)  # [rows, heads, queries, size]
            out, weight = partial(picked, own_keys, own_values, scale, bias, causal=causal)
            outs.append(out.transpose(0, 1).flatten(1, 2))
            weights.append(weight.transpose(0, 1).flatten(1, 2))
        return (
            torch.cat(outs, 1).index_select(1, self.back),
            torch.cat(weights, 1).index_select(1, self.back),
        )


def arrays_of(rows: Rows) -> tuple[list[list[Ints]], Ints]:
    """Each block's arrays: index, positions of queries and of keys, and the keys' places in the cache; and `back`.

    Rows that begin in this pass, of like length; then all others.
    """
    fresh, going = np.flatnonzero(rows.before == 0), np.flatnonzero(rows.before)
    groups = [*_alike(rows.lengths, fresh), *([going] if going.size else [])]
    blocks: list[list[Ints]] = []
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


def _alike(lengths: Ints, rows: Ints) -> Iterator[Ints]:
    """Rows, longest first, in groups whose shortest has at least two thirds of the longest."""
    order = rows[np.argsort(-lengths[rows], kind="stable")]
    first = 0
    for i in range(1, len(order) + 1):
        if i == len(order) or 3 * lengths[order[i]] < 2 * lengths[order[first]]:
            yield order[first:i]
            first = i


def seen_by(query_at: Tensor, key_at: Tensor, window: int | None) -> Tensor:
    """Who sees whom, by positions that broadcast against each other."""
    seen = key_at <= query_at
    return seen if window is None else seen & (key_at > query_at - window)
