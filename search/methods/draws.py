"""Random draws by counting: the draw of an element is a function of its place, and of nothing else.

Two rounds of shifts and multiplications over the element's index: the first with a key of the tensor's,
which all checkpoints share, the second with a key of the checkpoint's. So draws do not depend on order,
chunks, threads or device. `kernel.c` and `fused.py` compute the same 32-bit integers.

Source: the multipliers are those of C. Wellons' `lowbias32` (2018), a hash of 32 bits found by search
for the least bias; the keys are ours. Its last shift is left out: it changes no bit that decides.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

RANK_STEPS = 255

_WORD = 0xFFFFFFFF
_UPPER = 0x9E3779B9  # spreads the part of an index beyond 32 bits


def draw_key(seed: int, tensor: str, checkpoint: str) -> tuple[int, int]:
    """Two 32-bit words: of a candidate's seed and a tensor, and of these and a checkpoint."""
    return _word(f"{seed}|{tensor}"), _word(f"{seed}|{tensor}|{checkpoint}")


def _word(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def draws(key: tuple[int, int], start: int, stop: int, device: torch.device) -> torch.Tensor:
    """Draws of the elements `start` to `stop` of a tensor.

    Returns:
        Shape (stop - start,), int64, from 0 to 2**32 - 1.
    """
    index = torch.arange(start, stop, dtype=torch.int64, device=device)
    second = ((index >> 32) * _UPPER & _WORD) ^ key[1]
    x = (index & _WORD) ^ key[0]
    x = (x ^ (x >> 16)) * 0x7FEB352D & _WORD
    x = (x + second) & _WORD
    return (x ^ (x >> 15)) * 0x846CA68B & _WORD


def limits(keep: float, slope: float = 0.0) -> tuple[int, int]:
    """Below which draws are kept, and what every rank adds to that.

    Args:
        keep: chance of an element of rank 0; `slope` is added to it for every rank. As float32.
        slope: see `keep`.
    """
    low = int(float(np.float32(keep)) * _WORD)
    return low, min(int(float(np.float32(slope)) * _WORD), (_WORD - low) // RANK_STEPS)
