"""What masks and angles need to know of a tensor's deltas; found out once, kept for the study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from exme.search.merging.sources import Delta

from .draws import RANK_STEPS, draw_key

# Shares are told apart by thousandths: so many magnitudes are kept for every tensor and checkpoint.
STEPS = 1000
_SORTED_AT_ONCE = 2**18  # magnitudes
_SAMPLED = 16  # one in so many tells where about the median is
_PIECE = 2**15  # elements of an inner product that are widened at a time


# Room for a table of so many bytes, kept as long as the study.
Room = Callable[[int], torch.Tensor]


class TensorFacts:
    """Facts of one tensor; each is computed when it is first asked for.

    Args:
        delta: a checkpoint's delta, by its name.
        room: for the table of ranks.
        frugal: see `magnitudes`.
    """

    def __init__(
        self, tensor: str, delta: Callable[[str], Delta], room: Room, *, frugal: bool
    ) -> None:
        self._tensor = tensor
        self._delta = delta
        self._room, self._frugal = room, frugal
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
            self._magnitudes[checkpoint] = magnitudes(self._delta(checkpoint), frugal=self._frugal)
        return self._magnitudes[checkpoint]

    def cosine(self, one: str, other: str) -> float:
        """See `Facts.cosine`; in float64, and to six decimals, in which machines agree."""
        pair = (min(one, other), max(one, other))
        if pair not in self._cosines:
            wanted = [(a, b) for a, b in ((0, 0), (1, 1)) if pair[a] not in self._squares]
            wanted.append((0, 1))
            products = torch.zeros(len(wanted), dtype=torch.float64)
            deltas = (self._delta(name).parts() for name in pair)
            for (_, first), (_, second) in zip(*deltas, strict=True):
                products += _products(first, second, wanted)
            for (place, _), square in zip(wanted, products[:-1].tolist(), strict=False):
                self._squares[pair[place]] = square
            scale = (self._squares[pair[0]] * self._squares[pair[1]]) ** 0.5
            cosine = float(products[-1]) / scale if scale else 0.0
            self._cosines[pair] = round(max(-1.0, min(1.0, cosine)), 6)
        return self._cosines[pair]

    def ranks(self, checkpoint: str) -> torch.Tensor:
        """Rank of every element's magnitude in its row, in 255ths; flat, uint8."""
        if checkpoint not in self._ranks:
            delta = self._delta(checkpoint)
            self._ranks[checkpoint] = ranks(delta, self._room(delta.shape.numel()))
        return self._ranks[checkpoint]

    def key(self, checkpoint: str) -> tuple[int, int]:
        """See `Facts.key`."""
        return draw_key(self._seed, self._tensor, checkpoint)


def _products(
    one: torch.Tensor, other: torch.Tensor, wanted: Sequence[tuple[int, int]]
) -> torch.Tensor:
    """Inner products of two deltas by their numbers, in float64, in pieces that stay in the cache."""
    found = torch.zeros(len(wanted), dtype=torch.float64)
    for pieces in zip(one.cpu().split(_PIECE), other.cpu().split(_PIECE), strict=True):
        both = [piece.double() for piece in pieces]
        found += torch.stack([both[a] @ both[b] for a, b in wanted])
    return found


def magnitudes(
    delta: Delta, *, frugal: bool = False
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Magnitudes at every thousandth of a delta, from the largest down.

    Args:
        frugal: sort those below about their median first, the others after them; all at once take
            twice the memory of a tensor in bfloat16.

    Returns:
        Shape (2, 1001), float32: the k-th largest and the one after it, where k is the whole number
        of elements in that share; in the first row at least the largest, in the second at most the
        smallest.
    """
    count = delta.shape.numel()
    if not count:
        return np.zeros((2, STEPS + 1), np.float32)
    kept = np.array([int(share / STEPS * count) for share in range(STEPS + 1)])
    places = count - 1 - np.stack([np.maximum(kept, 1) - 1, np.minimum(kept, count - 1)])
    pivot = np.inf
    if frugal and count > _SORTED_AT_ONCE:
        sample = [sizes[::_SAMPLED].copy() for sizes in _sizes(delta)]
        pivot = float(np.median(np.concatenate(sample)))
    low = sum(int((sizes < pivot).sum()) for sizes in _sizes(delta))
    found = np.empty((2, STEPS + 1), np.float32)
    for is_low, start, stop in ((True, 0, low), (False, low, count)):
        if start == stop:
            continue
        ordered, at = np.empty(stop - start, np.float32), 0
        for sizes in _sizes(delta):
            chosen = sizes if stop - start == count else sizes[(sizes < pivot) == is_low]
            ordered[at : at + chosen.size] = chosen
            at += chosen.size
        ordered.sort()
        here = (places >= start) & (places < stop)
        found[here] = ordered[places[here] - start]
        del ordered
    return found


def _sizes(delta: Delta) -> Iterator[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    """Magnitudes, part by part."""
    return (elements.abs_().cpu().numpy() for _, elements in delta.parts())


def ranks(delta: Delta, room: torch.Tensor) -> torch.Tensor:
    """Rank of every element's magnitude in its row, 0 the smallest, 255 the largest.

    Args:
        delta: of shape (*rows, columns); a vector is one row.
        room: what is filled, flat, uint8.

    Returns:
        `room`; elements of one magnitude are ranked in order of their places.
    """
    columns = max(1, int(delta.shape[-1])) if delta.shape else 1
    places = torch.arange(columns) * RANK_STEPS
    levels = (places.float() / max(1, columns - 1)).round().to(torch.uint8)
    for part, elements in delta.parts():
        order = elements.cpu().abs_().reshape(-1, columns).argsort(dim=1, stable=True)
        room[part].view(-1, columns).scatter_(1, order, levels.expand(order.shape))
    return room


class FactBook:
    """The facts of all tensors of a study.

    Args:
        delta: a tensor's delta by the names of tensor and checkpoint.
        room: for tables; in memory where it is not given.
        frugal: take half the memory and several times the time to find magnitudes.
    """

    def __init__(
        self,
        delta: Callable[[str, str], Delta],
        room: Room | None = None,
        *,
        frugal: bool = False,
    ) -> None:
        self._delta, self._frugal = delta, frugal
        self._room = room or (lambda count: torch.empty(count, dtype=torch.uint8))
        self._facts: dict[str, TensorFacts] = {}

    def of(self, tensor: str, seed: int) -> TensorFacts:
        """Facts of a tensor, with the draws of this seed."""
        if tensor not in self._facts:
            self._facts[tensor] = TensorFacts(
                tensor,
                lambda who: self._delta(tensor, who),
                self._room,
                frugal=self._frugal,
            )
        return self._facts[tensor].seeded(seed)
