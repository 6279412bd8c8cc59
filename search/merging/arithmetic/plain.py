"""The arithmetic of a merge with torch alone, on any device; chunk by chunk, in float32.

What `kernel.c` computes faster on the CPU, bit for bit the same. Pure but for `out`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from exme.search.merging.methods.method import KEEP_ALL, Mask

from .draws import SCALE, draws, limit, scaled

# Elements at a time: scratch of a few MB, which stays in the last-level cache.
CHUNK = 2**18
CHUNK_AWAY = 2**24  # on a GPU, where a call costs as much as a megabyte

Finite = bool | torch.Tensor


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

    @property
    def weight(self) -> float:
        """What kept elements are multiplied by, a float32: those that are drawn are rescaled.

        By one chance here alone; by rank in `masked`, where they are divided by it in draws.
        """
        c, keep = np.float32(self.coefficient), np.float32(self.mask.keep)
        if self.ranks is not None:
            return float(c * np.float32(SCALE))
        return float(c * (np.float32(1) / keep) if keep < 1 else c)


def merge(
    out: torch.Tensor,
    base: torch.Tensor,
    operands: Sequence[Operand],
    *,
    elects: bool,
    dtype: torch.dtype,
    index: int = 0,
) -> Finite:
    """Write base + sum_i c_i m_i(theta_i - base), or the elected mean of its terms, into `out`.

    Args:
        out: flat, in a dtype at least as wide as `dtype`.
        base: flat, as long as `out`, any float dtype.
        operands: at least one.
        elects: average the terms that have the elected sign (TIES) instead of adding all.
        dtype: what the float32 result is rounded to, once.
        index: place of the first element in its tensor, from which draws count.

    Returns:
        Whether all that was written is finite; a GPU's answer is on the GPU, nobody waits for it.
    """
    finite = []
    chunk = CHUNK if out.device.type == "cpu" else CHUNK_AWAY
    for start in range(0, out.numel(), chunk):
        part = slice(start, min(start + chunk, out.numel()))
        origin = base[part].float()
        deltas = []
        for operand in operands:
            delta = operand.values[part].float()
            if not operand.is_delta:
                delta = delta - origin
            ranks = None if operand.ranks is None else operand.ranks[part]
            deltas.append(masked(delta, operand.mask, ranks, index + start))
        total = _elected(origin, deltas, operands) if elects else origin
        if not elects:
            for delta, operand in zip(deltas, operands, strict=True):
                out_of = None if total is origin else total  # (the origin may be the base itself)
                total = torch.add(total, delta, alpha=operand.weight, out=out_of)
        out[part].copy_(total.to(dtype))
        finite.append(torch.isfinite(out[part]).all())
    found = torch.stack(finite).all() if finite else torch.tensor(True)
    return bool(found) if found.device.type == "cpu" else found


def masked(delta: torch.Tensor, mask: Mask, ranks: torch.Tensor | None, index: int) -> torch.Tensor:
    """The delta with what the mask leaves out set to zero; by rank, what is kept is divided by its chance in draws.

    Args:
        delta: flat, float32.
        ranks: uint8, as long as `delta`; needed where the mask has a slope.
        index: place of the first element in its tensor.
    """
    zero = delta.new_zeros(())
    if mask.low > 0 or mask.high < float("inf"):
        size = delta.abs()
        delta = torch.where((size >= mask.low) & (size <= mask.high), delta, zero)
    if ranks is None and mask.keep >= 1:
        return delta
    drawn = draws(mask.key, index, index + delta.numel(), delta.device)
    if ranks is None:
        return torch.where(drawn < limit(mask.keep), delta, zero)
    chance = torch.add(
        torch.full_like(delta, scaled(mask.keep)), ranks.float(), alpha=scaled(mask.slope)
    )
    return torch.where(drawn < chance.long(), delta / chance, zero)


def sizes(operands: Sequence[Operand]) -> tuple[float, float]:
    """Sum of the coefficients' sizes, added in float32, and the smallest."""
    every, least = np.float32(0), np.float32(np.inf)
    for operand in operands:
        size = np.abs(np.float32(operand.coefficient))
        every, least = every + size, min(least, size)
    return float(every), float(least)


def _elected(
    origin: torch.Tensor, deltas: Sequence[torch.Tensor], operands: Sequence[Operand]
) -> torch.Tensor:
    """The disjoint merge of TIES (arXiv:2306.01708, eq. 2 and 3), float32 step by step.

    Where nobody agrees the sum is zero; the smallest of the sizes keeps the quotient finite there.
    """
    every, least = sizes(operands)
    parts, ballot = [], torch.zeros_like(origin)
    for delta, operand in zip(deltas, operands, strict=True):
        parts.append(delta * operand.weight)
        ballot = ballot + parts[-1]
    total, weight, zero = torch.zeros_like(origin), torch.zeros_like(origin), origin.new_zeros(())
    for part, operand in zip(parts, operands, strict=True):
        agrees = torch.where(ballot < 0, -part, part) > 0
        total = total + torch.where(agrees, part, zero)
        weight = torch.where(agrees, weight + abs(float(np.float32(operand.coefficient))), weight)
    quotient = torch.full_like(weight, every) / weight.clamp(min=least)
    return origin + total * quotient
