"""The same arithmetic compiled: one pass over memory on the CPU, where there is a C compiler (`c_library`)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import torch

from exme.evaluators import build, pool

from .plain import Operand

SOURCE = Path(__file__).with_name("kernel.c")
MOST = 16  # sources, as in kernel.c

# No contraction of a product and a sum into one rounding: kernel.c says where there is one.
FLAGS = ("-ffp-contract=off",)

_DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_SPLIT = 2**20  # elements that are worth a thread


class _Source(ctypes.Structure):
    """As in kernel.c."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("ranks", ctypes.c_void_p),
        ("dtype", ctypes.c_int32),
        ("is_delta", ctypes.c_int32),
        ("coefficient", ctypes.c_float),
        ("low", ctypes.c_float),
        ("high", ctypes.c_float),
        ("keep", ctypes.c_float),
        ("slope", ctypes.c_float),
        ("key", ctypes.c_uint32 * 2),
    )


class Kernel:
    """The loaded library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._merge = library.exme_merge
        self._merge.argtypes = (
            *(ctypes.POINTER(_Source), ctypes.c_int, ctypes.c_void_p, ctypes.c_int),
            *(ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int),
            *(ctypes.c_uint64, ctypes.c_int64, ctypes.c_int64),
        )
        self.dtypes = dict(_DTYPES)
        if not library.exme_has_float16():
            del self.dtypes[torch.float16]

    def takes(
        self,
        out: torch.Tensor,
        base: torch.Tensor,
        operands: Sequence[Operand],
        dtype: torch.dtype,
    ) -> bool:
        """Whether this merge is one for the kernel: see `plain.merge` for the arguments."""
        tensors = [out, base, *(operand.values for operand in operands)]
        tensors += [operand.ranks for operand in operands if operand.ranks is not None]
        known = all(t.dtype in self.dtypes or t.dtype == torch.uint8 for t in tensors)
        placed = all(t.device.type == "cpu" and t.is_contiguous() for t in tensors)
        return known and placed and dtype in self.dtypes and len(operands) <= MOST

    def merge(
        self,
        out: torch.Tensor,
        base: torch.Tensor,
        operands: Sequence[Operand],
        *,
        elects: bool,
        dtype: torch.dtype,
        index: int = 0,
    ) -> bool:
        """As `plain.merge`, for what the kernel `takes`."""
        sources = (_Source * len(operands))(*(self._source(operand) for operand in operands))

        def span(start: int, stop: int) -> bool:
            failed = self._merge(
                *(sources, len(operands), base.data_ptr(), self.dtypes[base.dtype]),
                *(out.data_ptr(), self.dtypes[out.dtype], self.dtypes[dtype], int(elects)),
                *(index, start, stop),
            )
            return not failed

        count = out.numel()
        threads = min(torch.get_num_threads(), 1 + count // _SPLIT)
        if threads == 1:
            return span(0, count)
        step = -(-count // threads // 1024) * 1024
        bounds = [(at, min(at + step, count)) for at in range(0, count, step)]
        return all(list(pool().map(lambda bound: span(*bound), bounds)))

    def _source(self, operand: Operand) -> _Source:
        mask = operand.mask
        return _Source(
            data=operand.values.data_ptr(),
            ranks=None if operand.ranks is None else operand.ranks.data_ptr(),
            dtype=self.dtypes[operand.values.dtype],
            is_delta=operand.is_delta,
            coefficient=operand.coefficient,
            low=mask.low,
            high=mask.high,
            keep=mask.keep,
            slope=mask.slope,
            key=(ctypes.c_uint32 * 2)(*mask.key),
        )


@functools.cache
def kernel() -> Kernel | None:
    """The kernel, compiled at the first call; None where it cannot be had."""
    library = build(SOURCE, FLAGS)
    return None if library is None else Kernel(library)
