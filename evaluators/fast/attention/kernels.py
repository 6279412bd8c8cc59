"""Attention to some of the keys, with the log-sum-exp by which parts are joined: torch's kernels, or written out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Where scores are written out, they may take this many numbers of memory.
_SCORES_AT_ONCE = 1 << 26


@dataclass(frozen=True)
class Scale:
    """How one layer turns products into weights.

    Attributes:
        scaling: factor of the products.
        softcap: bound of the scaled products, softly; None where there is none.
        window: how many tokens back a token sees, itself included; None is all.
    """

    scaling: float
    softcap: float | None = None
    window: int | None = None


def partial(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Scale,
    bias: Tensor | None,
    *,
    causal: bool = False,
    may_hide_all: bool = False,
) -> tuple[Tensor, Tensor]:
    """Attention to some of the keys, and the log-sum-exp of their scores.

    Args:
        query: shape [rows, heads, queries, size].
        key: shape [rows, key heads, keys, size]; value likewise.
        bias: added to the scores, shape [rows, 1, queries, keys]; minus infinity hides.
        causal: whether queries see keys up to their own place, in addition; only with the kernel.
        may_hide_all: whether it may hide all keys from a query, as a window does.

    Returns:
        Shapes [rows, heads, queries, size] and [rows, heads, queries].
    """
    if scale.softcap is None and not may_hide_all:
        return _kernel(query, key, value, scale, bias, causal)
    rows, heads, queries, _ = query.shape
    if queries > 1 and rows * heads * queries * key.shape[2] > _SCORES_AT_ONCE:
        halves = [
            partial(query[:, :, part], key, value, scale, b, may_hide_all=may_hide_all)
            for part in (slice(0, queries // 2), slice(queries // 2, queries))
            for b in (None if bias is None else bias[:, :, part],)
        ]
        return torch.cat([o for o, _ in halves], 2), torch.cat([w for _, w in halves], 2)
    # Heads that share keys are more queries of the same keys.
    repeats = heads // key.shape[1]
    folded = query.unflatten(1, (-1, repeats)).flatten(2, 3)
    if bias is not None:
        bias = bias.repeat(1, 1, repeats, 1)
    out, weight = _written_out(folded, key, value, scale, bias)
    return (
        out.unflatten(2, (repeats, queries)).flatten(1, 2),
        weight.unflatten(2, (repeats, queries)).flatten(1, 2),
    )


def _written_out(
    query: Tensor, key: Tensor, value: Tensor, scale: Scale, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    scores = torch.matmul(query, key.transpose(-1, -2)).float() * scale.scaling
    if scale.softcap is not None:
        scores = torch.tanh(scores / scale.softcap) * scale.softcap
    if bias is not None:
        scores = scores + bias
    # A window may hide all keys of a part: it then weighs nothing, and must not be NaN.
    top = scores.amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).min)
    scores = (scores - top).exp_()
    total = scores.sum(-1, keepdim=True)
    out = torch.matmul((scores / total.clamp_min(1e-30)).to(value.dtype), value)
    return out, (top + total.log()).squeeze(-1)


def _kernel(
    query: Tensor, key: Tensor, value: Tensor, scale: Scale, bias: Tensor | None, causal: bool
) -> tuple[Tensor, Tensor]:
    """torch's own kernel on the CPU, which also returns the log-sum-exp; heads may share keys."""
    out, weight = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, causal, attn_mask=bias, scale=scale.scaling
    )
    return out, weight
