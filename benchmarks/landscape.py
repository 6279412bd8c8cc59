"""A landscape: real per-document outcomes over coefficients, dense enough to replay searches on.

At the points of the table outcomes are those that a model gave. Between them a document's share of
solved neighbours is interpolated and compared with a threshold of the document's own, drawn once
(`thresholds`): a document changes at one place between two neighbours that differ, nearby
candidates solve nearly the same documents, and the expected score is the interpolated score.

With two coefficients the interpolation is linear on the points' Delaunay triangulation. With more, points are
too far apart for that: a document's chance to be solved is a logistic regression on all squares and products of the
coefficients (`emulate`), fitted to the real outcomes and shrunk towards the documents' own rates. How well it
predicts the mean score of points that it was not fitted to, `emulation_error` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

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
        checkpoints: how many; with groups, coefficients stand group by group.
        gram: inner products of the task vectors, shape (checkpoints, checkpoints), or one such matrix per group;
            None where they were not measured.
    """

    name: str
    names: tuple[str, ...]
    points: Floats
    outcomes: Bools
    kinds: tuple[str, ...]
    thresholds: Floats
    checkpoints: int = 2
    gram: Floats | None = None

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
        if self._mesh is None:
            share = _chances(_features(self._unit(x)[None]), self._weights)[0]
        else:
            rows, weights = self._neighbours(self._mesh, x)
            share = weights @ self.outcomes[rows]
        solved: Floats = (share > self.thresholds).astype(float)
        return solved

    @cached_property
    def _mesh(self) -> Delaunay | None:
        return Delaunay(self.points) if len(self.names) == 2 else None

    def _unit(self, x: Floats) -> Floats:
        low, high = self.bounds.T
        unit: Floats = 2 * (x - low) / (high - low) - 1
        return unit

    @cached_property
    def _weights(self) -> Floats:
        return emulate(self._unit(self.points), self.outcomes)

    def emulation_error(self, folds: int = 5) -> tuple[float, float]:
        """How far the predicted mean score is off at points left out: root mean square, correlation."""
        fold = np.random.default_rng(0).permutation(len(self.points)) % folds
        x, said = self._unit(self.points), np.zeros(len(self.points))
        for k in range(folds):
            weights = emulate(x[fold != k], self.outcomes[fold != k])
            said[fold == k] = _chances(_features(x[fold == k]), weights).mean(1)
        true = self.outcomes.mean(1)
        return float(np.sqrt(np.mean((said - true) ** 2))), float(np.corrcoef(said, true)[0, 1])

    def _neighbours(self, mesh: Delaunay, x: Floats) -> tuple[list[int], Floats]:
        """Points to interpolate between, and their weights."""
        d = len(self.names)
        simplex = int(mesh.find_simplex(x))
        if simplex >= 0:
            transform = mesh.transform[simplex]
            inner = transform[:d] @ (x - transform[d])
            return list(mesh.simplices[simplex]), np.append(inner, 1 - inner.sum())
        nearest = int(np.argmin(((self.points - x) ** 2).sum(1)))
        return [nearest], np.ones(1)

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
        extra: dict[str, Any] = {} if self.gram is None else {"gram": self.gram}
        np.savez_compressed(
            path,
            names=np.array(self.names),
            points=self.points,
            bits=np.packbits(self.outcomes, axis=1),
            kinds=np.array(self.kinds),
            checkpoints=self.checkpoints,
            **extra,
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
            checkpoints=(
                int(file["checkpoints"])
                if "checkpoints" in file
                else len({name.split(", ")[0] for name in names})
            ),
            gram=file.get("gram"),
        )


def _features(x: Floats) -> Floats:
    """1, coefficients, their squares and products, shape (p, (d + 1)(d + 2) / 2)."""
    rows, columns = np.triu_indices(x.shape[1])
    return np.concatenate([np.ones((len(x), 1)), x, x[:, rows] * x[:, columns]], 1)


def _chances(features: Floats, weights: Floats) -> Floats:
    """Chance of every document at every point, shape (p, n)."""
    found: Floats = 1 / (1 + np.exp(-np.clip(features @ weights.T, -30, 30)))
    return found


def emulate(x: Floats, outcomes: Bools, shrink: float = 2.0, rounds: int = 12) -> Floats:
    """A logistic regression per document, by Newton's method.

    Args:
        x: points in [-1, 1], shape (p, d).
        outcomes: shape (p, n).
        shrink: variance of every coefficient but the constant is one over this, a priori.
        rounds: of Newton's method.
    Returns:
        Weights of the features, shape (n, k).
    """
    features = _features(x)
    k = features.shape[1]
    pull = np.full(k, shrink)
    pull[0] = 0.1
    weights = np.zeros((outcomes.shape[1], k))
    for _ in range(rounds):
        chance = _chances(features, weights)
        slope = (outcomes - chance).T @ features - pull * weights
        curve = np.maximum(chance * (1 - chance), 1e-4)
        for i in range(len(weights)):
            hessian = (features * curve[:, i : i + 1]).T @ features + np.diag(pull)
            weights[i] += np.linalg.solve(hessian, slope[i])
    return weights
