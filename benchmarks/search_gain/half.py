"""A landscape of which a random half of the documents is searched and the other half is fresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.landscape import Floats, Landscape

# Stream of random numbers, beside those of the methods.
_HALVES = 5


@dataclass(frozen=True)
class Half:
    """One split of a landscape.

    Attributes:
        landscape: with all documents.
        seed: of the split, and of the search on it.
        search: documents that are searched, shape (n,).
        fresh: the others.
    """

    landscape: Landscape
    seed: int
    search: np.ndarray
    fresh: np.ndarray
    _known: dict[bytes, Floats] = field(default_factory=dict, repr=False, compare=False)

    @property
    def count(self) -> int:
        """Number of search documents."""
        return len(self.search)

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return len(self.landscape.names)

    def outcomes(self, point: Sequence[float] | Floats) -> Floats:
        """On all documents, 0 or 1; each point is looked up once for all splits."""
        found = np.asarray(point, dtype=float).round(6)
        key = found.tobytes()
        if key not in self._known:
            self._known[key] = self.landscape.solve(found)
        return self._known[key]

    def seen(self, point: Sequence[float] | Floats) -> Floats:
        """On the search documents, shape (n,)."""
        found: Floats = self.outcomes(point)[self.search]
        return found

    def score(self, point: Sequence[float] | Floats) -> float:
        """Mean on all search documents."""
        return float(self.seen(point).mean())

    def gain(self, point: Sequence[float] | Floats) -> float:
        """By how much a point is above the best input on the fresh documents, in points.

        The best input is the one that is best on all documents: the one that happens to be best on the fresh ones
        would be overrated.
        """
        best = max(self.inputs, key=lambda p: float(self.outcomes(p).mean()))
        pair = [self.outcomes(p)[self.fresh].mean() for p in (point, best)]
        return 100 * float(pair[0] - pair[1])

    @property
    def inputs(self) -> list[Floats]:
        """Every checkpoint alone."""
        few = self.landscape.checkpoints
        return [(np.arange(self.size) % few == i).astype(float) for i in range(few)]

    def spread(self, values: Sequence[float]) -> Floats:
        """One coefficient per checkpoint, the same in every group, shape (d,)."""
        return np.tile(np.asarray(values, dtype=float), self.size // self.landscape.checkpoints)


def halves(landscape: Landscape, seeds: Sequence[int]) -> list[Half]:
    """One split per seed."""
    known: dict[bytes, Floats] = {}
    found = []
    for seed in seeds:
        mixed = np.random.default_rng([seed, _HALVES]).permutation(landscape.count)
        n = landscape.count // 2
        found.append(Half(landscape, seed, mixed[:n], mixed[n:], known))
    return found
