"""Intervals and paired tests on per-document scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from exme.evaluators import BOUNDED, DocumentScores, Scores, may_be_bounded, paired_values

from .combine import mean_difference
from .paired import Bounded, Unbounded


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, in the unit of the score."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedComparison:
    """How one candidate differs from another on the same documents.

    Attributes:
        difference: mean of the per-document differences, with its interval.
        p_value: two-sided; of the hypothesis that neither is better.
        p_better: one-sided; of the hypothesis that the first is not better.
        won: documents on which the first scored higher; `lost` lower.
        count: documents in all.
        test: name of the test.
    """

    difference: Interval
    p_value: float
    p_better: float
    won: int
    lost: int
    count: int
    test: str


def is_binary(values: Sequence[float]) -> bool:
    """Whether all values are 0 or 1, as accuracies are."""
    return all(v in (0.0, 1.0) for v in values)


def is_bounded(scores: DocumentScores) -> bool:
    """Whether scores are taken to lie between 0 and 1: these do, and the metric is none that need not.

    One that is better when lower is a loss as a rule, without a bound, unless it is 0 or 1.
    """
    if not may_be_bounded(scores.metric):
        return False
    if not scores.higher_is_better and not scores.metric.endswith(BOUNDED):
        return is_binary(scores.values)
    return all(0.0 <= value <= 1.0 for value in scores.values)


def share_interval(share: float, count: float, level: float = 0.95) -> Interval:
    """Exact interval of a share (Clopper and Pearson 1934) for a number of documents that need not be whole.

    An estimate with variance v is as good as share * (1 - share) / v documents (Korn and Graubard 1998,
    Survey Methodology 24). It holds where nothing or everything is solved, too, and stays within 0 and 1.

    Args:
        share: estimate, in [0, 1].
        count: documents that it is worth, above 0.
        level: of the interval.
    """
    won, lost, tail = share * count, (1 - share) * count, (1 - level) / 2
    low = float(special.betaincinv(won, lost + 1, tail)) if won > 0 else 0.0
    high = float(special.betaincinv(won + 1, lost, 1 - tail)) if lost > 0 else 1.0
    return Interval(share, min(low, share), max(high, share))


def mean_interval(scores: Scores, level: float = 0.95) -> Interval:
    """Confidence interval of a mean score, for documents like these.

    `share_interval` for values 0 and 1, Student's t otherwise; infinite for a single document that is
    neither. Over several suites the distances to their own ends are added as variances are (Zou and
    Donner 2008, doi:10.1002/sim.3095), so that the mean of shares stays within 0 and 1.
    """
    if len(scores.parts) > 1:
        parts = [mean_interval(part, level) for part in scores.parts]
        below, above = (
            math.hypot(*(getattr(part, end) - part.estimate for part in parts)) / len(parts)
            for end in ("low", "high")
        )
        return Interval(scores.mean, scores.mean - below, scores.mean + above)
    n, mean = scores.count, scores.mean
    if is_binary(scores.values):
        return share_interval(mean, n, level)
    if n < 2:
        return Interval(mean, -math.inf, math.inf)
    half = float(special.stdtrit(n - 1, 0.5 + level / 2)) * scores.standard_error
    return Interval(mean, mean - half, mean + half)


def compare(
    a: Scores,
    b: Scores,
    *,
    level: float = 0.95,
    weights: Sequence[float] | None = None,
) -> PairedComparison:
    """Compare `a` with `b` document by document; a positive difference means that `a` is better.

    The tests are `paired`'s; of scores without bounds Student's, which is approximate. Interval and p-value
    belong together: the interval holds 0 exactly where the two-sided p is at least 1 - level.

    Args:
        a: scores of one model; `b` of another, on the same documents.
        level: of the interval, two-sided.
        weights: of the suites in the mean, adding up to 1; the same for all by default.

    Raises:
        ValueError: the two were not scored on the same documents.
    """
    if [part.suite for part in a.parts] != [part.suite for part in b.parts]:
        raise ValueError(f"{a.suite} and {b.suite}: not the same suites")
    each = list(weights) if weights else [1 / len(a.parts)] * len(a.parts)
    pairs = [(w, x, y) for w, x, y in zip(each, a.parts, b.parts, strict=True) if w]
    moved = [(w, paired_differences(x, y)) for w, x, y in pairs]
    counted = [part for _, x, y in pairs for part in (x, y)]
    tail = (1 - level) / 2
    binary = all(is_binary(part.values) for part in counted)
    bounded = all(is_bounded(part) for part in counted)
    found, other = (
        mean_difference([(w, sign * d) for w, d in moved], binary=binary, bounded=bounded)
        for sign in (1.0, -1.0)
    )
    if isinstance(found, Unbounded):
        low, high = found.student(tail)
        better, worse, test = found.student_p, 1 - found.student_p, "Student's t, approximate"
    else:
        low, high, better, worse = found.low(tail), found.high(tail), found.p, other.p
        test = "betting" if isinstance(found, Bounded) else "exact paired test"
    return PairedComparison(
        Interval(found.estimate, low, high),
        min(1.0, 2 * min(better, worse)),
        better,
        int(sum((d > 0).sum() for _, d in moved)),
        int(sum((d < 0).sum() for _, d in moved)),
        sum(len(d) for _, d in moved),
        test,
    )


def paired_differences(a: DocumentScores, b: DocumentScores) -> np.ndarray:
    """Per document, shape (n,)."""
    x, y = (np.asarray(v, dtype=float) for v in paired_values(a, b))
    return np.asarray(x - y)
