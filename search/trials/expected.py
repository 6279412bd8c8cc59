"""Intervals of what a candidate is expected to score on documents like these.

Two things are unknown: how it does on the search documents that it has not seen, and how the search documents differ
from others like them. Their variances add up. So an interval shrinks as documents come, and does not jump when the
last is scored.

A candidate that has collapsed scores what it counted: what others solved says nothing of it, nor it of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from exme.search.racing import (
    Estimate,
    Floats,
    Runner,
    best_estimate,
    suite_estimates,
    within_suite,
)
from exme.search.statistics import Interval, is_binary, share_interval

LEVEL = 0.95

# A candidate has collapsed that scores less, for sure, than this part of what another does for sure. Of those that still
# work the worst scores about half as much as the best, on all landscapes; those that collapse score next to nothing.
_COLLAPSED = 0.5


def expected_scores(
    runners: Sequence[Runner], means: Floats, part: slice
) -> list[tuple[Estimate, Interval]]:
    """Of each candidate its estimate on a suite, by which the search goes, and its score, which is shown.

    Args:
        runners: all candidates.
        means: what is believed of their scores on documents like these, shape (k,); NaN where nothing is.
        part: the suite's documents.
    """
    estimates = suite_estimates(runners, part)
    values = np.stack([runner.values[part] for runner in runners])
    share = is_binary(values[~np.isnan(values)].tolist())
    fallen = collapsed(values, share=share)
    shown = [
        _alone(runner, part) if alone else found
        for runner, found, alone in zip(runners, estimates, fallen, strict=True)
    ]
    means = np.where(fallen | np.isnan(means), [found.mean for found in shown], means)
    intervals = [
        expected_interval(float(mean), found, own, share=share)
        for mean, found, own in zip(means, shown, values, strict=True)
    ]
    return list(zip(estimates, intervals, strict=True))


def collapsed(values: Floats, *, share: bool) -> NDArray[np.bool_]:
    """Which candidates score next to nothing, by their own outcomes alone, shape (k,).

    Args:
        values: by document, NaN where it was not seen, shape (k, n).
        share: documents are solved or not.
    """
    intervals = [_counted(own[~np.isnan(own)], share=share) for own in values]
    least = _COLLAPSED * max(found.low for found in intervals)
    return np.array([least > 0 and found.high < least for found in intervals])


def _counted(seen: Floats, *, share: bool) -> Interval:
    """Interval of a mean from what was counted: without limits when that is nothing."""
    count = len(seen)
    if not count:
        return Interval(0.0, -math.inf, math.inf)
    mean = float(seen.mean())
    return expected_interval(mean, Estimate(mean, 0.0, count), seen, share=share)


def _alone(runner: Runner, part: slice) -> Estimate:
    """Estimate of a candidate's mean that takes no help of others: what these solved says nothing of it."""
    own = within_suite(runner, part)
    return best_estimate(own.seen, own.order, [np.zeros(part.stop - part.start)])


def expected_interval(score: float, found: Estimate, values: Floats, *, share: bool) -> Interval:
    """95% interval of a score on documents like those of a suite.

    Args:
        score: what is expected of it.
        found: the estimate of its mean over the suite's documents.
        values: by document, NaN where it was not seen, shape (n,).
        share: documents are solved or not. The interval is then `share_interval`, and reaches 0 where none was
            solved, 1 where all were; otherwise Student's t, infinite below two documents.
    """
    seen = values[~np.isnan(values)]
    if share:
        inside = min(1.0, max(0.0, score))
        told = share_interval(inside, documents_worth(inside, found, len(values)), LEVEL)
        low = told.low if seen.any() else 0.0
        return Interval(inside, low, told.high if (seen < 1).any() else 1.0)
    if len(seen) < 2:
        return Interval(score, -math.inf, math.inf)
    variance = found.standard_error**2 + float(np.var(seen, ddof=1)) / len(values)
    half = float(special.stdtrit(len(seen) - 1, 0.5 + LEVEL / 2)) * math.sqrt(variance)
    return Interval(score, score - half, score + half)


def documents_worth(share: float, found: Estimate, count: int) -> float:
    """How many documents, scored without the help of other candidates, would say as much as an estimate does.

        p (1 - p) / (d (1 / m - 1 / n) + p (1 - p) / n)

    with d the variance of a document's part in the estimate (Korn and Graubard 1998, Survey Methodology 24). That is
    m of n documents at least, and all of them at most. p and d are drawn towards 1/2 and 1 as by two further
    documents, one of them solved and unlike what was expected: that nothing, or all, of a few was solved as expected
    does not say that it always will be.

    Args:
        share: p, in [0, 1].
        found: the estimate.
        count: n, of all search documents of the suite.
    """
    m = max(1, found.count)
    if m >= count:
        return float(count)
    p, left = (share * m + 1) / (m + 2), 1 / m - 1 / count
    own = (found.standard_error**2 / left * m + 1) / (m + 2)
    worth = p * (1 - p) / (own * left + p * (1 - p) / count)
    return min(float(count), max(float(m), worth))


def mean_of(parts: Sequence[Interval]) -> Interval:
    """The interval of a mean of independent scores: distances to their own ends are added as variances are.

    Source: Zou and Donner 2008, doi:10.1002/sim.3095.
    """
    if len(parts) == 1:
        return parts[0]
    mean = sum(part.estimate for part in parts) / len(parts)
    below = math.hypot(*(part.estimate - part.low for part in parts)) / len(parts)
    above = math.hypot(*(part.high - part.estimate for part in parts)) / len(parts)
    return Interval(mean, mean - below, mean + above)
