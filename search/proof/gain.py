"""By how much a candidate is better than every input, as the study's goal counts it.

With d_si the mean difference from input i on suite s, weights w_s and K inputs, the base among them:

    mean     min_i sum_s w_s d_si
    worst    min_s min_i d_si
    cvar     mean over the k suites where it is lowest of min_i d_si = min_A 1/k sum_{s in A} min_i d_si, A of k suites
    pareto   min_i max_s d_si: above 0 where no input is as good on every suite

No input is singled out before the test: one that is nearly the candidate and a little worse can be beaten for sure while
another is as good as the candidate. A gain is proved where its lower bound is above 0, at the level that this use of the
report documents has left (`share_of_error`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from exme.evaluators import Scores
from exme.search.racing import Goal
from exme.search.statistics import (
    Difference,
    Largest,
    Least,
    Sum,
    Unbounded,
    is_binary,
    is_bounded,
    mean_difference,
    paired_differences,
    unbounded_mean,
)

# The chance that 'proved' is false, over all uses that are ever made of a set of report documents.
ERROR = 0.05
# What of a use's level it may cost that dropped checkpoints of a training run are left out of the proof (`left_out`).
SPARED = 0.1

# Sums of shares are this far off at most.
_ROUNDING = 1e-12


def share_of_error(use: int, *, spares: bool = False) -> float:
    """One-sided level of the m-th use of a set of report documents: ERROR / (m (m + 1)), which add up to ERROR.

    Args:
        use: 1 for the first, whose two-sided interval is then one of 95%.
        spares: dropped checkpoints may be left out of the proof, which has what that leaves of the level.
    """
    return ERROR / (use * (use + 1)) * (1 - SPARED * spares)


@dataclass(frozen=True)
class Gain:
    """A gain over every input.

    Attributes:
        difference: the gain itself.
        level: one-sided; of the test and of each end of the interval.
        over: inputs over which it is lowest, by the estimate: one, or one a suite; `suites` the suites.
        won: documents won against these there; `lost` lost.
    """

    difference: Difference
    level: float
    over: tuple[str, ...]
    suites: tuple[str, ...]
    won: int
    lost: int

    @property
    def estimate(self) -> float:
        """On these documents; exactly 0 where it is but for rounding."""
        found = self.difference.estimate
        return found if abs(found) > _ROUNDING else 0.0

    @cached_property
    def low(self) -> float:
        """Lower end of its interval; minus infinity where scores have no bounds."""
        return self.difference.low(self.level)

    @cached_property
    def high(self) -> float:
        """Upper end, widened for the number of inputs."""
        return self.difference.high(self.level)

    @property
    def p(self) -> float:
        """One-sided: the largest over the inputs; below `level` exactly where `proved`."""
        return self.difference.p

    @property
    def proved(self) -> bool:
        """Whether the interval lies above 0."""
        return self.low > 0

    @property
    def by_input(self) -> tuple[Difference, ...]:
        """Of goals ``mean`` and ``pareto``: the gain over each input, in their order."""
        return self.difference.parts if isinstance(self.difference, Least) else ()

    @property
    def approximate(self) -> tuple[float, float] | None:
        """Where some scores have no bounds, an interval that proves nothing: Student's, of the lowest; else None."""
        if not self.difference.approximate:
            return None
        found: Difference = self.difference
        while isinstance(found, Least | Largest):
            found = found.parts[found.lowest if isinstance(found, Least) else found.largest]
        if isinstance(found, Unbounded):
            return found.student(self.level)
        return found.low(self.level), found.high(self.level)


class _Pairs:
    """The candidate against every input on every suite."""

    def __init__(self, merged: Scores, inputs: Sequence[tuple[str, Scores]]) -> None:
        self.names = [name for name, _ in inputs]
        self.suites = [part.suite for part in merged.parts]
        self.inputs = range(len(inputs))
        for _, scores in inputs:
            if [part.suite for part in scores.parts] != self.suites:
                raise ValueError(f"{merged.suite} and {scores.suite}: not the same suites")
        self.moved = [
            [paired_differences(ours, scores.parts[s]) for _, scores in inputs]
            for s, ours in enumerate(merged.parts)
        ]
        every = [merged.parts, *(scores.parts for _, scores in inputs)]
        self.binary = [
            all(is_binary(p.values) for p in column) for column in zip(*every, strict=True)
        ]
        self.bounded = [all(is_bounded(p) for p in column) for column in zip(*every, strict=True)]

    def one(self, suite: int, number: int) -> Difference:
        """From one input on one suite."""
        return self.mean([(1.0, suite)], number)

    def mean(self, weights: Sequence[tuple[float, int]], number: int) -> Difference:
        """From one input, in a weighted mean over suites."""
        return mean_difference(
            [(w, self.moved[s][number]) for w, s in weights],
            binary=all(self.binary[s] for _, s in weights),
            bounded=all(self.bounded[s] for _, s in weights),
        )

    def over_all(self, suite: int) -> Least:
        """From every input on one suite."""
        return Least(tuple(self.one(suite, i) for i in self.inputs))

    def gain(self, found: Difference, level: float, places: Sequence[tuple[int, int]]) -> Gain:
        """A gain that is lowest at some places: pairs of suite and input."""
        moved = [self.moved[s][i] for s, i in places]
        return Gain(
            found,
            level,
            tuple(self.names[i] for _, i in places),
            tuple(self.suites[s] for s, _ in places),
            int(sum((d > 0).sum() for d in moved)),
            int(sum((d < 0).sum() for d in moved)),
        )


def gain_over_inputs(
    merged: Scores, inputs: Sequence[tuple[str, Scores]], goal: Goal, level: float
) -> Gain:
    """The gain that the study's goal is about.

    Args:
        merged: scores of the candidate.
        inputs: names and scores of all inputs, on the same documents.
        goal: its weights say which suites count.
        level: see `share_of_error`.

    Raises:
        ValueError: they were not scored on the same documents.
    """
    pairs = _Pairs(merged, inputs)
    counted = [(w, s) for s, w in enumerate(goal.weights) if w > 0]
    suites = [s for _, s in counted]
    if goal.kind == "pareto":
        front = [Largest(tuple(pairs.one(s, i) for s in suites)) for i in pairs.inputs]
        least = Least(tuple(front))
        number = least.lowest
        return pairs.gain(least, level, [(suites[front[number].largest], number)])
    if goal.kind == "mean" or len(suites) == 1:
        least = Least(tuple(pairs.mean(counted, i) for i in pairs.inputs))
        return pairs.gain(least, level, [(s, least.lowest) for s in suites])
    tail = goal.tail if goal.kind == "cvar" else 1
    if tail == 1:
        places = list(itertools.product(suites, pairs.inputs))
        least = Least(tuple(pairs.one(s, i) for s, i in places))
        return pairs.gain(least, level, [places[least.lowest]])
    return _lowest_suites(pairs, suites, tail, level)


def _lowest_suites(pairs: _Pairs, suites: Sequence[int], tail: int, level: float) -> Gain:
    """Of goal ``cvar`` with more than one suite in its tail."""
    if not all(pairs.bounded[s] for s in suites):
        over = {s: pairs.over_all(s).lowest for s in suites}
        lowest = sorted(suites, key=lambda s: float(pairs.moved[s][over[s]].mean()))[:tail]
        found: Difference = unbounded_mean([(1 / tail, pairs.moved[s][over[s]]) for s in lowest])
        return pairs.gain(found, level, [(s, over[s]) for s in lowest])
    strict = not all(pairs.binary[s] for s in suites)
    each = {s: pairs.over_all(s) for s in suites}
    subsets = list(itertools.combinations(suites, tail))
    least = Least(
        tuple(Sum(tuple((1 / tail, each[s]) for s in subset), strict) for subset in subsets)
    )
    chosen = subsets[least.lowest]
    return pairs.gain(least, level, [(s, each[s].lowest) for s in chosen])


def gain_on_suite(
    merged: Scores, inputs: Sequence[tuple[str, Scores]], position: int, level: float
) -> Gain:
    """The gain on one suite over every input.

    Args:
        merged: scores of the candidate.
        inputs: names and scores of all inputs, on the same documents.
        position: the suite's.
        level: as in `gain_over_inputs`.
    """
    pairs = _Pairs(merged, inputs)
    least = pairs.over_all(position)
    return pairs.gain(least, level, [(position, least.lowest)])
