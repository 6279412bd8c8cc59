"""Random draws by counting: the draw of an element is a function of its place, and of nothing else.

Two rounds of multiplication and shifts over the element's index, with a key in each; so draws do not
depend on order, chunks, threads or device. `kernel.c` computes the same 32-bit integers.

Source: the multipliers are those of C. Wellons' `lowbias32` (2018), a hash of 32 bits found by search
for the least bias; the keys are ours.
"""

from __future__ import annotations

import hashlib

import torch

_WORD = 0xFFFFFFFF
_UPPER = 0x9E3779B9  # spreads the part of an index beyond 32 bits


def draw_key(seed: int, tensor: str, checkpoint: str) -> tuple[int, int]:
    """Two 32-bit words for a candidate's seed and the names of a tensor and a checkpoint."""
    digest = hashlib.sha256(f"{seed}|{tensor}|{checkpoint}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def uniform(key: tuple[int, int], start: int, stop: int, device: torch.device) -> torch.Tensor:
    """Draws of the elements `start` to `stop` of a tensor.

    Returns:
        Shape (stop - start,), float32, multiples of 2**-24 in [0, 1).
    """
    index = torch.arange(start, stop, dtype=torch.int64, device=device)
    second = ((index >> 32) * _UPPER & _WORD) ^ key[1]
    x = (index & _WORD) ^ key[0]
    x = (x ^ (x >> 16)) * 0x7FEB352D & _WORD
    x = x ^ second
    x = (x ^ (x >> 15)) * 0x846CA68B & _WORD
    return ((x ^ (x >> 16)) >> 8).to(torch.float32) * 2.0**-24
