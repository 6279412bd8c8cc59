"""What a search maximises, of the scores on one or several suites.

With g_s the gain on suite s over the best input there, and weights w_s that add up to one:

    mean     sum_s w_s g_s
    cvar     mean of the k lowest g_s over the suites of weight above 0 (the conditional value at risk of the
             share k / S: Rockafellar and Uryasev 2000, doi:10.21314/JOR.2000.038)
    worst    the lowest g_s: cvar with k = 1
    pareto   all g_s, none better than another; where one candidate must be named, the knee

A candidate that loses more on a suite than `keep` allows is not feasible. The best input's score is the same
number for every candidate, so the mean of gains and that of scores have the same order; the latter is known from the
first trial on, and is what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

# By how much a search's merit falls per unit that is lost beyond what `keep` allows.
PENALTY = 3.0
# Differences of shares are this far off at most.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Goal:
    """An objective over suites. Means are in the suites' order, in the scores' own unit.

    Attributes:
        weights: of each suite, none below 0, adding up to 1; a suite of weight 0 is only watched.
        kind: ``mean``, ``worst``, ``cvar`` or ``pareto``.
        tail: k of ``cvar``.
        keep: lowest gain allowed on each suite; minus infinity where any is.
        reference: the best input's mean on each suite; empty while no input was scored.
    """

    weights: tuple[float, ...] = (1.0,)
    kind: str = "mean"
    tail: int = 1
    keep: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()

    def against(self, inputs: Sequence[Sequence[float]]) -> Goal:
        """The same, with the best of these inputs' means as reference."""
        best = tuple(max(column) for column in zip(*inputs, strict=True))
        return replace(self, reference=best)

    @property
    def needs_reference(self) -> bool:
        """Whether it says nothing before every input was scored on all documents."""
        return self.kind != "mean" or any(k > -math.inf for k in self.keep)

    def gains(self, means: Sequence[float]) -> tuple[float, ...]:
        """Gain on each suite; the means themselves while there is no reference."""
        return tuple(
            m - r for m, r in zip(means, self.reference or [0.0] * len(means), strict=True)
        )

    def tangent(self, means: Sequence[float]) -> tuple[float, ...]:
        """Weights of the suites in the mean that the objective equals at these means, adding up to 1.

        Everywhere else the objective is at most that mean of the gains, plus a constant.
        """
        if self.kind not in ("worst", "cvar") or not self.reference:
            return self.weights
        gains = self.gains(means)
        counted = sorted((g, s) for s, g in enumerate(gains) if self.weights[s] > 0)
        lowest = [s for _, s in counted[: self.tail if self.kind == "cvar" else 1]]
        return tuple(float(s in lowest) / len(lowest) for s in range(len(gains)))

    def value(self, means: Sequence[float]) -> float:
        """The objective."""
        linear = self.tangent(means)
        values = means if self.kind in ("mean", "pareto") else self.gains(means)
        return sum(w * v for w, v in zip(linear, values, strict=True))

    def shortfall(self, means: Sequence[float]) -> float:
        """By how much gains are below what `keep` allows, in all; 0 for a feasible candidate, at its bound too."""
        if not self.keep or not self.reference:
            return 0.0
        pairs = zip(self.keep, self.gains(means), strict=True)
        lost = (least - gain for least, gain in pairs if least > -math.inf)
        return sum(each for each in lost if each > _ROUNDING)

    def merit(self, means: Sequence[float]) -> float:
        """The objective less a penalty for what is not feasible: what a search goes by."""
        return self.value(means) - PENALTY * self.shortfall(means)


def front(points: Sequence[Sequence[float]]) -> list[int]:
    """Numbers of the points that no other point is as good as everywhere and better somewhere."""

    def beaten(i: int) -> bool:
        mine = points[i]
        return any(
            all(a >= b for a, b in zip(other, mine, strict=True)) and tuple(other) != tuple(mine)
            for other in points
        )

    return [i for i in range(len(points)) if not beaten(i)]


def distinct_front(points: Sequence[Sequence[float]]) -> list[int]:
    """The front; of equal points the first stands for all."""
    return [i for i in front(points) if points[i] not in points[:i]]


def knee(points: Sequence[Sequence[float]]) -> list[float]:
    """How far each point is beyond the plane through the front's ends, as a share of the ends' span.

    The front's point with the largest is its knee (Das 1999, doi:10.1007/BF01195985).
    """
    ends = [points[i] for i in front(points)]
    low = [min(column) for column in zip(*ends, strict=True)]
    span = [max(c) - min(c) or 1.0 for c in zip(*ends, strict=True)]
    return [
        sum((v - a) / b for v, a, b in zip(point, low, span, strict=True)) / len(span)
        for point in points
    ]
