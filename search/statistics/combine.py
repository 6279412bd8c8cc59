"""Sums, lowest and highest of differences, with bounds and p-values that agree as theirs do (`paired`).

A goal over suites and inputs is an expression of these (`gain`):

    Least    theta = min_i theta_i. Its lower bound is the lowest of theirs: that it is above theta has at most the chance
             that it is above one theta_i. So theta > 0 is proved where each theta_i > 0 is (intersection-union test:
             Berger 1982, doi:10.1080/00401706.1982.10487790); p is the largest, and no correction for their number is due.
             Of n upper bounds the lowest is taken, each at a level n times as strict (Bonferroni).
    Largest  theta = max_i theta_i. Its lower bound is the highest of n, each at a level n times as strict; its upper
             bound the highest of theirs.
    Sum      theta = sum_i w_i theta_i, on other documents each. Distances to the parts' own bounds are added as variances
             are (Zou and Donner 2008, doi:10.1002/sim.3095), which is approximate; where a part is no table of wins and losses
             the bounds themselves are added, each at a level n times as strict, which holds for all distributions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from scipy import optimize

from .paired import Difference, Floats, bounded_mean, table, unbounded_mean

_SMALLEST_P = 1e-12


@dataclass(frozen=True)
class Least(Difference):
    """The lowest of some differences."""

    parts: tuple[Difference, ...]

    @property
    def estimate(self) -> float:
        return min(part.estimate for part in self.parts)

    @property
    def lowest(self) -> int:
        """Place of the part with the lowest estimate; the first of equals."""
        return min(range(len(self.parts)), key=lambda i: self.parts[i].estimate)

    @cached_property
    def p(self) -> float:
        return max(part.p for part in self.parts)

    def low(self, level: float) -> float:
        return min(part.low(level) for part in self.parts)

    def high(self, level: float) -> float:
        return min(part.high(level / len(self.parts)) for part in self.parts)

    @property
    def approximate(self) -> bool:
        return any(part.approximate for part in self.parts)


@dataclass(frozen=True)
class Largest(Difference):
    """The highest of some differences."""

    parts: tuple[Difference, ...]

    @property
    def estimate(self) -> float:
        return max(part.estimate for part in self.parts)

    @property
    def largest(self) -> int:
        """Place of the part with the highest estimate; the first of equals."""
        return max(range(len(self.parts)), key=lambda i: (self.parts[i].estimate, -i))

    @cached_property
    def p(self) -> float:
        return min(1.0, len(self.parts) * min(part.p for part in self.parts))

    def low(self, level: float) -> float:
        return max(part.low(level / len(self.parts)) for part in self.parts)

    def high(self, level: float) -> float:
        return max(part.high(level) for part in self.parts)

    @property
    def approximate(self) -> bool:
        return any(part.approximate for part in self.parts)


@dataclass(frozen=True)
class Sum(Difference):
    """A weighted sum of differences.

    Attributes:
        parts: weights and differences.
        strict: the bounds hold for all distributions.
    """

    parts: tuple[tuple[float, Difference], ...]
    strict: bool = False

    @property
    def estimate(self) -> float:
        return sum(weight * part.estimate for weight, part in self.parts)

    def low(self, level: float) -> float:
        if self.strict:
            share = level / len(self.parts)
            return sum(weight * part.low(share) for weight, part in self.parts)
        below = (weight * (part.estimate - part.low(level)) for weight, part in self.parts)
        return self.estimate - math.hypot(*below)

    def high(self, level: float) -> float:
        if self.strict:
            share = level / len(self.parts)
            return sum(weight * part.high(share) for weight, part in self.parts)
        above = (weight * (part.high(level) - part.estimate) for weight, part in self.parts)
        return self.estimate + math.hypot(*above)

    @cached_property
    def p(self) -> float:
        if self.estimate > 0:
            return level_at_zero(self.low)
        return 1 - level_at_zero(lambda level: -self.high(level))

    @property
    def approximate(self) -> bool:
        return any(part.approximate for _, part in self.parts)


def mean_difference(
    moved: Sequence[tuple[float, Floats]], *, binary: bool, bounded: bool
) -> Difference:
    """The weighted mean over suites of per-document differences.

    Args:
        moved: per suite its weight and the differences, shape (n,) each; weights add up to 1.
        binary: all scores are 0 or 1.
        bounded: all scores are within 0 and 1.
    """
    if not bounded:
        return unbounded_mean(moved)
    if not binary:
        return bounded_mean(moved)
    if len(moved) == 1:
        return table(moved[0][1])
    return Sum(tuple((weight, table(each)) for weight, each in moved))


def level_at_zero(low: Callable[[float], float]) -> float:
    """The level at which a lower bound is 0: the p-value that belongs to it; at most a half.

    Args:
        low: the bound by its level, which rises with it.
    """

    def at(log_level: float) -> float:
        return low(math.exp(log_level))

    start, end = math.log(_SMALLEST_P), math.log(0.5)
    if at(start) > 0:
        return _SMALLEST_P
    if at(end) <= 0:
        return 0.5
    return math.exp(float(optimize.brentq(at, start, end, xtol=1e-9)))
