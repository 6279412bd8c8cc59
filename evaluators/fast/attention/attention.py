"""Attention of packed tokens to shared nodes, to their row's cache and to each other.

A pass holds the tokens of many rows in one long sequence, without padding, so that everything but
attention costs what the tokens cost. Attention is computed in parts: each shared node against all
tokens below it, then every row's own tokens; that is exact (Source: Juravsky et al., Hydragen,
arXiv:2402.05099, section 3.1). A compiled kernel does it all in one call; where it cannot be had, torch's
kernels do one part at a time, which are joined by their log-sum-exp.

transformers' attention interface hands us each layer's queries, keys and values, after rotation,
so this works for any architecture that goes through it; `support` checks that one does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from . import compiled
from .blocks import seen_by
from .kernels import Scale, partial
from .layout import Layout, Segment

NAME = "exme_shared_prefix"
NEEDED = "exme_layout"  # the keyword under which a pass reaches the attention function

# torch's kernels slow down on longer stretches: scores of a block no longer fit the processor's cache.
_QUERIES_AT_ONCE = 512


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
        query: shape [1, heads, tokens, head size].
        key: shape [1, key heads, tokens, head size]; value likewise.
        attention_mask: none; the layout says who sees whom.
        scaling: factor of the products; None is one over the square root of the head size.
        dropout: none in evaluation.
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
    layer: int = module.layer_idx  # type: ignore[assignment]  # torch: a tensor or a module
    keys, values = key[0], value[0]
    if layout.places is not None:
        layout.cache.write(layer, keys, values, layout.places)
    if compiled.fits(query, scale) and (kernel := compiled.kernel()) is not None:
        sources = layout.sources(layer, keys, values)
        return kernel.attend(query[0], sources, layout.parts, layout.at, scale)[None], None
    out, weight = layout.blocks.attend(layer, query[0], keys, values, layout.cache, scale)
    for segment in layout.segments:
        _join(out, weight, segment, query[0], layer, layout, scale)
    return out.transpose(0, 1).unsqueeze(0), None


AttentionInterface.register(NAME, attention)


def _join(
    out: Tensor,
    weight: Tensor,
    segment: Segment,
    query: Tensor,
    layer: int,
    layout: Layout,
    scale: Scale,
) -> None:
    """Add a shared node's part to the tokens below it, in place."""
    at = layout.at
    keys, values = (
        side.narrow(1, segment.place, segment.length) for side in layout.cache.buffers(layer)
    )
    masked = scale.window is not None and segment.reach >= scale.window
    for first in range(segment.first, segment.last, _QUERIES_AT_ONCE):
        last = min(first + _QUERIES_AT_ONCE, segment.last)
        bias = None
        if masked:
            key_at = torch.arange(keys.shape[1], device=at.device) + segment.start
            seen = seen_by(at[first:last, None], key_at[None], scale.window)
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
