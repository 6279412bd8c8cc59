"""Attention of packed tokens to shared nodes, to their row's cache and to each other.

A pass holds the tokens of many rows in one long sequence, without padding, so that everything but
attention costs what the tokens cost. Attention is computed in parts: each shared node against all
tokens below it, in one dense product, then every row's own tokens. Parts are joined by their
log-sum-exp, which is exact (Source: Juravsky et al., Hydragen, arXiv:2402.05099, section 3.1).

transformers' attention interface hands us each layer's queries, keys and values, after rotation,
so this works for any architecture that goes through it; `support` checks that one does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from .kernels import Scale, knows_causal, partial

NAME = "exme_shared_prefix"
NEEDED = "exme_layout"  # the keyword under which a pass reaches the attention function

# Kernels slow down on longer stretches: scores of a block no longer fit the processor's cache.
_QUERIES_AT_ONCE = 512


@dataclass
class Segment:
    """A shared node, and the stretch of a pass's tokens below it.

    Attributes:
        keys: per layer, shape [key heads, tokens, head size]; values likewise.
        start: position of the node's first token.
        first: first token of the stretch.
        last: the one after its last token.
        reach: distance of the last token of the stretch from the node's first token.
    """

    keys: list[Tensor]
    values: list[Tensor]
    start: int
    first: int
    last: int
    reach: int


@dataclass
class Span:
    """Neighbouring rows of a pass that bring equally many tokens, and the keys of those rows.

    Attributes:
        first: its first token in the pass.
        rows: how many; one, where keys are the row cache's.
        queries: tokens that each brings.
        keys: own tokens that each has by now, those among them.
        place: of the row's first key in the row cache; None where keys are this pass's.
    """

    first: int
    rows: int
    queries: int
    keys: int
    place: int | None
    _bias: dict[int | None, Tensor] = field(default_factory=dict)

    def hides(self, window: int | None) -> bool:
        """Whether there is a key that a query does not see."""
        return self.queries > 1 or (window is not None and self.keys > window)

    def bias(self, window: int | None, like: Tensor) -> Tensor:
        """What is added to the scores, shape [1, 1, queries, keys]."""
        if window not in self._bias:
            at = torch.arange(self.keys, device=like.device)
            seen = _seen(at[-self.queries :, None], at, window)
            bias = like.new_zeros(seen.shape).masked_fill_(~seen, float("-inf"))
            self._bias[window] = bias[None, None]
        return self._bias[window]


@dataclass
class Block:
    """Rows whose own tokens attend to each other, padded to one length.

    Attributes:
        index: per row and query, the token of the pass, shape [rows, queries]; padding repeats some.
        query_at: position of every query, shape [rows, queries].
        key_at: position of every key, shape [rows, keys]; keys after the query are not seen.
        places: of every key in the row cache, shape [rows, keys]; None where keys are this pass's.
    """

    index: Tensor
    query_at: Tensor
    key_at: Tensor
    places: Tensor | None
    _bias: dict[int | None, Tensor] = field(default_factory=dict)

    def bias(self, window: int | None, like: Tensor) -> Tensor:
        """What is added to the scores, shape [rows, 1, queries, keys]."""
        if window not in self._bias:
            seen = _seen(self.query_at[:, :, None], self.key_at[:, None, :], window)
            bias = like.new_zeros(seen.shape).masked_fill_(~seen, float("-inf"))
            self._bias[window] = bias[:, None]
        return self._bias[window]


class RowCache(Protocol):
    """Keys and values of rows' own tokens (`cache.RowCache`)."""

    def write(self, layer: int, keys: Tensor, values: Tensor, places: Tensor) -> None:
        """Store a pass's keys and values, shape [key heads, tokens, head size]."""
        ...

    def read(self, layer: int, first: int, length: int) -> tuple[Tensor, Tensor]:
        """Views of a row's keys and values, shape [1, key heads, length, head size]."""
        ...

    def gather(self, layer: int, places: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of some rows' keys and values, shape [rows, key heads, length, head size]."""
        ...


@dataclass
class Layout:
    """Who attends to what in one pass; the same for all layers.

    Own tokens are in spans, or in blocks: a processor is told of every row, a GPU of as many as
    possible at once. Every token is a query of exactly one.

    Attributes:
        at: position of every token, shape [tokens].
        segments: shared nodes, from the beginning of the sequence.
        spans: own tokens, in the pass's order; none where there are blocks.
        blocks: own tokens, in any order.
        back: where each token's query stands in the blocks' queries, one after another.
        cache: where own keys and values are stored; None where no later pass needs them.
        places: of every token in the cache, shape [tokens].
        harvest: stretches of tokens (first, last) whose keys and values become nodes.
        harvested: per layer and stretch, the keys and values.
    """

    at: Tensor
    segments: list[Segment]
    spans: list[Span] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    back: Tensor | None = None
    cache: RowCache | None = None
    places: Tensor | None = None
    harvest: list[tuple[int, int]] = field(default_factory=list)
    harvested: list[list[tuple[Tensor, Tensor]]] = field(default_factory=list)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface.

    Args:
        module: the attention layer.
        query: shape [1, heads, tokens, head size].
        key: shape [1, key heads, tokens, head size]; value likewise.
        attention_mask: none; the layout says who sees whom.
        scaling: factor of the products; None is one over the square root of the head size.
        dropout: none in evaluation.
        sliding_window: of this layer.
        softcap: of this layer.
        others: must hold the layout, and nothing that changes attention.

    Returns:
        Shape [1, tokens, heads, head size], and no weights.

    Raises:
        NotImplementedError: the layer asks for what this does not do.
    """
    layout: Layout = others.pop(NEEDED)
    strange = [k for k in ("s_aux", "position_bias", "cu_seq_lens_q") if others.get(k) is not None]
    if attention_mask is not None or strange or query.shape[0] != 1:
        raise NotImplementedError(f"attention with {strange or 'a mask of its own'}")
    scale = Scale(query.shape[-1] ** -0.5 if scaling is None else scaling, softcap, sliding_window)
    layer: int = module.layer_idx  # type: ignore[assignment]
    keys, values = key[0], value[0]
    if layout.harvest:
        stretches = layout.harvest
        layout.harvested.append(
            [(keys[:, a:b].clone(), values[:, a:b].clone()) for a, b in stretches]
        )
    if layout.cache is not None and layout.places is not None:
        layout.cache.write(layer, keys, values, layout.places)
    own = _in_spans if layout.spans else _in_blocks
    out, weight = own(layout, layer, query[0], keys, values, scale)
    for segment in layout.segments:
        _join(out, weight, segment, query[0], layer, layout.at, scale)
    return out.transpose(0, 1).unsqueeze(0), None


AttentionInterface.register(NAME, attention)


def _in_spans(
    layout: Layout, layer: int, query: Tensor, keys: Tensor, values: Tensor, scale: Scale
) -> tuple[Tensor, Tensor]:
    """Every token's attention to its row's own tokens: [heads, tokens, size], [heads, tokens]."""
    outs, weights = [], []
    for span in layout.spans:
        picked = _rows_of(query, span)
        if span.place is None or layout.cache is None:
            own_keys, own_values = _rows_of(keys, span), _rows_of(values, span)
        else:
            own_keys, own_values = layout.cache.read(layer, span.place, span.keys)
        bias, causal = None, False
        if span.hides(scale.window):
            # Rows that begin in this pass are plainly causal, which a kernel knows how to skip.
            causal = (
                scale.window is None
                and span.queries == span.keys
                and knows_causal(scale, query, keys)
            )
            bias = None if causal else span.bias(scale.window, query)
        out, weight = partial(picked, own_keys, own_values, scale, bias, causal=causal)
        if span.rows == 1:
            outs.append(out[0])
            weights.append(weight[0])
        else:
            outs.append(out.transpose(0, 1).flatten(1, 2))
            weights.append(weight.transpose(0, 1).flatten(1, 2))
    return _whole(outs), _whole(weights)


def _rows_of(tokens: Tensor, span: Span) -> Tensor:
    """A view of a span's tokens [heads, tokens, size], as [rows, heads, queries, size]."""
    part = tokens.narrow(1, span.first, span.rows * span.queries)
    if span.rows == 1:
        return part.unsqueeze(0)
    rows: Tensor = part.unflatten(1, (span.rows, span.queries))
    return rows.transpose(0, 1)


def _whole(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _in_blocks(
    layout: Layout, layer: int, query: Tensor, keys: Tensor, values: Tensor, scale: Scale
) -> tuple[Tensor, Tensor]:
    """See `_in_spans`."""
    outs, weights = [], []
    for block in layout.blocks:
        if block.places is None or layout.cache is None:
            own_keys = keys[:, block.index].transpose(0, 1)
            own_values = values[:, block.index].transpose(0, 1)
        else:
            own_keys, own_values = layout.cache.gather(layer, block.places)
        causal = block.places is None and scale.window is None and knows_causal(scale, query, keys)
        bias = None if causal else block.bias(scale.window, query)
        picked = query[:, block.index].transpose(0, 1)  # [rows, heads, queries, size]
        out, weight = partial(picked, own_keys, own_values, scale, bias, causal=causal)
        outs.append(out.transpose(0, 1).flatten(1, 2))
        weights.append(weight.transpose(0, 1).flatten(1, 2))
    back = layout.back
    assert back is not None  # as wherever there are blocks
    return _whole(outs).index_select(1, back), _whole(weights).index_select(1, back)


def _join(
    out: Tensor,
    weight: Tensor,
    segment: Segment,
    query: Tensor,
    layer: int,
    at: Tensor,
    scale: Scale,
) -> None:
    """Add a shared node's part to the tokens below it, in place."""
    keys, values = segment.keys[layer], segment.values[layer]
    masked = scale.window is not None and segment.reach >= scale.window
    for first in range(segment.first, segment.last, _QUERIES_AT_ONCE):
        last = min(first + _QUERIES_AT_ONCE, segment.last)
        bias = None
        if masked:
            key_at = torch.arange(keys.shape[1], device=at.device) + segment.start
            seen = _seen(at[first:last, None], key_at[None], scale.window)
            bias = query.new_zeros(seen.shape).masked_fill_(~seen, float("-inf"))[None, None]
        part, part_weight = (
            whole[0]
            for whole in partial(
                query[None, :, first:last],
                keys[None],
                values[None],
                scale,
                bias,
                may_hide_all=masked,
            )
        )
        here, here_weight = out[:, first:last], weight[:, first:last]
        share = torch.sigmoid(part_weight - here_weight).to(out.dtype)
        here.lerp_(part, share[..., None])
        torch.logaddexp(here_weight, part_weight, out=here_weight)


def _seen(query_at: Tensor, key_at: Tensor, window: int | None) -> Tensor:
    """Who sees whom, by positions that broadcast against each other."""
    seen = key_at <= query_at
    return seen if window is None else seen & (key_at > query_at - window)
