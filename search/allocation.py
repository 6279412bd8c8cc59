"""How documents are shared out among candidates: looks, races, and who is named best.

A search works in *looks* of a few documents each. A look goes to a new point, or to one that was begun and
left, whichever the knowledge gradient (`proposer`) prefers; now and then it goes to the point that would be
named best, so that the leader comes to be scored on all documents and becomes the incumbent. A
candidate leaves the race in two ways only: it has been scored on all documents, or the test of `racing` has
stopped it. One that was left without either may be taken up again.

Everything is decided from the history, with random numbers seeded by its length.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .domination import Domination
from .goal import Goal, front
from .proposer import Choice, best_point, candidates, choose, knowledge_gradient
from .racing import DEFAULT_ERROR_RATE, Leg, Race
from .strata import (
    Draw,
    Estimate,
    Floats,
    Order,
    Strata,
    best_estimate,
    estimate,
    side_by_side,
    single_stratum,
    stratify,
)
from .surrogate import Surrogate, fit

# Documents' effects are drawn towards 0 as by so many candidates: the variance within documents over
# that between them, about 0.10 and 0.13 on the tuning landscapes.
DRAWN = 0.8
ROUNDS = 8

# Variance of a score's roughness, which no neighbour shares, over the variance of a document's outcome within
# its neighbourhood: 0.03 over about 0.13 on the tuning landscapes.
ROUGHNESS = 0.2

# Streams of random numbers: an order must not share one with the proposal of its candidate.
_ORDERS, _PROPOSALS = 1, 2


@dataclass(frozen=True)
class Racing:
    """How a search races.

    Attributes:
        error_rate: bound on the chance that a candidate as good as the incumbent is stopped.
        chunk: documents that are scored together, and after which is looked.
        lead: of so many looks one goes to the leader, to the end of its race.
        lead_from: not before so many times all documents were scored.
        leave: standard errors by which a candidate is behind when its race is broken off.
        caution: standard deviations below the posterior mean at which points are compared when
            one is named best.
    """

    error_rate: float = DEFAULT_ERROR_RATE
    chunk: int = 32
    lead: int = 6
    lead_from: float = 2.0
    leave: float = 1.0
    caution: float = 0.5


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
        stopped: it has lost.
        penalty: what its merit loses for its shift from a parent, in the metric's unit; see `shift`.
        barred: it is beyond the study's bound on that shift, and cannot win.
    """

    point: Floats
    order: Order
    seen: Floats
    legs: tuple[Leg, ...] = ()
    stopped: bool = False
    penalty: float = 0.0
    barred: bool = False

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


@dataclass(frozen=True)
class State:
    """What a history says.

    Attributes:
        estimates: of each candidate's mean over all documents.
        surrogate: fitted to them.
        incumbent: number of the best complete candidate; None before the first.
        best: the point that would be named best, in [0, 1], shape (d,).
        leader: its number, None where it was not tried.
        theta: of the surrogate, to start the next fit from.
    """

    estimates: tuple[Estimate, ...]
    surrogate: Surrogate
    incumbent: int | None
    leader: int | None
    best: Floats
    theta: Floats


def incumbent_of(runners: Sequence[Runner], field: Field) -> int | None:
    """Number of the best complete candidate that is not barred, feasible ones first; the earliest of equals."""
    done = [i for i, r in enumerate(runners) if r.is_complete and not r.barred]

    def rank(i: int) -> tuple[bool, float, int]:
        means, runner = field.means(runners[i].values), runners[i]
        lost = field.goal.shortfall(means)
        value = field.goal.value(means) - runner.penalty if lost == 0 else -lost
        return lost == 0, value, -i

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
    """An order for a new candidate, when `runners` are known.

    Args:
        runners: those before it.
        field: what is raced over.
        seed: of this candidate alone.
    """
    return Draw(new_strata(runners, field), (seed, len(runners), _ORDERS))


def advance(runner: Runner, values: Floats, racing: Racing, field: Field) -> Runner:
    """The candidate after another chunk of its documents; stopped when it has lost."""
    seen = np.concatenate([runner.seen, values])
    lost = False
    if runner.legs and len(seen) < len(runner.order.documents):
        lost = race_of(runner, racing, field).stops_at(seen) is not None
    return replace(runner, seen=seen, stopped=lost)


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
    """Numbers of the complete candidates that no other dominates; of equal ones the first."""
    done = [i for i, r in enumerate(runners) if r.is_complete and not r.barred]
    means = [tuple(field.means(runners[i].values)) for i in done]
    return [done[k] for k in front(means) if means[k] not in means[:k]]


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

    Outcomes are value = candidate's effect + document's effect + rest, the documents' effects random
    (Henderson 1975): effects of documents are means of what candidates left unexplained, drawn
    towards 0 as by `DRAWN` further candidates, and effects of candidates stratified means of what
    documents left; a few rounds bring both to rest. Who has seen no document of the suite yet is as the others
    are, with all the doubt that there is.
    """
    mine = [_within(r, part) for r in runners]
    some = [r for r in mine if len(r.seen)]
    if not some:
        return [Estimate(0.5, 0.5, 0)] * len(mine[first:])
    table = np.stack([r.values for r in some])
    seen = ~np.isnan(table)
    filled = np.where(seen, table, 0.0)
    weights = np.stack([_weights(r) for r in some])
    difficulty = np.zeros(table.shape[1])
    for _ in range(ROUNDS):
        effects = (weights * (filled - difficulty)).sum(1)
        rest = np.where(seen, table - effects[:, None], 0.0)
        difficulty = rest.sum(0) / (seen.sum(0) + DRAWN)
    controls = [difficulty, *(r.values for r in some if r.is_complete)]
    middle = float(np.mean([(w * f).sum() for w, f in zip(weights, filled, strict=True)]))
    blank = Estimate(middle, 0.5, 0)
    return [
        best_estimate(r.seen, r.order, controls) if len(r.seen) else blank for r in mine[first:]
    ]


def _within(runner: Runner, part: slice) -> Runner:
    """A candidate's part of the race on the documents of one suite."""
    if part == slice(0, len(runner.order.documents)):
        return runner
    documents = runner.order.documents[: len(runner.seen)]
    mine = (documents >= part.start) & (documents < part.stop)
    return Runner(runner.point, runner.order.within(part), runner.seen[mine])


def _weights(runner: Runner) -> Floats:
    """Weight of each document in a candidate's stratified mean, shape (n,)."""
    strata, m = runner.order.strata, len(runner.seen)
    documents = runner.order.documents[:m]
    labels = strata.labels[documents]
    counts = np.bincount(labels, minlength=len(strata.variance))
    sizes = np.bincount(strata.labels, minlength=len(strata.variance))
    weights = np.zeros(strata.count)
    weights[documents] = sizes[labels] / counts[labels]
    share: Floats = weights / weights.sum()
    return share


def survey(
    runners: Sequence[Runner], racing: Racing, field: Field, theta: Floats | None = None
) -> State:
    """What the history says; at least one candidate must have been looked at."""
    estimates = estimates_of(runners, field)
    x = np.stack([r.point for r in runners])
    y = np.array([e.mean - r.penalty for e, r in zip(estimates, runners, strict=True)])
    rough = ROUGHNESS * look_spread(estimates, field.count) / field.count
    surrogate, theta = fit(
        x, y, np.array([e.standard_error**2 for e in estimates]), theta, nugget=rough
    )
    best, leader = best_point(surrogate, np.random.default_rng(len(runners)), racing.caution)
    return State(estimates, surrogate, incumbent_of(runners, field), leader, best, theta)


def next_look(
    runners: Sequence[Runner],
    state: State,
    racing: Racing,
    seed: int,
    looks: int,
    blocks: Sequence[Sequence[int]] = (),
    pending: Floats | None = None,
    busy: Collection[int] = (),
) -> Choice:
    """Where the next look goes.

    Args:
        runners: all candidates.
        state: what they say.
        racing: how the search races.
        seed: the study's.
        looks: looks so far.
        blocks: coefficients that belong together.
        pending: points that other workers are looking at, in [0, 1], shape (q, d).
        busy: numbers of the candidates among them.
    """
    count = len(runners[0].order.documents)
    open_points = {
        i: count - len(r.seen)
        for i, r in enumerate(runners)
        if not (r.stopped or r.barred or r.is_complete or i in busy)
    }
    spent = sum(len(r.seen) for r in runners)
    leads = spent >= racing.lead_from * count and (
        state.incumbent is None or looks % racing.lead == 0
    )
    if leads and (state.leader is None or state.leader in open_points):
        return Choice(state.best, state.leader, 0.0, count)
    spread = look_spread(state.estimates, count)
    sizes = [racing.chunk]
    while sizes[-1] < count and state.incumbent is not None:
        sizes.append(min(count, 2 * sizes[-1]))
    noises = {m: spread * (1 / m - 1 / count) for m in sizes}
    generator = np.random.default_rng([seed, looks, _PROPOSALS])
    surrogate = state.surrogate
    if pending is not None and len(pending):
        surrogate = surrogate.believing(pending, noises[sizes[0]])
    return choose(surrogate, open_points, noises, generator, blocks, tried=len(runners))


def expected_gain(state: State, looks: float, noise: float, seed: int = 0) -> float:
    """By how much so many further looks are expected to raise the score of what is named best.

    At most: the lower of what they would bring if each brought what the next one does (the knowledge
    gradient falls as one learns), and of what knowing every score would bring, E max f - max E f over points
    drawn all over and about the best.

    Args:
        state: what the history says.
        looks: how many.
        noise: variance of what one look tells.
        seed: of the points and draws.
    """
    generator = np.random.default_rng([seed, len(state.surrogate.x)])
    d = state.surrogate.x.shape[1]
    fresh = candidates(state.best[None], len(state.surrogate.x), d, generator, (), 60, 40)
    points = np.concatenate([state.surrogate.x, fresh])
    posterior = state.surrogate.at(points)
    values, vectors = np.linalg.eigh(posterior.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    draws = posterior.mean[:, None] + root @ generator.normal(size=(len(points), 400))
    everything = float(draws.max(0).mean() - posterior.mean.max())
    told = knowledge_gradient(posterior, np.full(len(points), state.surrogate.nugget + noise))
    return max(0.0, min(everything, looks * float(told.max())))


def look_spread(estimates: Sequence[Estimate], count: int) -> float:
    """Variance of one document's part in an estimate: as much as in those that were given.

    A look at m of n documents tells with the variance spread * (1 / m - 1 / n): nothing is left to be told by all.
    """
    each = [
        e.standard_error**2 / (1 / e.count - 1 / count)
        for e in estimates
        if e.standard_error > 0 and e.count < count
    ]
    return float(np.median(each)) if each else 0.25


def is_left(runner: Runner, runners: Sequence[Runner], racing: Racing, field: Field) -> bool:
    """Whether to leave a candidate for now: it is `racing.leave` standard errors behind.

    That is no verdict: it stays open, its estimate is what the surrogate learns from.
    """
    number = incumbent_of(runners, field)
    if number is None or runner.is_complete:
        return False
    rival, handicap = runners[number].values, runner.penalty - runners[number].penalty
    suites = []
    for part in field.parts:
        mine = _within(runner, part)
        if not len(mine.seen):
            return False
        suites.append(estimate(mine.seen, mine.order, rival[part]))
    found = combined(suites, field)
    return bool(
        found.mean - handicap + racing.leave * found.standard_error
        < field.goal.merit(field.means(rival))
    )
