"""By how much one model scores higher than another on the same documents: bounds and p-values that agree.

A `Difference` is the mean of per-document differences d_j, over documents like these. Its lower bound at a level a is
the lowest mean that a one-sided test of level a does not reject, so that

    low(a) > 0    exactly where    p < a

and word, p-value and interval cannot disagree. Three kinds of values, three tests:

**0 and 1** (`Table`). Of n documents the first model wins w and loses l. H0: the gain is at most m. With D the difference
of wins and losses among n documents of which a share q + m is won and q is lost,

    p(m) = P(D > w - l) + h P(D = w - l)

q is the likeliest share of losses when the gain is m (Tango 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8, eq. 3);
the distribution of D is exact, by its characteristic function. For m = 0 this is McNemar's test, mid-p, with the number of
discordant documents random as it is (Lloyd 2008, doi:10.1111/j.1467-842X.2008.00519.x, calls it the E test). h is 1/2 from
`ENOUGH` documents on, where the level is then exact to a tenth; below it is 1, for there mid-p errs up to half as often again.

**Bounded values** (`Bounded`). A gambler who doubts H0 stakes shares s of the most that is allowed on every document,

    E(m) = mean over s of prod_j (1 - s + s (d_j - lowest) / (m - lowest)),        p(m) = 1 / E(m)

E(m) has an expectation of at most 1 under H0, whatever the distribution, so by Markov's inequality p is valid for any
number of documents (Waudby-Smith and Ramdas 2024, doi:10.1093/jrsssb/qkad009). Of several suites the d_j are the
documents' shares in the mean, times their number: the product's expectation is then at most the n-th power of
1 + s m / ..., for the logarithm is concave.

**Unbounded values** (`Unbounded`). No test is valid for all distributions (Bahadur and Savage 1956,
doi:10.1214/aoms/1177728077): one rare loss may undo all gains. There is no bound; Student's interval is approximate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, optimize, special

Floats = NDArray[np.float64]

# Shares of the highest stake that the gamblers play: gains of 1 to 20 points among differences that vary
# by 20 to 50 points are best bet on with 0.1 to 1.
STAKES = np.array([0.15, 0.4, 0.9])


# Documents from which on half of the chance of what was seen counts.
ENOUGH = 150


class Difference(ABC):
    """A mean difference in favour of the first of two models."""

    @property
    @abstractmethod
    def estimate(self) -> float:
        """Mean of the differences seen."""

    @property
    @abstractmethod
    def p(self) -> float:
        """One-sided p-value of the hypothesis that the mean is at most 0."""

    @abstractmethod
    def low(self, level: float) -> float:
        """Lowest mean that a one-sided test of this level does not reject; `level` in (0, 1)."""

    @abstractmethod
    def high(self, level: float) -> float:
        """Highest mean that the test of the other side does not reject."""

    @property
    def approximate(self) -> bool:
        """Whether no test of it is valid for all distributions."""
        return False


@dataclass(frozen=True)
class Table(Difference):
    """Of values 0 and 1: documents won and lost, of `count`."""

    won: int
    lost: int
    count: int

    @property
    def estimate(self) -> float:
        return (self.won - self.lost) / self.count

    @property
    def p(self) -> float:
        return _tail(self.won, self.lost, self.count, 0.0)

    def low(self, level: float) -> float:
        return _bound(self.won, self.lost, self.count, level)

    def high(self, level: float) -> float:
        return -_bound(self.lost, self.won, self.count, level)


@lru_cache(maxsize=100_000)
def _bound(won: int, lost: int, count: int, level: float) -> float:
    if lost == count:
        return -1.0

    def excess(mean: float) -> float:
        return _tail(won, lost, count, mean) - level

    if excess(0.0) < 0:
        return 1.0 if excess(1.0) < 0 else float(optimize.brentq(excess, 0.0, 1.0, xtol=1e-12))
    return float(optimize.brentq(excess, -1.0, 0.0, xtol=1e-12))


def _tail(won: int, lost: int, count: int, mean: float) -> float:
    """p(m) of the module's first equation."""
    lost_share = _likeliest_loss(won, lost, count, mean)
    return tail_of(count, max(0.0, lost_share + mean), lost_share, won - lost)


def _likeliest_loss(won: int, lost: int, count: int, mean: float) -> float:
    """Share of documents lost that is likeliest where the gain is `mean`: the root of a quadratic."""
    b = -won - lost + (2 * count - won + lost) * mean
    c = -lost * mean * (1 - mean)
    root = (-b + math.sqrt(max(b * b - 8 * count * c, 0.0))) / (4 * count)
    return min(max(root, 0.0, -mean), (1 - mean) / 2)


def tail_of(count: int, won: float, lost: float, at: int) -> float:
    """P(D > at) + h P(D = at) for the difference of wins and losses among so many documents."""
    mean, variance = count * (won - lost), count * max(won + lost - (won - lost) ** 2, 0.0)
    # Beyond this many standard deviations nothing is left that a double could hold.
    reach = math.ceil(12 * math.sqrt(variance) + 60)
    first, last = max(-count, math.floor(mean) - reach), min(count, math.ceil(mean) + reach)
    if at < first or at > last:
        return float(at < first)
    size = fft.next_fast_len(last - first + 1, real=True)
    turn = np.exp(2j * np.pi * np.arange(size // 2 + 1) / size)
    wave = (won * turn + lost / turn + (1 - won - lost)) ** count * turn**-first
    chances = fft.irfft(np.conj(wave), size)
    share = 0.5 if count >= ENOUGH else 1.0
    tail = chances[at - first + 1 :].sum() + share * chances[at - first]
    return float(min(1.0, max(0.0, tail)))


@dataclass(frozen=True, eq=False)
class Bounded(Difference):
    """Of values with bounds.

    Attributes:
        values: differences, shape (n,), none below minus `reach` or above it.
        reach: largest difference that is possible.
    """

    values: Floats
    reach: float = 1.0

    @cached_property
    def estimate(self) -> float:
        return float(self.values.mean())

    @cached_property
    def p(self) -> float:
        return min(1.0, math.exp(-_log_wealth(self.values, 0.0, self.reach)))

    def low(self, level: float) -> float:
        return _betting_bound(self.values, self.reach, level)

    def high(self, level: float) -> float:
        return -_betting_bound(-self.values, self.reach, level)


def _log_wealth(values: Floats, mean: float, reach: float) -> float:
    """log E(m) of the module's second equation; falls as m rises."""
    with np.errstate(divide="ignore"):  # (all is lost with a stake of 1)
        growth = np.log1p(STAKES[:, None] * ((values - mean) / (mean + reach))[None])
    return float(special.logsumexp(growth.sum(1)) - math.log(len(STAKES)))


def _betting_bound(values: Floats, reach: float, level: float) -> float:
    wanted, mean = -math.log(level), float(values.mean())

    def excess(at: float) -> float:
        return _log_wealth(values, at, reach) - wanted

    lowest = -reach * (1 - 1e-9)
    if mean <= lowest or excess(lowest) <= 0:
        return -reach
    # (at the mean the wealth is at most 1, and 0 divides what is proved from what is not)
    if mean > 0 and excess(0.0) > 0:
        return float(optimize.brentq(excess, 0.0, mean, xtol=1e-12))
    return float(optimize.brentq(excess, lowest, min(mean, 0.0), xtol=1e-12))


@dataclass(frozen=True, eq=False)
class Unbounded(Difference):
    """Of values without known bounds: nothing is proved; `student` is approximate.

    Attributes:
        mean: of the differences.
        error: its standard error; infinite for a single document.
        freedom: degrees of freedom.
    """

    mean: float
    error: float
    freedom: float

    @property
    def estimate(self) -> float:
        return self.mean

    @property
    def p(self) -> float:
        return 1.0

    def low(self, level: float) -> float:
        return -math.inf

    def high(self, level: float) -> float:
        return math.inf

    @property
    def approximate(self) -> bool:
        return True

    @property
    def student_p(self) -> float:
        """Student's one-sided p-value."""
        if not self.error or not math.isfinite(self.error):
            return 1.0 if self.error or self.mean <= 0 else 0.0
        return float(special.stdtr(self.freedom, -self.mean / self.error))

    def student(self, level: float) -> tuple[float, float]:
        """Student's interval whose ends are each at this level."""
        if not math.isfinite(self.error):
            return -math.inf, math.inf
        half = float(special.stdtrit(self.freedom, 1 - level)) * self.error
        return self.mean - half, self.mean + half


def bounded_mean(values: Sequence[tuple[float, Floats]]) -> Bounded:
    """A weighted mean over suites whose scores are within 0 and 1.

    Args:
        values: per suite its weight and the differences, shape (n,) each; weights add up to 1.
    """
    count = sum(len(d) for _, d in values)
    # A document's share in the mean of means, times the number of documents.
    shares = np.concatenate([d * (w * count / len(d)) for w, d in values])
    return Bounded(shares, max(w * count / len(d) for w, d in values))


def unbounded_mean(values: Sequence[tuple[float, Floats]]) -> Unbounded:
    """As `bounded_mean`, of scores that have no known bounds."""
    mean = sum(w * float(d.mean()) for w, d in values)
    if any(len(d) < 2 for _, d in values):
        return Unbounded(mean, math.inf, 1)
    variance = sum(w * w * float(d.var(ddof=1)) / len(d) for w, d in values)
    return Unbounded(mean, math.sqrt(variance), min(len(d) for _, d in values) - 1)


def table(values: Floats) -> Table:
    """Wins and losses of scores that are all 0 or 1."""
    return Table(int((values > 0).sum()), int((values < 0).sum()), len(values))
