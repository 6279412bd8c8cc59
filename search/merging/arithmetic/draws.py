"""Random draws by counting: the draw of an element is a function of its place, and of nothing else.

Two rounds of shifts and multiplications over the element's index: the first with a key of the tensor's,
which all checkpoints share, the second with a key of the checkpoint's. So draws do not depend on order,
chunks, threads or device. `kernel.c` computes the same 32-bit integers.

Source: the multipliers are those of C. Wellons' `lowbias32` (2018), a hash of 32 bits found by search
for the least bias; the keys are ours. Its last shift is left out: it changes no bit that decides.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

RANK_STEPS = 255
# Chances that go by rank are computed in float32 as so many draws of 2**32: what is kept is then compared
# and divided by the same number. As large as leaves the last rank's, rounded up, below 2**32.
SCALE = 2.0**32 - 1024

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


def limit(keep: float) -> int:
    """Below which draws are kept, of elements that all have this chance (a float32)."""
    return int(float(np.float32(keep)) * _WORD)


def scaled(chance: float) -> float:
    """A chance, or what a rank adds to one, in draws: a float32 (see `SCALE`)."""
    return float(np.float32(chance) * np.float32(SCALE))
