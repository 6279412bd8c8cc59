"""What is believed of candidates: one model of where they stand, of the documents, and of both together.

Notation: K candidates at points z_k in weight space (`weight_space`: 1 is the length of a task vector), n documents,
y_kj the outcome of candidate k on document j, where it was scored.

    y_kj = f(z_k) + s_k (b_j + h_j(z_k) + e_kj)
    f(z) = level + a (bump(z) top + g(z)),      bump(z) = exp(-|z - t|^2 / (2 REACH^2)),   t the usual place
    cov(g(z), g(z')) = matern(|z - z'| / l),    cov(h_j(z), h_j(z')) = exp(-|z - z'| / near)

f is the score on documents like these. b_j is a document's difficulty, which all candidates share; h_j is what it thinks of a
region, which near candidates share: they solve nearly the same documents, so on the same documents they are told apart with
few, and on these few documents alone nothing more is learnt of others. How nearly the same is seen in the outcomes. s_k is the
standard deviation of an outcome: of shares the binomial one, else one for all. All parts are Gaussian, so that f is known in closed form (a mixed model, Henderson 1975,
with kriging, Rasmussen and Williams 2006, ch. 2); documents that the same candidates have seen share one small inverse.

What is known of merges beforehand: an equal mix that is extrapolated somewhat tends to be good, and whoever goes much further
falls. That is the bump, whose height is learnt. How far scores differ (a) and over what distance (l) is averaged over a few
values, each weighed by how well it explains the outcomes; where nothing differs, a is small and the bump is, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from .strata import Floats, Ints

# Share of an outcome's variance that near candidates have in common, how much of that is the document's difficulty for all,
# and how far a region reaches. Two candidates of the tuning landscapes correlate by 0.96, 0.9, 0.8, 0.7 and 0.5 at distances of
# 0.1, 0.2, 0.4, 0.7 and 1.5; how much others do is seen in the documents on which they differ: these are medians of what is
# expected of the share that is not in common, and of the reach; the factors are tried, each step a deviation.
SHARED, DIFFICULT, NEAR = 0.96, 0.34, 1.4
FACTORS = (1 / 3, 1 / 1.7, 1.0, 1.7, 3.0, 5.0, 9.0, 15.0)
# How far scores differ, in standard deviations of an outcome, and over what distance: from a plateau to a cliff.
AMPLITUDES, LENGTHS = (0.04, 0.12, 0.3), (0.6, 1.2, 2.4)
# The bump: its height in amplitudes, mean and deviation; its width.
HEIGHT, DOUBT, REACH = 2.0, 1.5, 1.3
# Deviation of the level, in those of an outcome.
LEVEL = 0.6
# Models of less weight than this are left out.
LEAST = 0.03


@dataclass(frozen=True)
class Posterior:
    """What is believed of f at some points: means, shape (q,), and covariances, shape (q, q)."""

    mean: Floats
    covariance: Floats


@dataclass(frozen=True)
class _Model:
    """One amplitude and length, fitted: its weight, and what makes means and covariances of it."""

    amplitude: float
    length: float
    weight: float
    pull: Floats
    gain: Floats


class Belief:
    """The posterior, given outcomes on the documents of one suite.

    Args:
        points: of the candidates, shape (K, d).
        values: by document, NaN where it was not scored, shape (K, n).
        usual: the usual place of a good merge, shape (d,).
    """

    def __init__(self, points: Floats, values: Floats, usual: Floats) -> None:
        self.points, self.usual = points, usual
        seen = ~np.isnan(values)
        filled, counts = np.where(seen, values, 0.0), seen.sum(1)
        self.level = float(filled.sum() / max(1, counts.sum()))
        known = values[seen]
        self.is_share = bool(np.isin(known, (0.0, 1.0)).all())
        if self.is_share:
            rates = (filled.sum(1) + 4 * self.level) / (counts + 4)
            self._unit = 0.5
        else:
            rates = np.full(len(points), self.level)
            self._unit = math.sqrt(_within(values, seen)) or 1.0
        self._groups = _alike(seen)
        self._sums = [filled[np.ix_(who, which)].sum(1) for who, which in self._groups]
        self._apart = _distances(points, points)
        deviations = self._deviations(rates)
        self._common, self._near = _in_common(
            (filled - rates[:, None] * seen) / deviations[:, None], seen, self._apart
        )
        self._alike = self._correlation(self._apart)
        self._alike[np.diag_indices(len(points))] = 1.0
        self._fit(deviations)
        if self.is_share:  # once more, with the rates that all outcomes together tell
            self._fit(self._deviations(self.mean(points)))

    def _correlation(self, apart: Floats) -> Floats:
        """Of two candidates' outcomes on one document, by their distance."""
        return _correlation(self._common, self._near, apart)

    def _deviations(self, rates: Floats) -> Floats:
        """s of each candidate, shape (K,)."""
        if not self.is_share:
            return np.full(len(rates), self._unit)
        share = np.clip(rates, 0.03, 0.97)
        found: Floats = np.sqrt(share * (1 - share))
        return found

    def _fit(self, deviations: Floats) -> None:
        self._s = deviations
        told, pull = np.zeros_like(self._apart), np.zeros(len(self.points))
        for (who, which), sums in zip(self._groups, self._sums, strict=True):
            inverse = self._inverse(who)
            told[np.ix_(who, who)] += len(which) * inverse
            pull[who] += inverse @ sums
        bumps = self._bump(self.points)
        found = []
        for amplitude in AMPLITUDES:
            for length in LENGTHS:
                a = amplitude * self._unit
                prior = self._prior(a, length, self._apart, bumps, bumps)
                mean = self._expected(a, bumps)
                left = pull - told @ mean
                inner = np.eye(len(prior)) + told @ prior
                factor = linalg.lu_factor(inner, check_finite=False)
                solved = linalg.lu_solve(factor, np.column_stack([left, told]), check_finite=False)
                log_determinant = float(np.log(np.abs(np.diag(factor[0]))).sum())
                fits = 0.5 * left @ prior @ solved[:, 0] + pull @ mean - 0.5 * mean @ told @ mean
                found.append((a, length, fits - 0.5 * log_determinant, solved))
        best = max(log for _, _, log, _ in found)
        weights = np.exp([log - best for _, _, log, _ in found])
        weights /= weights.sum()
        self._models = [
            _Model(a, length, float(weight), solved[:, 0], solved[:, 1:])
            for (a, length, _, solved), weight in zip(found, weights, strict=True)
            if weight >= LEAST
        ]
        self._total = sum(model.weight for model in self._models)

    def _inverse(self, who: Ints) -> Floats:
        """Inverse of the covariance of outcomes on one document, given f, of those who have seen it."""
        scale = np.outer(self._s[who], self._s[who])
        return np.asarray(np.linalg.inv(self._alike[np.ix_(who, who)] * scale), dtype=float)

    def _bump(self, points: Floats) -> Floats:
        found: Floats = np.exp(-0.5 * ((points - self.usual) ** 2).sum(1) / REACH**2)
        return found

    def _expected(self, a: float, bumps: Floats) -> Floats:
        return self.level + HEIGHT * a * (bumps - 0.5)

    def _prior(self, a: float, length: float, apart: Floats, one: Floats, other: Floats) -> Floats:
        constant = (LEVEL * self._unit) ** 2
        bump = (DOUBT * a) ** 2 * np.outer(one, other)
        found: Floats = a**2 * _matern(apart / length) + constant + bump
        return found

    @cached_property
    def _known(self) -> Floats:
        return self._bump(self.points)

    def mean(self, points: Floats) -> Floats:
        """Mean of f at points, shape (q,)."""
        bumps, apart = self._bump(points), _distances(points, self.points)
        total = np.zeros(len(points))
        for model in self._models:
            cross = self._prior(model.amplitude, model.length, apart, bumps, self._known)
            total += model.weight * (self._expected(model.amplitude, bumps) + cross @ model.pull)
        return total / self._total

    def at(self, points: Floats) -> Posterior:
        """Means and covariances of f at points, shape (q, d)."""
        bumps, apart = self._bump(points), _distances(points, self.points)
        own = _distances(points, points)
        means, covariance = [], np.zeros_like(own)
        for model in self._models:
            cross = self._prior(model.amplitude, model.length, apart, bumps, self._known)
            means.append(self._expected(model.amplitude, bumps) + cross @ model.pull)
            prior = self._prior(model.amplitude, model.length, own, bumps, bumps)
            covariance += model.weight * (prior - cross @ model.gain @ cross.T)
        weights = [model.weight / self._total for model in self._models]
        mean = np.average(means, axis=0, weights=weights)
        covariance /= self._total
        for weight, each in zip(weights, means, strict=True):
            covariance += weight * np.outer(each - mean, each - mean)
        return Posterior(mean, (covariance + covariance.T) / 2)

    def noise(self, points: Floats, posterior: Posterior) -> Floats:
        """Covariance of outcomes on one document, given f and the document's difficulty, shape (q, q)."""
        s = self._deviations(posterior.mean)
        alike = self._correlation(_distances(points, points)) - DIFFICULT * self._common
        alike[np.diag_indices(len(points))] += 1 - self._common
        return alike * np.outer(s, s)

    def told(
        self, posterior: Posterior, points: Floats, pair: tuple[int, int], who: Ints, documents: int
    ) -> Floats:
        """By how much documents more of each of a pair would lower the variance of their difference, shape (2,).

        What others did on these documents is taken out of the outcomes first.

        Args:
            posterior: at the points.
            points: those tried first, shape (q, d).
            pair: numbers of two of them.
            who: candidates that have seen the documents, shape (m,); those whom the model was not fitted to are left out.
            documents: how many.
        """
        who = who[who < len(self.points)]
        both = list(pair)
        s = self._deviations(posterior.mean[both])
        near = self._correlation(_distances(points[both], self.points[who]))
        cross = near * np.outer(s, self._s[who])
        weights = cross @ self._inverse(who) if len(who) else np.zeros((2, 0))
        noise = np.maximum(s**2 - (weights * cross).sum(1), 1e-4)
        c = posterior.covariance
        # (what is told is f at the point, less what the weights make of f at those who have seen it)
        moved = c[:, both] - c[:, who] @ weights.T
        own = moved[both, [0, 1]] - (weights * moved[who].T).sum(1)
        apart = moved[pair[0]] - moved[pair[1]]
        found: Floats = apart**2 / np.maximum(own + noise / documents, 1e-12)
        return found


def _correlation(common: float, near: float, apart: Floats) -> Floats:
    found: Floats = common * (DIFFICULT + (1 - DIFFICULT) * np.exp(-apart / near))
    return found


def _in_common(outcomes: Floats, seen: np.ndarray, apart: Floats) -> tuple[float, float]:
    """What near candidates have in common, and how far a region reaches: by least squares, and what is expected of both.

    Half the mean square of two candidates' differences is 1 less their correlation.

    Args:
        outcomes: less their rates, in deviations, 0 where not scored, shape (K, n).
        seen: whether a candidate was scored on a document, shape (K, n).
        apart: distances of the candidates, shape (K, K).
    """
    some = seen.astype(float)
    both, squares = some @ some.T, (outcomes**2) @ some.T
    total = squares + squares.T - 2 * outcomes @ outcomes.T
    pairs = np.triu_indices(len(apart), 1)
    count, r = both[pairs], apart[pairs]
    differ = total[pairs] / np.maximum(2 * count, 1)
    # A candidate's outcomes are in all of its pairs, and count as often as there are documents.
    weights = count * 2 / max(1, len(apart) - 1)
    best, found = math.inf, (SHARED, NEAR)
    for i, rest in enumerate(FACTORS):
        for j, reach in enumerate(FACTORS[:5]):
            common, near = 1 - (1 - SHARED) * rest, NEAR * reach
            misfit = weights @ (differ - 1 + _correlation(common, near, r)) ** 2
            misfit += (i - 2) ** 2 + (j - 2) ** 2
            if misfit < best:
                best, found = misfit, (common, near)
    return found


def _alike(seen: np.ndarray) -> list[tuple[Ints, Ints]]:
    """Documents that the same candidates have seen: who, and which documents."""
    _, place = np.unique(np.packbits(seen, axis=0), axis=1, return_inverse=True)
    place = place.ravel()
    groups = [np.flatnonzero(place == k) for k in range(place.max() + 1)]
    found = [(np.flatnonzero(seen[:, which[0]]), which) for which in groups]
    return [(who, which) for who, which in found if len(who)]


def _within(values: Floats, seen: np.ndarray) -> float:
    """Variance of a candidate's outcomes, on average."""
    several = seen.sum(1) > 1
    return float(np.nanvar(values[several], axis=1).mean()) if several.any() else 0.0


def _distances(a: Floats, b: Floats) -> Floats:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    found: Floats = np.sqrt(np.maximum(squares, 0))
    return found


def _matern(r: Floats) -> Floats:
    """Matern's kernel with nu = 5/2."""
    scaled = math.sqrt(5) * r
    found: Floats = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return found
