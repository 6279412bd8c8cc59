"""A landscape: real per-document outcomes over coefficients, dense enough to replay searches on.

At the points of the table outcomes are those that a model gave. Between them a document's share of
solved neighbours is interpolated and compared with a threshold of the document's own, drawn once
(`thresholds`): a document changes at one place between two neighbours that differ, nearby
candidates solve nearly the same documents, and the expected score is the interpolated score.

With two or three coefficients the interpolation is linear on the points' Delaunay triangulation; with more
it is by inverse squared distance among the nearest points (Shepard 1968, doi:10.1145/800186.810616).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FOLDER = Path(__file__).parent / "landscapes"


@dataclass(frozen=True)
class Landscape:
    """Outcomes of every document at every point of a table.

    Attributes:
        name: what it is called in tables.
        names: the coefficients', shape (d,).
        points: shape (p, d).
        outcomes: whether a document is solved, shape (p, n).
        kinds: kind of each document, shape (n,).
        thresholds: in (0, 1), shape (n,).
    """

    name: str
    names: tuple[str, ...]
    points: Floats
    outcomes: Bools
    kinds: tuple[str, ...]
    thresholds: Floats

    @property
    def count(self) -> int:
        """Number of documents."""
        return int(self.outcomes.shape[1])

    @property
    def bounds(self) -> Floats:
        """Lowest and highest value of each coefficient, shape (d, 2)."""
        return np.stack([self.points.min(0), self.points.max(0)], 1)

    def solve(self, point: Sequence[float] | Floats) -> Floats:
        """Outcomes at any point within bounds: 0 or 1, shape (n,)."""
        x = np.clip(np.asarray(point, dtype=float), self.bounds[:, 0], self.bounds[:, 1])
        rows, weights = self._neighbours(x)
        share = weights @ self.outcomes[rows]
        return (share > self.thresholds).astype(float)

    @cached_property
    def _mesh(self) -> Delaunay | None:
        return Delaunay(self.points) if len(self.names) in (2, 3) else None

    def _neighbours(self, x: Floats) -> tuple[list[int], Floats]:
        """Points to interpolate between, and their weights."""
        d = len(self.names)
        simplex = -1 if self._mesh is None else int(self._mesh.find_simplex(x))
        if self._mesh is not None and simplex >= 0:
            transform = self._mesh.transform[simplex]
            inner = transform[:d] @ (x - transform[d])
            return list(self._mesh.simplices[simplex]), np.append(inner, 1 - inner.sum())
        squared = ((self.points - x) ** 2).sum(1)
        rows = [int(i) for i in np.argsort(squared)[: 2 * d + 1]]
        weights = 1 / np.maximum(squared[rows], 1e-12)
        return rows, weights / weights.sum()

    def of(self, name: str, chosen: Bools) -> Landscape:
        """The same with some of the documents."""
        kinds = tuple(k for k, c in zip(self.kinds, chosen, strict=True) if c)
        return replace(
            self,
            name=name,
            outcomes=self.outcomes[:, chosen],
            kinds=kinds,
            thresholds=self.thresholds[chosen],
        )

    def save(self, path: Path) -> None:
        """Write as .npz: packed bits and plain arrays, no pickle."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path,
            names=np.array(self.names),
            points=self.points,
            bits=np.packbits(self.outcomes, axis=1),
            kinds=np.array(self.kinds),
        )


def load(path: Path, seed: int = 0) -> Landscape:
    """Read what `save` wrote; the thresholds are drawn with `seed`."""
    with np.load(path, allow_pickle=False) as file:
        kinds = tuple(str(k) for k in file["kinds"])
        names = tuple(str(n) for n in file["names"])
        bits = np.unpackbits(file["bits"], axis=1, count=len(kinds)).astype(bool)
        return Landscape(
            name=path.stem,
            names=names,
            points=file["points"],
            outcomes=bits,
            kinds=kinds,
            thresholds=np.random.default_rng(seed).uniform(1e-9, 1 - 1e-9, len(kinds)),
        )
