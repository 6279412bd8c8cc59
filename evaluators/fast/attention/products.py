"""Products with weight matrices by oneDNN, where torch would take a library that leaves half of the processor idle.

In float32 torch multiplies with Intel's MKL, which gives other makers' processors no AVX-512. oneDNN, which torch
also carries, gives it to all (measured: 250 instead of 112 GFLOP/s on one core). It makes a kernel for every shape
and keeps it, a third of a millisecond each, so rows are padded to few shapes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

# Of which numbers of rows are multiples; 16 took 42 MB more in a search, for 2% of its time.
_STEP = 64
_LEAST = 1 << 22  # multiplications that are worth the call (measured)


@functools.cache
def is_better() -> bool:
    """Whether this processor has AVX-512, and MKL does not use it.

    Told from what the processor is, not by trying both: another answer would be another rounding.
    """
    cpuinfo = Path("/proc/cpuinfo")
    return (
        torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and cpuinfo.is_file()
        and "GenuineIntel" not in cpuinfo.read_text(encoding="utf-8", errors="replace")
    )


@contextmanager
def faster_products(model: nn.Module) -> Iterator[None]:
    """Let a model's linear layers use oneDNN while inside, if they are on the CPU in float32; without gradients."""
    chosen = [
        layer
        for layer in (model.modules() if is_better() else ())
        if type(layer) is nn.Linear
        and layer.weight.device.type == "cpu"
        and layer.weight.dtype == torch.float32
    ]
    for layer in chosen:
        layer.__dict__["forward"] = functools.partial(_product, layer)
    try:
        yield
    finally:
        for layer in chosen:
            del layer.__dict__["forward"]


def _product(layer: nn.Linear, given: Tensor) -> Tensor:
    """What the layer's own `forward` computes."""
    weight, bias = layer.weight, layer.bias
    width = given.shape[-1]
    rows = given.numel() // width
    if rows < _STEP // 2 or rows * weight.numel() < _LEAST:
        return functional.linear(given, weight, bias)
    flat = given.reshape(rows, width)
    if rows % _STEP:
        flat = functional.pad(flat, (0, 0, 0, -rows % _STEP))
    found: Tensor = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, "none", [], "")
    return found[:rows].view(*given.shape[:-1], -1)
