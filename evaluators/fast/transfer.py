"""Arrays on their way to the model's device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .rows import Ints


def to_device(arrays: Sequence[Ints], device: torch.device) -> list[Tensor]:
    """All arrays in one transfer, from pinned memory where the device is not the host."""
    whole = torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))
    if device.type == "cuda":
        whole = whole.pin_memory().to(device, non_blocking=True)
    parts = whole.split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]
