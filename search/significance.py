"""Whether a goal over several suites is reached by more than chance.

With g_s the gain on suite s over the best input there, K inputs and S suites that count:

**worst, cvar.** The mean of the k lowest g_s is the lowest of the means over all subsets A of k suites, so

    H0: mean of the k lowest g_s <= 0        is the union over A of        H_A: mean over A of g_s <= 0

and is rejected at a level where every H_A is (intersection-union test: Berger 1982,
doi:10.1080/00401706.1982.10487790): p is the largest p_A, and no correction for the number of suites is due, for one
suite that does not gain suffices to keep H0. (Holm's correction answers another question, on which suites there is a gain;
the report's table by suite has it. A bootstrap of the minimum is not valid where two suites are near the lowest.)
For k = 1 the best input is every input: g_s > 0 where each is beaten, and p_A is the largest over the inputs. For k > 1
it is the one with the highest score on the suite, chosen on the documents on which it is compared, which favours it.

The interval's lower end is the lowest of the lower ends over A, each at the interval's level: that the lowest gain is below
it has at most the chance of one. Of upper ends the lowest is taken after Bonferroni's correction for their number.

**pareto.** H0: some input is as good on every suite. An input i is ruled out where one suite's p is below the level, corrected
for S (Bonferroni); H0 where every input is: p = max_i min(1, S min_s p_{i,s}).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exme.evaluators.scores import DocumentScores, Scores

from .goal import Goal
from .statistics import FLIPS, Interval, PairedComparison, compare, normal, paired_differences
from .strata import Floats

_BLOCK = 1000


@dataclass(frozen=True)
class LowestGain:
    """The mean gain over the suites where it is lowest.

    Attributes:
        comparison: the gain with its interval and p-values; won and lost are counted on those suites.
        suites: those where it is lowest, by name; `over` the best input on each.
    """

    comparison: PairedComparison
    suites: tuple[str, ...]
    over: tuple[str, ...]


def lowest_gain(
    merged: Scores,
    inputs: Sequence[tuple[str, Scores]],
    goal: Goal,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> LowestGain:
    """The gain that goal ``worst`` or ``cvar`` is about.

    Args:
        merged: scores of the candidate on several suites.
        inputs: names and scores of the inputs, on the same documents.
        goal: its weights say which suites count.
        level: of the interval.
        seed: of sign flips.
    """
    counted = [s for s in range(len(merged.parts)) if goal.weights[s] > 0]
    tail = goal.tail if goal.kind == "cvar" else 1
    if tail == 1:
        return _lowest_suite(merged, inputs, counted, level, seed)
    best = [_best_on(inputs, s) for s in counted]
    pairs = [(merged.parts[s], inputs[i][1].parts[s]) for s, i in zip(counted, best, strict=True)]
    comparison, lowest = _lowest_subset(pairs, tail, level, seed)
    return LowestGain(
        comparison,
        tuple(pairs[k][0].suite for k in lowest),
        tuple(inputs[best[k]][0] for k in lowest),
    )


def _best_on(inputs: Sequence[tuple[str, Scores]], suite: int) -> int:
    return max(range(len(inputs)), key=lambda i: (inputs[i][1].parts[suite].mean, -i))


def _lowest_suite(
    merged: Scores,
    inputs: Sequence[tuple[str, Scores]],
    counted: Sequence[int],
    level: float,
    seed: int,
) -> LowestGain:
    strict = 1 - (1 - level) / (len(counted) * len(inputs))
    found, uppers, worse = [], [], []
    for s, (name, scores) in itertools.product(counted, inputs):
        ours, theirs = merged.parts[s], scores.parts[s]
        found.append((compare(ours, theirs, level=level, seed=seed), ours.suite, name))
        uppers.append(compare(ours, theirs, level=strict, seed=seed).difference.high)
        worse.append(compare(theirs, ours, seed=seed).p_better)
    least, suite, over = min(found, key=lambda each: each[0].difference.estimate)
    interval = Interval(
        least.difference.estimate, min(c.difference.low for c, _, _ in found), min(uppers)
    )
    better = max(c.p_better for c, _, _ in found)
    worst = min(1.0, len(found) * min(worse))
    comparison = PairedComparison(
        interval, min(1.0, 2 * min(better, worst)), better, least.won, least.lost, least.count,
        f"{least.test}, on every suite against every input",
    )  # fmt: skip
    return LowestGain(comparison, (suite,), (over,))


def _lowest_subset(
    pairs: Sequence[tuple[DocumentScores, DocumentScores]], tail: int, level: float, seed: int
) -> tuple[PairedComparison, tuple[int, ...]]:
    """The subset of so many suites with the lowest mean gain, tested as all subsets are."""
    moved = [paired_differences(a, b) for a, b in pairs]
    means = np.array([d.mean() for d in moved])
    errors = np.array([d.var(ddof=1) / len(d) if len(d) > 1 else math.inf for d in moved])
    flipped = np.stack([_flipped_means(d, seed + s) for s, d in enumerate(moved)])
    slack = 1e-12 * sum(float(np.abs(d).mean()) for d in moved)
    subsets = list(itertools.combinations(range(len(pairs)), tail))
    strict = 1 - (1 - level) / len(subsets)
    better = worse = 0.0
    smallest, lows, highs = 1.0, [], []
    for subset in subsets:
        part = list(subset)
        gain, draws = means[part].mean(), flipped[part].mean(0)
        error = math.sqrt(errors[part].sum()) / tail
        better = max(better, float((draws >= gain - slack).sum() + 1) / (FLIPS + 1))
        smallest = min(smallest, float((draws <= gain + slack).sum() + 1) / (FLIPS + 1))
        lows.append(gain - normal(level) * error)
        highs.append(gain + normal(strict) * error)
    worse = min(1.0, len(subsets) * smallest)
    lowest = min(subsets, key=lambda subset: means[list(subset)].mean())
    shown = np.concatenate([moved[k] for k in lowest])
    interval = Interval(
        float(means[list(lowest)].mean()), min(map(float, lows)), min(map(float, highs))
    )
    return PairedComparison(
        interval,
        min(1.0, 2 * min(better, worse)),
        better,
        int((shown > 0).sum()),
        int((shown < 0).sum()),
        len(shown),
        f"sign-flip permutation test, on every {tail} suites",
    ), lowest


def _flipped_means(moved: Floats, seed: int) -> Floats:
    """Means of the differences under random signs, shape (FLIPS,)."""
    generator, n = np.random.default_rng(seed), len(moved)
    moved = moved[moved != 0]
    found = []
    for start in range(0, FLIPS, _BLOCK):  # in blocks, so that memory stays small
        count = min(_BLOCK, FLIPS - start)
        signs = generator.integers(0, 2, size=(count, len(moved)), dtype=np.int8) * 2 - 1
        found.append(signs @ moved / n)
    return np.concatenate(found)


@dataclass(frozen=True)
class Ahead:
    """An input, and the suite on which a candidate is ahead of it most surely.

    Attributes:
        name: the input's.
        suite: the suite.
        comparison: the candidate against the input there; intervals are not corrected.
        p: one-sided, that the input is as good on every suite; corrected for their number.
    """

    name: str
    suite: str
    comparison: PairedComparison
    p: float


def beyond_inputs(
    merged: Scores, inputs: Sequence[tuple[str, Scores]], *, level: float = 0.95
) -> list[Ahead]:
    """Where a candidate is ahead of each input, most surely; what goal ``pareto`` is about."""
    found = []
    for name, scores in inputs:
        each = [
            (compare(ours, theirs, level=level), ours.suite)
            for ours, theirs in zip(merged.parts, scores.parts, strict=True)
        ]
        surest, suite = min(each, key=lambda pair: (pair[0].p_better, -pair[0].difference.estimate))
        found.append(Ahead(name, suite, surest, min(1.0, len(each) * surest.p_better)))
    return found


def dominates(one: Scores, other: Scores) -> bool:
    """Whether scores are as high on every suite."""
    return all(a.mean >= b.mean for a, b in zip(one.parts, other.parts, strict=True))
