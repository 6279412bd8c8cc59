"""A search's trials as points over the coefficients: what every picture of it is drawn from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exme.evaluators import HIGHER, Scale
from exme.search.merging import Candidate
from exme.search.proof import Outcome
from exme.search.trials import Standing, TrialRecord, Unit, is_flat, standing_of, standings, unit_of

Array = NDArray[np.float64]

FLAT = "all scores are the same"
ENOUGH = 6  # fewer distinct points say nothing about the score between them


@dataclass(frozen=True)
class Scene:
    """n distinct scored points over k checkpoints; scores of accuracies in percent."""

    names: tuple[str, ...]
    points: Array  # (n, k)
    scores: Array  # (n,); see `Standing.mean`
    bands: Array  # (n, 2), 95% intervals
    whole: NDArray[np.bool_]  # (n,), scored on all documents
    failed: Array  # (m, k)
    marks: dict[str, Array]  # points to name, (k,) each: the best first, then the inputs
    unit: str
    is_flat: bool = False  # all have the same score: there is nothing to be seen between them
    scale: Scale = HIGHER  # of the metric

    @property
    def has_surface(self) -> bool:
        """Whether a surface between the points says anything."""
        return len(self.points) >= ENOUGH and not self.is_flat

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

    def text_at(self, point: Array) -> str:
        """The score at a point, as people read it: ``62.1%``; empty where there is none."""
        score = self.score_at(point)
        return "" if score is None else self.text(score)

    def text(self, score: float) -> str:
        """A score of these, as people read it."""
        found = Unit(percent=bool(self.unit), scale=self.scale)
        return found.score(score / 100 if self.unit else score)

    def tick(self, score: float) -> str:
        """A score of these on an axis whose title has the unit."""
        factor = 100.0 if self.unit else 1.0
        return f"{factor * self.scale.turn(score / factor):.4g}"

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

        The length scale, and the share of the noise that is not common to all complete trials (they see
        the same documents), have the highest marginal likelihood on a small grid. Scores from a part
        of the documents have as much more noise as their bands are wider.

        Returns:
            Mean at each of `at`, and its standard deviation as a share of the prior's.
        """
        middle, deviation = float(np.median(self.scores)), float(np.std(self.scores)) or 1.0
        y = (self.scores - middle) / deviation
        noise = (np.diff(self.bands)[:, 0] / (2 * 1.96 * deviation)) ** 2
        common = float(np.mean(noise[self.whole])) if self.whole.any() else 0.0
        own = np.where(self.whole, 0.0, np.maximum(noise - common, 0.0))
        span = float(np.ptp(self.points, axis=0).max()) or 1.0

        def kernel(a: Array, length: float) -> Array:
            squares = ((a[:, None, :] - self.points[None]) ** 2).sum(axis=2)
            return np.asarray(np.exp(-squares / (2 * (length * span) ** 2)))

        def factor(length: float, share: float) -> Array:
            gram = kernel(self.points, length) + np.diag(share * common + own + 1e-6)
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
    winner = outcome.winner
    if winner is None or winner.candidate is None:
        raise ValueError("no complete trial to show")
    found = standings(outcome.trials)
    known = {s.trial.candidate.digest for s in found if s.trial.candidate}
    entries = [e for e in outcome.inputs if e.search and e.candidate.digest not in known]
    found += standings(
        [
            TrialRecord(-i, "complete", e.name, e.candidate, e.search)
            for i, e in enumerate(entries, 1)
        ]
    )
    best = standing_of(found, winner.candidate.digest)
    assert best is not None  # the winner is one of the trials
    return scene_of(found, best, failed_of(outcome.trials))


def failed_of(trials: Iterable[TrialRecord]) -> list[Candidate]:
    """Candidates that could not be scored."""
    return [t.candidate for t in trials if t.candidate and t.state == "failed"]


def scene_of(found: Iterable[Standing], best: Standing, failed: Iterable[Candidate]) -> Scene:
    """The scene of candidates by what is known of them.

    Args:
        found: those to show, the best among them.
        best: of them.
        failed: candidates that could not be scored.
    """
    winner = best.trial
    assert winner.candidate is not None
    names = tuple(winner.candidate.coefficients)

    def place(candidate: Candidate) -> list[float]:
        return [candidate.coefficients[n] for n in names]

    # Of equal points (groups and parameters of methods are not drawn) the first stays, a complete one first.
    ranked = sorted(found, key=lambda s: (s.is_complete, -s.trial.number))
    scored = {tuple(place(s.trial.candidate)): s for s in ranked if s.trial.candidate}
    order = sorted(scored.items(), key=lambda item: item[1].trial.number)
    shown = [s for _, s in order]
    unit = unit_of(shown)
    factor = 100.0 if unit.percent else 1.0
    scores = factor * np.array([s.mean for s in shown])
    bands = factor * np.array([(s.interval.low, s.interval.high) for s in shown])
    middle = np.array(place(winner.candidate))
    marked = {"base": np.zeros(len(names))}
    marked |= {short(n): row for n, row in zip(names, np.eye(len(names)), strict=True)}
    title = " = ".join([*(n for n, p in marked.items() if np.array_equal(p, middle)), "best"])
    marks = {f"{title} (trial {winner.number})": middle}
    return Scene(
        names=names,
        points=np.array([point for point, _ in order]),
        scores=scores,
        bands=np.where(np.isfinite(bands), bands, scores[:, None]),
        whole=np.array([s.is_complete for s in shown]),
        failed=np.array([place(c) for c in failed]).reshape(-1, len(names)),
        marks=marks | {n: p for n, p in marked.items() if not np.array_equal(p, middle)},
        unit="%" if unit.percent else "",
        scale=unit.scale,
        is_flat=len(shown) > 1 and is_flat(s.trial for s in shown),
    )


def short(name: str, size: int = 28) -> str:
    return name if len(name) <= size else f"{name[: size - 1]}…"
