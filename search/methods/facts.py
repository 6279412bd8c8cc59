"""What masks and angles need to know of a tensor's deltas; found out once, kept for the study."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .draws import draw_key

# Shares are told apart by thousandths: so many magnitudes are kept for every tensor and checkpoint.
STEPS = 1000
RANK_STEPS = 255
_PIECE = 2**15  # elements of an inner product that are widened at a time
_ROWS = 2**22  # elements whose ranks are found at a time

Delta = Callable[[str], torch.Tensor]


class TensorFacts:
    """Facts of one tensor; each is computed when it is first asked for.

    Args:
        tensor: the tensor's name.
        delta: a checkpoint's delta in float32, in the tensor's shape.
    """

    def __init__(self, tensor: str, delta: Delta) -> None:
        self._tensor = tensor
        self._delta = delta
        self._magnitudes: dict[str, np.ndarray[tuple[int, int], np.dtype[np.float32]]] = {}
        self._cosines: dict[tuple[str, str], float] = {}
        self._squares: dict[str, float] = {}
        self._ranks: dict[str, torch.Tensor] = {}
        self._seed = 0

    def seeded(self, seed: int) -> TensorFacts:
        """The same facts, with the draws of this seed."""
        self._seed = seed
        return self

    def magnitude(self, checkpoint: str, share: float) -> float:
        """See `Facts.magnitude`."""
        return float(self._table(checkpoint)[0, round(share * STEPS)])

    def magnitude_below(self, checkpoint: str, share: float) -> float:
        """See `Facts.magnitude_below`."""
        return float(self._table(checkpoint)[1, round(share * STEPS)])

    def _table(self, checkpoint: str) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        if checkpoint not in self._magnitudes:
            self._magnitudes[checkpoint] = magnitudes(self._delta(checkpoint))
        return self._magnitudes[checkpoint]

    def cosine(self, one: str, other: str) -> float:
        """See `Facts.cosine`; in float64, and to six decimals, in which machines agree."""
        pair = (min(one, other), max(one, other))
        if pair not in self._cosines:
            first, second = (self._delta(name).reshape(-1) for name in pair)
            for name, delta in zip(pair, (first, second), strict=True):
                if name not in self._squares:
                    self._squares[name] = _product(delta, delta)
            scale = (self._squares[one] * self._squares[other]) ** 0.5
            product = _product(first, second)
            cosine = product / scale if scale else 0.0
            self._cosines[pair] = round(max(-1.0, min(1.0, cosine)), 6)
        return self._cosines[pair]

    def ranks(self, checkpoint: str) -> torch.Tensor:
        """Rank of every element's magnitude in its row, in 255ths; flat, uint8."""
        if checkpoint not in self._ranks:
            self._ranks[checkpoint] = ranks(self._delta(checkpoint)).reshape(-1)
        return self._ranks[checkpoint]

    def key(self, checkpoint: str) -> tuple[int, int]:
        """See `Facts.key`."""
        return draw_key(self._seed, self._tensor, checkpoint)


def _product(one: torch.Tensor, other: torch.Tensor) -> float:
    """Inner product in float64, in pieces that stay in the cache."""
    pieces = zip(one.split(_PIECE), other.split(_PIECE), strict=True)
    return sum(float(a.double() @ b.double()) for a, b in pieces)


def magnitudes(delta: torch.Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Magnitudes at every thousandth of a delta, from the largest down.

    Returns:
        Shape (2, 1001), float32: the k-th largest and the one after it, where k is the whole number
        of elements in that share; in the first row at least the largest, in the second at most the
        smallest.
    """
    sizes = delta.abs().reshape(-1).cpu().numpy()
    sizes.sort()  # in place: `abs` has made a copy
    count = sizes.size
    if not count:
        return np.zeros((2, STEPS + 1), np.float32)
    kept = np.array([int(share / STEPS * count) for share in range(STEPS + 1)])
    last, following = np.maximum(kept, 1) - 1, np.minimum(kept, count - 1)
    return np.stack([sizes[count - 1 - last], sizes[count - 1 - following]])


def ranks(delta: torch.Tensor) -> torch.Tensor:
    """Rank of every element's magnitude in its row, 0 the smallest, 255 the largest.

    Args:
        delta: float32, shape (*rows, columns); a row by itself where it has one dimension only.

    Returns:
        The same shape, uint8; elements of one magnitude are ranked in order of their places.
    """
    columns = delta.shape[-1] if delta.dim() else 1
    flat = delta.reshape(-1, columns)
    found = torch.empty(flat.shape, dtype=torch.uint8, device=delta.device)
    step = max(1, _ROWS // max(1, columns))
    for start in range(0, flat.shape[0], step):
        order = flat[start : start + step].abs().argsort(dim=1, stable=True)
        places = torch.arange(columns, device=delta.device) * RANK_STEPS
        levels = (places.float() / max(1, columns - 1)).round().to(torch.uint8)
        found[start : start + step].scatter_(1, order, levels.expand(order.shape))
    return found.reshape(delta.shape)


class FactBook:
    """The facts of all tensors of a study.

    Args:
        delta: a tensor's delta by the names of tensor and checkpoint.
    """

    def __init__(self, delta: Callable[[str, str], torch.Tensor]) -> None:
        self._delta = delta
        self._facts: dict[str, TensorFacts] = {}

    def of(self, tensor: str, seed: int) -> TensorFacts:
        """Facts of a tensor, with the draws of this seed."""
        if tensor not in self._facts:
            self._facts[tensor] = TensorFacts(tensor, lambda who: self._delta(tensor, who))
        return self._facts[tensor].seeded(seed)
