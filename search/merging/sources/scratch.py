"""Tensors on disk: for what is as large as the sources and must not be in memory with them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

# Not /tmp, which is memory on many machines.
_FOLDER = Path("/var/tmp")


def on_disk(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """An uninitialised tensor in a file without a name: its pages may leave the memory."""
    count = math.prod(shape)
    if not count:
        return torch.empty(*shape, dtype=dtype)
    with tempfile.NamedTemporaryFile(dir=_FOLDER if _FOLDER.is_dir() else None) as file:
        file.truncate(count * dtype.itemsize)
        found = torch.from_file(file.name, shared=True, size=count, dtype=dtype)
    return found.reshape(*shape)
