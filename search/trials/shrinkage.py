"""Scores as they would be on other documents like these: free of the winner's curse.

A candidate is named best because of what it did on these documents, so that its estimate is too high. Bayes'
rule undoes that: whoever is picked, and how, the mean of what is believed is right on average, as long as the
model is (Efron 2011, doi:10.1198/jasa.2011.tm11181). The model, with y the estimates of the scores on these n
documents:

    y_i = m + f(x_i) + g(x_i) + e_i

f is the score on documents like these, the Gaussian process of `surrogate`. g is what is true of these documents
only. It is no process to be guessed: two candidates that solve the same documents share it, and how often they
do not is seen in their outcomes,

    cov(g(x), g(x')) = v exp(-|x - x'| / l) / n

with v the variance of one candidate's outcomes, and l fitted to the variances of the differences of pairs on the
documents that both have seen. e_i is the error of an estimate from some of the documents. Shown is the mean of
m + f(x_i) given all y.

A merge that was carried too far falls off a cliff, and no smooth f falls with it. `expected` leaves the fallen
out: beside them the living would all look alike or f so rough that nothing is learnt of a neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exme.search.merging import Candidate
from exme.search.racing import Estimate, Floats, conditioned, tuned

# Prior of l: median, in ranges of the coefficients and times sqrt(d / 2), and deviation of its logarithm.
_REACH = (0.9, 0.5)

# Prior median of f's own roughness: g is rough already.
_NUGGET = 1e-4

# Coefficients count as spread over so much at least, as they are once a search has begun in earnest.
_LEAST = 2.0

# Lengths are fitted to so many candidates at most, those that were asked most: to more it takes too long.
_TUNED = 80

_PARAMETER = "parameter "  # (no group's label: these are stripped)


def shrunken(points: Floats, estimates: Sequence[Estimate], values: Floats) -> Floats:
    """Each candidate's expected score on documents like these, shape (k,).

    Args:
        points: of the candidates, shape (k, d); see `places`.
        estimates: of their means over all n documents.
        values: by document, NaN where it was not seen, shape (k, n).
    """
    y = np.array([e.mean for e in estimates])
    spread = _spread(values)
    if len(y) < 2 or not spread:
        return y
    some = np.argsort([-e.count for e in estimates], kind="stable")[:_TUNED]
    chosen = np.ix_(some, some)
    apart = np.sqrt(np.maximum(_squares(points), 0) / max(1.0, points.shape[1] / 2))
    reach = _reach(apart[chosen], values[some], spread)
    errors = spread * np.exp(-apart / reach) / values.shape[1]
    errors[np.diag_indices(len(y))] += [e.standard_error**2 for e in estimates]
    theta = tuned(points[some], y[some], errors[chosen], nugget=_NUGGET)
    process = conditioned(points, y, errors, theta)
    # With K the covariance of m + f and w the weights, (K + errors + nugget) w = y - centre, and K w is wanted.
    found: Floats = y - errors @ process.weights - process.nugget * process.weights
    return found


def places(candidates: Sequence[Candidate]) -> Floats:
    """Candidates as points, shape (k, d): coefficients, group by group, and parameters, by their ranges."""
    labels = list(dict.fromkeys(label for c in candidates for label in c.grouped)) or [""]
    rows = [_numbers(candidate, labels) for candidate in candidates]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = np.array([[row.get(name, np.nan) for name in names] for row in rows])
    table = np.where(np.isnan(table), np.nanmean(table, axis=0), table)
    width = np.ptp(table, axis=0)
    moved = width > 0 if (width > 0).any() else np.arange(len(width)) < 1
    least = [0.0 if kind == _PARAMETER else _LEAST for kind, _ in names]
    found: Floats = (table - table.min(0)) / np.where(width > 0, np.maximum(width, least), 1.0)
    return found[:, moved]


def _numbers(candidate: Candidate, labels: Sequence[str]) -> dict[tuple[str, str], float]:
    each = {label: candidate.grouped.get(label, candidate.coefficients) for label in labels}
    found = {(label, name): c for label, values in each.items() for name, c in values.items()}
    return found | {(_PARAMETER, name): value for name, value in candidate.parameters.items()}


def _spread(values: Floats) -> float:
    """Variance of one candidate's outcomes, on average."""
    seen = (~np.isnan(values)).sum(1)
    each = np.nanvar(values[seen > 1], axis=1)
    return float(np.mean(each)) if len(each) else 0.0


def _squares(points: Floats) -> Floats:
    length = (points**2).sum(1)
    found: Floats = length[:, None] + length[None] - 2 * points @ points.T
    found[np.diag_indices(len(points))] = 0.0
    return found


def _reach(apart: Floats, values: Floats, spread: float) -> float:
    """l: half the variance of a difference is v (1 - exp(-r / l)), by least squares and its prior."""
    pairs = np.triu_indices(len(apart), 1)
    differ, both = (each[pairs] for each in discordance(values))
    r = apart[pairs]
    median, width = _REACH
    steps = np.linspace(-4 * width, 4 * width, 33)

    def misfit(step: float) -> float:
        said = spread * (1 - np.exp(-r / (median * np.exp(step))))
        return float((both * (differ / 2 - said) ** 2).sum() / spread**2 + (step / width) ** 2)

    return float(median * np.exp(min(steps, key=misfit)))


def discordance(values: Floats) -> tuple[Floats, Floats]:
    """Variance of the differences of each pair on the documents that both have seen, and their number.

    Args:
        values: by document, NaN where it was not seen, shape (k, n).
    Returns:
        Two of shape (k, k); a variance from fewer than two documents is 0, and its number too.
    """
    seen = (~np.isnan(values)).astype(float)
    filled = np.where(seen > 0, values, 0.0)
    both, sums, squares = seen @ seen.T, filled @ seen.T, (filled**2) @ seen.T
    total = squares + squares.T - 2 * filled @ filled.T
    mean = (sums - sums.T) / np.maximum(both, 1)
    variance = np.maximum(total - both * mean**2, 0) / np.maximum(both - 1, 1)
    enough = both > 1
    return np.where(enough, variance, 0.0), np.where(enough, both, 0.0)
