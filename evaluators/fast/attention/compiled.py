"""Attention of a pass in one compiled call per layer: on the CPU in float32, where there is a C compiler.

torch's kernel would be called for every row and every shared node, and what it takes for a call is as much as
rows with few new tokens need (`attention.c` says how it is done).
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exme.evaluators import build, pool

from .kernels import Scale

SOURCE = Path(__file__).with_name("attention.c")
FLAGS = ("-ffp-contract=fast",)
Parts = NDArray[np.int32]  # as struct Part of attention.c, one a line
Source = tuple[Tensor, Tensor]  # keys and values, each [key heads, tokens, head size]

_LARGEST = 256  # head size, as in attention.c
_STEP = 16  # of which head sizes are multiples
_UNLIMITED = 1 << 30  # tokens that a token sees where there is no window
_SPLIT = 1 << 24  # FLOPs that are worth a thread: a tenth of a millisecond


class _Source(ctypes.Structure):
    """As in attention.c."""

    _fields_ = (
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("head", ctypes.c_int64),
    )


class _Call(ctypes.Structure):
    """As in attention.c."""

    _fields_ = (
        ("query", ctypes.c_void_p),
        ("query_head", ctypes.c_int64),
        ("query_token", ctypes.c_int64),
        ("out", ctypes.c_void_p),
        ("top", ctypes.c_void_p),
        ("total", ctypes.c_void_p),
        ("at", ctypes.c_void_p),
        ("sources", ctypes.c_void_p),
        ("parts", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("tokens", ctypes.c_int64),
        ("heads", ctypes.c_int32),
        ("key_heads", ctypes.c_int32),
        ("size", ctypes.c_int32),
        ("window", ctypes.c_int32),
        ("scaling", ctypes.c_float),
    )


class Kernel:
    """The loaded library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._attention = library.exme_attention
        self._attention.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self._attention.restype = None

    def attend(
        self, query: Tensor, sources: Sequence[Source], parts: Parts, at: Tensor, scale: Scale
    ) -> Tensor:
        """Attention of every token to the keys of all parts that it is in.

        Args:
            query: shape [heads, tokens, head size].
            sources: keys and values that parts are of.
            parts: shape [parts, 6]; source, first token and the one after the last, place of the
                first key in the source, number of keys, position of the first. A token sees those
                keys that do not come after it, and of these as many as its window holds.
            at: position of every token, int64, shape [tokens].
            scale: of the layer; one that `fits`.

        Returns:
            Shape [tokens, heads, head size].
        """
        heads, tokens, size = query.shape
        held = [tuple(_in_order(side) for side in source) for source in sources]
        key_heads = held[0][0].shape[0]
        if query.stride(2) != 1:
            query = query.contiguous()
        out = query.new_empty(tokens, heads, size)
        state = query.new_empty(2, tokens, heads)
        pointers = (_Source * len(held))(
            *(_Source(k.data_ptr(), v.data_ptr(), k.stride(0)) for k, v in held)
        )
        call = _Call(
            query.data_ptr(),
            query.stride(0),
            query.stride(1),
            out.data_ptr(),
            state[0].data_ptr(),
            state[1].data_ptr(),
            at.data_ptr(),
            ctypes.addressof(pointers),
            parts.ctypes.data,
            len(parts),
            tokens,
            heads,
            key_heads,
            size,
            scale.window or _UNLIMITED,
            scale.scaling * math.log2(math.e),
        )
        address = ctypes.addressof(call)
        threads = min(torch.get_num_threads(), key_heads)
        if threads > 1:
            work = 4 * size * heads * int(((parts[:, 2] - parts[:, 1]) * parts[:, 4]).sum())
            threads = min(threads, 1 + work // _SPLIT)
        if threads == 1:
            self._attention(address, 0, key_heads)
        else:
            bounds = np.linspace(0, key_heads, threads + 1).astype(int).tolist()
            spans = itertools.pairwise(bounds)
            list(pool().map(lambda span: self._attention(address, *span), spans))
        return out


def _in_order(side: Tensor) -> Tensor:
    """Keys or values whose tokens follow each other; a copy where they do not."""
    _, _, size = side.shape
    return side if side.stride(2) == 1 and side.stride(1) == size else side.contiguous()


def fits(query: Tensor, scale: Scale) -> bool:
    """Whether a layer's attention is one for the kernel.

    Args:
        query: shape [..., head size].
    """
    size = query.shape[-1]
    return (
        query.device.type == "cpu"
        and query.dtype == torch.float32
        and scale.softcap is None
        and size % _STEP == 0
        and size <= _LARGEST
    )


@functools.cache
def kernel() -> Kernel | None:
    """The kernel, compiled at the first call; None where it cannot be had."""
    library = build(SOURCE, FLAGS)
    return None if library is None else Kernel(library)
