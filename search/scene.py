"""A search's trials as points over the coefficients: what every picture of it is drawn from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exme.evaluators.scores import Scores

from .candidate import Candidate
from .outcome import Outcome, TrialRecord
from .statistics import is_binary, mean_interval

Array = NDArray[np.float64]

ENOUGH = 6  # fewer distinct points say nothing about the score between them


@dataclass(frozen=True)
class Scene:
    """n distinct scored points over k checkpoints; scores of accuracies in percent."""

    names: tuple[str, ...]
    points: Array  # (n, k)
    scores: Array  # (n,)
    bands: Array  # (n, 2), 95% intervals
    failed: Array  # (m, k)
    marks: dict[str, Array]  # points to name, (k,) each: the best first, then the inputs
    unit: str

    @property
    def best(self) -> Array:
        return next(iter(self.marks.values()))

    @property
    def axes(self) -> list[int]:
        """Checkpoints to draw over: those of the best's two largest coefficients, in order."""
        return sorted(np.argsort(-np.abs(self.best), kind="stable")[:2].tolist())

    def score_at(self, point: Array) -> float | None:
        found = np.flatnonzero((self.points == point).all(axis=1))
        return float(self.scores[found[0]]) if len(found) else None

    @property
    def limits(self) -> dict[int, tuple[float, float]]:
        """Limits of each axis: inputs, best, and the trials that are not far away from them all."""
        found = {}
        for axis in self.axes:
            core = np.array([point[axis] for point in self.marks.values()])
            every = np.concatenate([core, self.points[:, axis], self.failed[:, axis]])
            reach = 1.5 * np.ptp(core)
            every = every[(every >= core.min() - reach) & (every <= core.max() + reach)]
            margin = 0.08 * np.ptp(every)
            found[axis] = (float(every.min() - margin), float(every.max() + margin))
        return found

    def smooth(self, at: Array) -> tuple[Array, Array]:
        """Gaussian process through the noisy scores.

        Args:
            at: where to look, shape (m, k).

        The length scale, and the share of the noise that is not common to all trials (they see the
        same documents), have the highest marginal likelihood on a small grid.

        Returns:
            Mean at each of `at`, and its standard deviation as a share of the prior's.
        """
        middle, deviation = float(np.median(self.scores)), float(np.std(self.scores)) or 1.0
        y = (self.scores - middle) / deviation
        noise = float(np.mean((np.diff(self.bands) / (2 * 1.96 * deviation)) ** 2))
        span = float(np.ptp(self.points, axis=0).max()) or 1.0

        def kernel(a: Array, length: float) -> Array:
            squares = ((a[:, None, :] - self.points[None]) ** 2).sum(axis=2)
            return np.asarray(np.exp(-squares / (2 * (length * span) ** 2)))

        def factor(length: float, share: float) -> Array:
            gram = kernel(self.points, length) + (share * noise + 1e-6) * np.eye(len(y))
            return np.asarray(np.linalg.cholesky(gram))

        def misfit(setting: tuple[float, float]) -> float:  # minus the log marginal likelihood
            root = factor(*setting)
            return float((np.linalg.solve(root, y) ** 2).sum() / 2 + np.log(np.diag(root)).sum())

        grid = [(length, s) for length in np.geomspace(0.03, 1.2, 12) for s in (0.05, 0.3, 1.0)]
        length, share = min(grid, key=misfit)
        root = factor(length, share)
        cross = np.linalg.solve(root, kernel(at, length).T)
        mean = np.asarray(middle + deviation * (cross.T @ np.linalg.solve(root, y)))
        return mean, np.sqrt(np.clip(1 - (cross**2).sum(axis=0), 0, 1))


def scene_of_outcome(outcome: Outcome) -> Scene:
    """The scene of an outcome; the base, which is no trial, is seen through its entry.

    Raises:
        ValueError: there is no complete trial to show.
    """
    if outcome.winner is None:
        raise ValueError("no complete trial to show")
    inputs = [(e.candidate, e.search) for e in outcome.inputs]
    return scene_of(outcome.trials, outcome.winner, inputs)


def scene_of(
    trials: Iterable[TrialRecord],
    winner: TrialRecord,
    inputs: Iterable[tuple[Candidate, Scores | None]] = (),
) -> Scene:
    """The scene of some trials.

    Args:
        trials: those of a study.
        winner: the best of them.
        inputs: further candidates, with their scores on the search documents.

    Raises:
        ValueError: the winner is not complete.
    """
    if winner.candidate is None:
        raise ValueError("no complete trial to show")
    names = tuple(winner.candidate.coefficients)
    tried = [(t.candidate, t.scores, t.state) for t in trials]
    tried += [(c, s, "complete") for c, s in inputs]
    rows = [([c.coefficients[n] for n in names], s, state) for c, s, state in tried if c]
    scored = {tuple(row): s for row, s, _ in rows[::-1] if s}  # the first of equals stays
    percent = all(is_binary(s.values) for s in scored.values())
    scale = 100.0 if percent else 1.0
    scores = scale * np.array([s.mean for s in scored.values()])
    bands = scale * np.array([(i.low, i.high) for i in map(mean_interval, scored.values())])
    best = np.array([winner.candidate.coefficients[n] for n in names])
    marked = {"base": np.zeros(len(names))}
    marked |= {short(n): row for n, row in zip(names, np.eye(len(names)), strict=True)}
    title = " = ".join([*(n for n, p in marked.items() if np.array_equal(p, best)), "best"])
    marks = {f"{title} (trial {winner.number})": best}
    return Scene(
        names=names,
        points=np.array(list(scored)),
        scores=scores,
        bands=np.where(np.isfinite(bands), bands, scores[:, None]),
        failed=np.array([r for r, _, state in rows if state == "failed"]).reshape(-1, len(names)),
        marks=marks | {n: p for n, p in marked.items() if not np.array_equal(p, best)},
        unit="%" if percent else "",
    )


def short(name: str, size: int = 28) -> str:
    return name if len(name) <= size else f"{name[: size - 1]}…"
