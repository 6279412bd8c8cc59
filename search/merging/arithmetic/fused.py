"""The same arithmetic in one pass over a GPU's memory, where Triton is installed (it comes with torch there).

`plain.py` makes a dozen passes on a GPU; this reads sources once and writes the live tensor once. The
same float32 operations in the same order: products and sums are contracted only where `tl.fma` says so.
``EXME_TRITON=0`` does without. With ``TRITON_INTERPRET=1`` it runs on the CPU, which is how it is tested
where there is no GPU.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import torch

from .draws import limit, scaled
from .plain import Operand, sizes

try:
    import triton
    from triton import language as tl
except ImportError:  # torch for the CPU alone comes without
    triton = None

MOST = 16  # sources; more would be another kernel
BLOCK = 1024

# Bits of the magnitudes from which a result is not finite, by what it is rounded to.
_LIMITS = {torch.float32: 0x7F800000, torch.bfloat16: 0x7F7F8000, torch.float16: 0x477FF000}
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

if triton is not None:

    @triton.jit  # type: ignore[untyped-decorator]
    def _delta(  # type: ignore[no-untyped-def]  # Triton's types are its own
        values,
        ranks,
        origin,
        floats,
        integers,
        places,
        inside,
        mixed,
        upper,
        is_delta: tl.constexpr,
        trims: tl.constexpr,
        draws: tl.constexpr,
        by_rank: tl.constexpr,
    ):
        """What a mask leaves of a delta; see plain.masked and draws.py."""
        delta = tl.load(values + places, mask=inside, other=0.0).to(tl.float32)
        if not is_delta:
            delta = delta - origin
        if trims:
            size = tl.abs(delta)
            kept = (size >= tl.load(floats + 2)) & (size <= tl.load(floats + 3))
            delta = tl.where(kept, delta, 0.0)
        if draws:
            x = mixed + (tl.load(integers + 2).to(tl.uint32) ^ upper)
            x = (x ^ (x >> 15)) * 0x846CA68B
            below = tl.load(integers)
            if by_rank:
                rank = tl.load(ranks + places, mask=inside, other=0)
                chance = tl.load(floats + 5) * tl.full(delta.shape, 1.0, tl.float32)
                chance = tl.fma(chance, rank.to(tl.float32), tl.load(floats + 4))
                delta = tl.div_rn(delta, chance)
                below = chance.to(tl.int64)
            delta = tl.where(x.to(tl.int64) < below, delta, 0.0)
        return delta

    @triton.jit  # type: ignore[untyped-decorator]
    def _merge(  # type: ignore[no-untyped-def]
        out,
        base,
        most,
        values,
        ranks,
        floats,
        integers,
        index,
        count,
        every,
        least,
        n: tl.constexpr,
        deltas: tl.constexpr,
        elects: tl.constexpr,
        trims: tl.constexpr,
        draws: tl.constexpr,
        by_rank: tl.constexpr,
        rounds: tl.constexpr,
        narrow: tl.constexpr,
        block: tl.constexpr,
    ):
        """A block of a tensor; see plain.merge."""
        places = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
        inside = places < count
        place = places + index
        upper = (place >> 32).to(tl.uint32) * 0x9E3779B9
        mixed = (place & 0xFFFFFFFF).to(tl.uint32) ^ tl.load(integers + 1).to(tl.uint32)
        mixed = (mixed ^ (mixed >> 16)) * 0x7FEB352D
        origin = tl.load(base + places, mask=inside, other=0.0).to(tl.float32)
        total = origin
        ballot = tl.zeros_like(origin)
        for i in tl.static_range(n):
            delta = _delta(
                values[i], ranks[i], origin, floats + 6 * i, integers + 3 * i, places, inside,
                mixed, upper, (deltas >> i) & 1, trims, draws, by_rank,
            )  # fmt: skip
            weight = tl.load(floats + 6 * i) * tl.full(delta.shape, 1.0, tl.float32)
            if elects:
                ballot = ballot + weight * delta
            else:
                total = tl.fma(weight, delta, total)
        if elects:
            agreed = tl.zeros_like(origin)
            sizes = tl.zeros_like(origin)
            for i in tl.static_range(n):  # from the cache: registers would not hold all sources
                delta = _delta(
                    values[i], ranks[i], origin, floats + 6 * i, integers + 3 * i, places, inside,
                    mixed, upper, (deltas >> i) & 1, trims, draws, by_rank,
                )  # fmt: skip
                part = tl.load(floats + 6 * i) * delta
                agrees = tl.where(ballot < 0, -part, part) > 0
                agreed = tl.where(agrees, agreed + part, agreed)
                sizes = tl.where(agrees, sizes + tl.load(floats + 6 * i + 1), sizes)
            quotient = tl.div_rn(every * tl.full(sizes.shape, 1.0, tl.float32),
                                 tl.maximum(sizes, least))  # fmt: skip
            total = origin + agreed * quotient
        bits = total.to(tl.uint32, bitcast=True)
        size = tl.where(inside, (bits & 0x7FFFFFFF).to(tl.int32), 0)
        tl.atomic_max(most, tl.max(size, 0))
        if rounds == 1:  # to bfloat16, to nearest, ties to even
            bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
            if narrow:
                tl.store(out + places, bits.to(tl.uint16).to(tl.int16, bitcast=True), mask=inside)
            else:
                tl.store(out + places, (bits << 16).to(tl.float32, bitcast=True), mask=inside)
        elif rounds == 2:
            tl.store(out + places, total.to(tl.float16).to(out.dtype.element_ty), mask=inside)
        else:
            tl.store(out + places, total, mask=inside)


class Fused:
    """The kernel.

    Args:
        interpreted: on the CPU, too, by Triton's interpreter.
    """

    def __init__(self, *, interpreted: bool = False) -> None:
        self._interpreted = interpreted

    def takes(
        self,
        out: torch.Tensor,
        base: torch.Tensor,
        operands: Sequence[Operand],
        dtype: torch.dtype,
    ) -> bool:
        """Whether this merge is one for the kernel: see `plain.merge` for the arguments."""
        tensors = [out, base, *(operand.values for operand in operands)]
        ranked = sum(operand.ranks is not None for operand in operands)
        keys = {operand.mask.key[0] for operand in operands}
        return (
            0 < len(operands) <= MOST
            and all(t.dtype in _DTYPES and t.is_contiguous() for t in tensors)
            and all(t.device == out.device for t in tensors)
            and (out.is_cuda or self._interpreted)
            and ranked in (0, len(operands))
            and len(keys) == 1
            and dtype in _DTYPES
            and out.dtype in (dtype, torch.float32)
        )

    def merge(
        self,
        out: torch.Tensor,
        base: torch.Tensor,
        operands: Sequence[Operand],
        *,
        elects: bool,
        dtype: torch.dtype,
        index: int = 0,
    ) -> torch.Tensor:
        """As `plain.merge`, for what the kernel `takes`; nothing here waits for the GPU."""
        floats, integers = _settings(operands, out.device)
        most = torch.zeros((), dtype=torch.int32, device=out.device)
        values = tuple(operand.values for operand in operands)
        none = torch.empty(0, dtype=torch.uint8, device=out.device)
        masks = [operand.mask for operand in operands]
        by_rank = operands[0].ranks is not None
        every, least = sizes(operands)
        narrow = out.dtype == torch.bfloat16
        count = out.numel()
        _merge[(triton.cdiv(count, BLOCK),)](
            out.view(torch.int16) if narrow else out,
            base,
            most,
            values,
            tuple(none if operand.ranks is None else operand.ranks for operand in operands),
            floats,
            integers,
            index,
            count,
            every,
            least,
            n=len(operands),
            deltas=sum(operand.is_delta << i for i, operand in enumerate(operands)),
            elects=elects,
            trims=any(mask.low > 0 or mask.high < float("inf") for mask in masks),
            draws=by_rank or any(mask.keep < 1 for mask in masks),
            by_rank=by_rank,
            rounds=_DTYPES.index(dtype),
            narrow=narrow,
            block=BLOCK,
            enable_fp_fusion=False,
        )
        return most < _LIMITS[dtype]


def _settings(
    operands: Sequence[Operand], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the kernel knows of each source: six float32 and three int64 numbers."""
    floats, integers = [], []
    for operand in operands:
        mask = operand.mask
        floats += [operand.weight, abs(operand.coefficient), mask.low, mask.high]
        floats += [scaled(mask.keep), scaled(mask.slope)]
        integers += [limit(mask.keep) if mask.keep < 1 else 2**32, *mask.key]
    return (
        torch.tensor(floats, dtype=torch.float32).to(device, non_blocking=True),
        torch.tensor(integers, dtype=torch.int64).to(device, non_blocking=True),
    )


@functools.cache
def fused() -> Fused | None:
    """The kernel, where Triton and a GPU are; None elsewhere."""
    if triton is None or os.environ.get("EXME_TRITON") == "0":
        return None
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not (torch.cuda.is_available() or interpreted):
        return None
    return Fused(interpreted=interpreted)
