"""The arithmetic of a merge with torch alone, on any device; chunk by chunk, in float32.

What `kernel.c` computes faster on the CPU, bit for bit the same. Pure but for `out`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .draws import uniform
from .method import KEEP_ALL, Mask

# Elements at a time: scratch of a few MB, which stays in the last-level cache.
CHUNK = 2**18


@dataclass(frozen=True)
class Operand:
    """A checkpoint's elements and what is done with them; all tensors flat and of one length.

    Attributes:
        values: the checkpoint's elements, or its delta's where `is_delta`.
        coefficient: c, dimensionless.
        mask: which elements of the delta are kept.
        ranks: of the delta's elements in their row in 255ths, uint8; None where the mask needs none.
        is_delta: whether `values` is the delta itself, in float32.
    """

    values: torch.Tensor
    coefficient: float
    mask: Mask = KEEP_ALL
    ranks: torch.Tensor | None = None
    is_delta: bool = False


def merge(
    out: torch.Tensor,
    base: torch.Tensor,
    operands: Sequence[Operand],
    *,
    elects: bool,
    dtype: torch.dtype,
    index: int = 0,
) -> bool:
    """Write base + sum_i c_i m_i(theta_i - base), or the elected mean of its terms, into `out`.

    Args:
        out: flat, in a dtype at least as wide as `dtype`.
        base: flat, as long as `out`, any float dtype.
        operands: at least one.
        elects: average the terms that have the elected sign (TIES) instead of adding all.
        dtype: what the float32 result is rounded to, once.
        index: place of the first element in its tensor, from which draws count.

    Returns:
        Whether all that was written is finite.
    """
    finite = True
    for start in range(0, out.numel(), CHUNK):
        part = slice(start, min(start + CHUNK, out.numel()))
        origin = base[part].float()
        deltas = []
        for operand in operands:
            delta = operand.values[part].float()
            if not operand.is_delta:
                delta = delta - origin
            ranks = None if operand.ranks is None else operand.ranks[part]
            deltas.append(masked(delta, operand.mask, ranks, index + start))
        coefficients = [operand.coefficient for operand in operands]
        total = _elected(origin, deltas, coefficients) if elects else origin
        if not elects:
            for delta, coefficient in zip(deltas, coefficients, strict=True):
                total = torch.add(total, delta, alpha=coefficient)
        out[part].copy_(total.to(dtype))
        finite = finite and bool(torch.isfinite(out[part]).all())
    return finite


def masked(delta: torch.Tensor, mask: Mask, ranks: torch.Tensor | None, index: int) -> torch.Tensor:
    """The delta with what the mask leaves out set to zero, and what was drawn rescaled.

    Args:
        delta: flat, float32.
        mask: see `Mask`.
        ranks: uint8, as long as `delta`; needed where the mask has a slope.
        index: place of the first element in its tensor.
    """
    zero = delta.new_zeros(())
    if mask.low > 0 or mask.high < float("inf"):
        size = delta.abs()
        delta = torch.where((size >= mask.low) & (size <= mask.high), delta, zero)
    if ranks is None and mask.keep >= 1:
        return delta
    draws = uniform(mask.key, index, index + delta.numel(), delta.device)
    chance = torch.tensor(mask.keep, dtype=torch.float32, device=delta.device)
    if ranks is not None:
        slope = torch.tensor(mask.slope, dtype=torch.float32, device=delta.device)
        chance = chance + slope * ranks.float()
    return torch.where(draws < chance, delta * (1.0 / chance), zero)


def _elected(
    origin: torch.Tensor, deltas: Sequence[torch.Tensor], coefficients: Sequence[float]
) -> torch.Tensor:
    """The disjoint merge of TIES (arXiv:2306.01708, eq. 2 and 3), float32 step by step."""
    sizes = [torch.tensor(c, dtype=torch.float32, device=origin.device).abs() for c in coefficients]
    every = origin.new_zeros(())
    parts, ballot = [], torch.zeros_like(origin)
    for delta, coefficient, size in zip(deltas, coefficients, sizes, strict=True):
        every = every + size
        parts.append(delta * coefficient)
        ballot = ballot + parts[-1]
    total, weight, zero = torch.zeros_like(origin), torch.zeros_like(origin), origin.new_zeros(())
    for part, size in zip(parts, sizes, strict=True):
        agrees = torch.where(ballot < 0, -part, part) > 0
        total = total + torch.where(agrees, part, zero)
        weight = weight + torch.where(agrees, size, zero)
    divisor = weight + torch.where(weight == 0, torch.ones_like(weight), zero)
    return origin + total / divisor * every
