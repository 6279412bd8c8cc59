"""Intervals and paired tests on per-document scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from exme.evaluators.scores import DocumentScores, Scores, paired_values

# Sign flips drawn where the values are not 0 and 1; the p-value's own error is then below 0.002.
FLIPS = 20_000


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
    seed: int = 0,
    weights: Sequence[float] | None = None,
) -> PairedComparison:
    """Compare `a` with `b` document by document; a positive difference means that `a` is better.

    Over several suites the difference is the mean of the suites' differences, by `weights` that add up to 1
    or the same for all, the test a sign-flip permutation of the documents' shares in it, and the interval the
    normal one.

    For values 0 and 1: McNemar's exact test on the discordant documents, and the adjusted Wald
    interval of Bonett and Price (2012, doi:10.1111/j.2044-8317.2011.02025.x, eq. 7). Otherwise a
    sign-flip permutation test (seeded) and Student's t interval.

    Raises:
        ValueError: the two were not scored on the same documents.
    """
    if len(a.parts) > 1:
        return _compare_means(a, b, level, seed, weights)
    a, b = a.parts[0], b.parts[0]
    differences = paired_differences(a, b)
    n = len(differences)
    won, lost = int((differences > 0).sum()), int((differences < 0).sum())
    mean = float(differences.mean())
    if is_binary(a.values) and is_binary(b.values):
        discordant = won + lost
        # Both tails: with chances of 1/2 they are mirror images.
        p = min(1.0, 2 * float(special.bdtr(min(won, lost), discordant, 0.5)))
        better = float(special.bdtr(lost, discordant, 0.5)) if discordant else 1.0
        interval = Interval(mean, *_bonett_price(won, lost, n, level))
        return PairedComparison(interval, p, better, won, lost, n, "McNemar's exact test")
    p, better = _sign_flip(differences, seed)
    half = math.inf
    if n > 1:
        half = float(special.stdtrit(n - 1, 0.5 + level / 2)) * float(differences.std(ddof=1))
        half /= math.sqrt(n)
    interval = Interval(mean, mean - half, mean + half)
    return PairedComparison(interval, p, better, won, lost, n, "sign-flip permutation test")


def paired_differences(a: DocumentScores, b: DocumentScores) -> np.ndarray:
    """Per document, shape (n,)."""
    x, y = (np.asarray(v, dtype=float) for v in paired_values(a, b))
    return np.asarray(x - y)


def _compare_means(
    a: Scores, b: Scores, level: float, seed: int, weights: Sequence[float] | None
) -> PairedComparison:
    """As `compare`, of means over the same suites."""
    if [part.suite for part in a.parts] != [part.suite for part in b.parts]:
        raise ValueError(f"{a.suite} and {b.suite}: not the same suites")
    by_suite = [paired_differences(x, y) for x, y in zip(a.parts, b.parts, strict=True)]
    each = list(weights) if weights else [1 / len(by_suite)] * len(by_suite)
    # A document's share in the mean of means.
    shares = np.concatenate([d * (w / len(d)) for d, w in zip(by_suite, each, strict=True)])
    mean = float(shares.sum())
    half = math.inf
    counted = [(d, w) for d, w in zip(by_suite, each, strict=True) if w > 0]
    if all(len(d) > 1 for d, _ in counted):
        variance = sum(w * w * float(d.var(ddof=1)) / len(d) for d, w in counted)
        half = normal(level) * math.sqrt(variance)
    return PairedComparison(
        Interval(mean, mean - half, mean + half),
        *_sign_flip(shares, seed),
        int((shares > 0).sum()),
        int((shares < 0).sum()),
        len(shares),
        "sign-flip permutation test",
    )


def normal(level: float) -> float:
    """The normal quantile of a two-sided level."""
    return float(special.ndtri(0.5 + level / 2))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in the same order.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _bonett_price(won: int, lost: int, n: int, level: float) -> tuple[float, float]:
    z = normal(level)
    p12, p21 = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    centre = p12 - p21
    half = z * math.sqrt((p12 + p21 - centre * centre) / (n + 2))
    return max(-1.0, centre - half), min(1.0, centre + half)


def _sign_flip(differences: np.ndarray, seed: int) -> tuple[float, float]:
    """p-values, two-sided and one-sided for a positive mean."""
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0, 1.0
    generator = np.random.default_rng(seed)
    # The tolerance counts sums that differ from the observed one by rounding only.
    slack = 1e-12 * np.abs(moved).sum()
    observed = moved.sum()
    hits, above, done = 0, 0, 0
    while done < FLIPS:  # in blocks, so that memory stays small for many documents
        block = min(1000, FLIPS - done)
        signs = generator.choice([-1.0, 1.0], size=(block, len(moved)))
        sums = signs @ moved
        hits += int((np.abs(sums) >= abs(observed) - slack).sum())
        above += int((sums >= observed - slack).sum())
        done += block
    return (hits + 1) / (FLIPS + 1), (above + 1) / (FLIPS + 1)
