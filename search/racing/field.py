"""Candidates in a race on documents: who has seen what, who has lost, and what is estimated of each.

A candidate leaves the race when it was scored on all documents, or when the test of `race` has rejected it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .domination import Domination
from .goal import Goal, distinct_front
from .race import DEFAULT_ERROR_RATE, Leg, Race
from .strata import (
    Draw,
    Estimate,
    Floats,
    Order,
    Strata,
    best_estimate,
    side_by_side,
    single_stratum,
    stratify,
)

# Documents' effects are drawn towards 0 as by so many candidates: the variance within documents over
# that between them, about 0.10 and 0.13 on the tuning landscapes.
DRAWN = 0.8
ROUNDS = 8

# Stream of random numbers, for an order must not share one with its candidate's proposal.
ORDERS = 1


@dataclass(frozen=True)
class Racing:
    """How a search races.

    Attributes:
        error_rate: bound on the chance that a candidate as good as the incumbent is rejected.
        chunk: documents that are scored together, and after which is looked.
    """

    error_rate: float = DEFAULT_ERROR_RATE
    chunk: int = 32


@dataclass(frozen=True)
class Field:
    """What is raced over: the search documents of all suites, one suite after the other.

    Attributes:
        sizes: number of documents of each suite.
        goal: what is maximised.
        highest: highest value that the metric can take; infinite where that is not known.
    """

    sizes: tuple[int, ...]
    goal: Goal = field(default_factory=Goal)
    highest: float = 1.0

    @property
    def count(self) -> int:
        """Number of documents."""
        return sum(self.sizes)

    @property
    def parts(self) -> list[slice]:
        """The documents of each suite."""
        ends = np.cumsum(self.sizes)
        return [slice(int(e) - n, int(e)) for n, e in zip(self.sizes, ends, strict=True)]

    def weights(self, suites: Sequence[float]) -> Floats:
        """Weight of each document, mean 1, when suites have these."""
        each = [w * self.count / n for w, n in zip(suites, self.sizes, strict=True)]
        return np.repeat(each, self.sizes)

    def means(self, values: Floats) -> list[float]:
        """Mean on each suite of values by document."""
        return [float(values[part].mean()) for part in self.parts]


@dataclass(frozen=True)
class Runner:
    """A candidate in the race.

    Attributes:
        point: in [0, 1] within bounds, shape (d,).
        order: in which its documents are drawn.
        seen: its values of the first of them, shape (m,).
        legs: incumbents that it was raced against; empty when it began before there was one.
        rejected: it has lost.
        penalty: what its merit loses for its shift from a parent, in the metric's unit; see `shift`.
        barred: it is beyond the study's bound on that shift, and cannot win.
        distance: from the nearest input, 0 for an input; of candidates that score the same the nearer one is better.
    """

    point: Floats
    order: Order
    seen: Floats
    legs: tuple[Leg, ...] = ()
    rejected: bool = False
    penalty: float = 0.0
    barred: bool = False
    distance: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Scored on all documents."""
        return len(self.seen) == len(self.order.documents)

    @property
    def values(self) -> Floats:
        """Values by document, NaN where not seen, shape (n,)."""
        table = np.full(len(self.order.documents), np.nan)
        table[self.order.documents[: len(self.seen)]] = self.seen
        return table


def incumbent_of(runners: Sequence[Runner], field: Field) -> int | None:
    """Number of the best complete candidate that is not barred, feasible ones first; of equals see `ranking`."""
    done = [i for i, r in enumerate(runners) if r.is_complete and not r.barred]

    def rank(i: int) -> tuple[bool, float, float, int]:
        means, runner = field.means(runners[i].values), runners[i]
        lost = field.goal.shortfall(means)
        value = field.goal.value(means) - runner.penalty if lost == 0 else -lost
        return lost == 0, round(value, 12), -runner.distance, -i

    return max(done, key=rank, default=None)


def new_strata(runners: Sequence[Runner], field: Field) -> Strata:
    """Strata for the next candidate's order, within each suite."""
    if runners:
        values = [r.values for r in runners]
        parts = [stratify([v[part] for v in values]) for part in field.parts]
    else:
        parts = [single_stratum(n) for n in field.sizes]
    if len(parts) == 1:
        return parts[0]
    goal = field.goal
    # The worst suite may be any; and what is only watched is looked at too.
    level = [1 / len(parts)] * len(parts)
    suites = goal.weights if goal.kind == "mean" else level
    each = [max(w, 0.5 / len(parts)) / n for w, n in zip(suites, field.sizes, strict=True)]
    return side_by_side(parts, each)


def draw(runners: Sequence[Runner], field: Field, seed: int) -> Draw:
    """An order for a new candidate, by what the ones before it solved, from a seed of its own."""
    return Draw(new_strata(runners, field), (seed, len(runners), ORDERS))


def common_draw(field: Field, seed: int, start: int = 0) -> Draw:
    """The order of documents that all candidates of a search share, from a place on.

    Args:
        field: what is searched on.
        seed: the study's.
        start: place at which a candidate begins.
    """
    return Draw(single_stratum(field.count), (seed, ORDERS), start)


def advance(runner: Runner, values: Floats, racing: Racing, field: Field) -> Runner:
    """The candidate after another chunk of its documents; rejected when it has lost."""
    seen = np.concatenate([runner.seen, values])
    lost = False
    if runner.legs and len(seen) < len(runner.order.documents):
        lost = race_of(runner, racing, field).stops_at(seen) is not None
    return replace(runner, seen=seen, rejected=lost)


def race_of(runner: Runner, racing: Racing, field: Field) -> Race | Domination:
    """The race that a candidate runs: against the incumbent, or against a Pareto front."""
    if field.goal.kind == "pareto":
        return Domination(runner.order, field.parts, runner.legs, field.highest, racing.error_rate)
    return Race(runner.order, runner.legs, field.highest, racing.error_rate)


def leg(start: int, incumbent: Floats, field: Field, margin: float = 0.0) -> Leg:
    """A race from now on against a candidate that was scored on all documents.

    Args:
        start: documents seen so far.
        incumbent: its values.
        field: what is raced over.
        margin: by how much the candidate's own penalty exceeds the incumbent's.
    """
    if len(field.sizes) == 1 or field.goal.kind == "pareto":
        return Leg(start, incumbent, margin=margin)
    suites = field.goal.tangent(field.means(incumbent))
    return Leg(start, incumbent, field.weights(suites), margin)


def rivals(runner: Runner, runners: Sequence[Runner], field: Field) -> list[int]:
    """Numbers of those whom a candidate is to race from its next document on; none where nothing has changed."""
    if field.goal.kind == "pareto":
        found = front_of(runners, field)
    else:
        number = incumbent_of(runners, field)
        if number is None:
            return []
        if field.goal.shortfall(field.means(runners[number].values)) > 0:
            return []  # whoever is feasible is better than it, whatever its score
        found = [number]
    start = runner.legs[-1].start if runner.legs else 0
    now = [leg.incumbent for leg in runner.legs if leg.start == start]
    new = [runners[number].values for number in found]
    same = len(now) == len(new) and all(map(np.array_equal, now, new))
    return [] if same else found


def front_of(runners: Sequence[Runner], field: Field) -> list[int]:
    """Numbers of the complete candidates that no other dominates; of equal ones the nearest to an input."""
    done = [i for i, r in enumerate(runners) if r.is_complete and not r.barred]
    done.sort(key=lambda i: runners[i].distance)
    means = [tuple(field.means(runners[i].values)) for i in done]
    return sorted(done[k] for k in distinct_front(means))


def face(runner: Runner, runners: Sequence[Runner], field: Field) -> Runner:
    """Have a candidate race the incumbent of now, or the front, from its next document on."""
    # Only on documents not seen yet: a bet after the fact is none.
    legs = [
        leg(len(runner.seen), rival.values, field, runner.penalty - rival.penalty)
        for rival in (runners[number] for number in rivals(runner, runners, field))
    ]
    return replace(runner, legs=(*runner.legs, *legs))


def estimates_of(runners: Sequence[Runner], field: Field, first: int = 0) -> tuple[Estimate, ...]:
    """Each candidate's estimate of what is maximised, from a number on: see `suite_estimates`, `combined`."""
    columns = [suite_estimates(runners, part, first) for part in field.parts]
    return tuple(combined(each, field) for each in zip(*columns, strict=True))


def combined(suites: Sequence[Estimate], field: Field) -> Estimate:
    """An estimate of the merit from those of the suites' means."""
    if len(suites) == 1:
        return suites[0]
    means = [e.mean for e in suites]
    linear = field.goal.tangent(means)
    error = math.hypot(*(w * e.standard_error for w, e in zip(linear, suites, strict=True)))
    return Estimate(field.goal.merit(means), error, sum(e.count for e in suites))


def suite_estimates(runners: Sequence[Runner], part: slice, first: int = 0) -> list[Estimate]:
    """Each candidate's mean, from a number on, over the documents of a suite, their difficulties being taken out of it.

    Outcomes are value = candidate's effect + document's effect + rest, the documents' effects random (Henderson
    1975): effects of documents are means of what candidates left unexplained, shrunk towards 0 as if `DRAWN` more
    candidates with effect 0 had been seen, and effects of candidates stratified means of what documents left; a few
    rounds bring both to rest. Each candidate's estimate takes the difficulties that the others tell: of a document
    that it alone has seen its own outcome would pass for the difficulty, and half of the variance would be lost. A
    candidate without results on the suite gets the others' mean and the prior standard error.
    """
    mine = [within_suite(r, part) for r in runners]
    some = [r for r in mine if len(r.seen)]
    if not some:
        return [Estimate(0.5, 0.5, 0)] * len(mine[first:])
    table = np.stack([r.values for r in some])
    seen = ~np.isnan(table)
    filled = np.where(seen, table, 0.0)
    weights = np.stack([r.order.weights(len(r.seen)) for r in some])
    difficulty = np.zeros(table.shape[1])
    for _ in range(ROUNDS):
        effects = (weights * (filled - difficulty)).sum(1)
        rest = np.where(seen, table - effects[:, None], 0.0)
        difficulty = rest.sum(0) / (seen.sum(0) + DRAWN)
    others = (rest.sum(0) - rest) / (seen.sum(0) - seen + DRAWN)
    whole = [r.values for r in some if r.is_complete]
    middle = float(np.mean([(w * f).sum() for w, f in zip(weights, filled, strict=True)]))
    places = np.cumsum([len(r.seen) > 0 for r in mine]) - 1
    return [
        # (an estimate of a complete candidate takes no control: it is none of its own)
        best_estimate(r.seen, r.order, [others[place], *whole])
        if len(r.seen)
        else Estimate(middle, 0.5, 0)
        for r, place in zip(mine[first:], places[first:], strict=True)
    ]


def within_suite(runner: Runner, part: slice) -> Runner:
    """A candidate's part of the race on the documents of one suite."""
    if part == slice(0, len(runner.order.documents)):
        return runner
    documents = runner.order.documents[: len(runner.seen)]
    mine = (documents >= part.start) & (documents < part.stop)
    return Runner(runner.point, runner.order.within(part), runner.seen[mine])
