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
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .proposer import Choice, best_point, choose
from .racing import DEFAULT_ERROR_RATE, Leg, Race
from .strata import Estimate, Floats, Order, Strata, draw_order, estimate, single_stratum, stratify
from .surrogate import Surrogate, fit

# Documents' effects are drawn towards 0 as by so many candidates: the variance within documents over
# that between them, about 0.10 and 0.13 on the tuning landscapes.
DRAWN = 0.8
ROUNDS = 8

# Streams of random numbers: an order must not share one with the proposal of its candidate.
_ORDERS, _PROPOSALS = 1, 2


@dataclass(frozen=True)
class Racing:
    """How a search races.

    Attributes:
        error_rate: bound on the chance that a candidate as good as the incumbent is stopped.
        chunk: documents that are scored together, and after which is looked.
        look: chunks that a look has once there is an incumbent; one before.
        lead: from then on every so many looks one goes to the leader, to the end of its race.
        lead_from: looks before the first leader is scored on all documents.
        leave: standard errors by which a candidate is behind when its race is broken off.
        caution: standard deviations below the posterior mean at which points are compared when
            one is named best.
    """

    error_rate: float = DEFAULT_ERROR_RATE
    chunk: int = 32
    look: int = 2
    lead: int = 3
    lead_from: int = 30
    leave: float = 1.0
    caution: float = 0.5


@dataclass(frozen=True)
class Runner:
    """A candidate in the race.

    Attributes:
        point: in [0, 1] within bounds, shape (d,).
        order: in which its documents are drawn.
        seen: its values of the first of them, shape (m,).
        legs: incumbents that it was raced against; empty when it began before there was one.
        stopped: it has lost.
    """

    point: Floats
    order: Order
    seen: Floats
    legs: tuple[Leg, ...] = ()
    stopped: bool = False

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


def incumbent_of(runners: Sequence[Runner]) -> int | None:
    """Number of the best complete candidate; the earliest of equals."""
    done = [i for i, r in enumerate(runners) if r.is_complete]
    return max(done, key=lambda i: (runners[i].seen.mean(), -i), default=None)


def new_strata(runners: Sequence[Runner], count: int) -> Strata:
    """Strata for the next candidate's order."""
    return stratify([r.values for r in runners]) if runners else single_stratum(count)


def begin(runners: Sequence[Runner], point: Floats, count: int, seed: int) -> Runner:
    """A new candidate with an order of its own.

    Args:
        runners: those before it.
        point: in [0, 1], shape (d,).
        count: number of search documents.
        seed: the study's.
    """
    order = draw_order(new_strata(runners, count), [seed, len(runners), _ORDERS])
    return Runner(point, order, np.zeros(0))


def advance(runner: Runner, values: Floats, racing: Racing) -> Runner:
    """The candidate after another chunk of its documents; stopped when it has lost."""
    seen = np.concatenate([runner.seen, values])
    lost = False
    if runner.legs and len(seen) < len(runner.order.documents):
        race = Race(runner.order, runner.legs, error_rate=racing.error_rate)
        lost = race.stops_at(seen) is not None
    return replace(runner, seen=seen, stopped=lost)


def face(runner: Runner, runners: Sequence[Runner]) -> Runner:
    """Have a candidate race the incumbent of now, from its next document on."""
    number = incumbent_of(runners)
    if number is None:
        return runner
    incumbent = runners[number].values
    if runner.legs and np.array_equal(runner.legs[-1].incumbent, incumbent):
        return runner
    # Only on documents not seen yet: a bet after the fact is none.
    return replace(runner, legs=(*runner.legs, Leg(len(runner.seen), incumbent)))


def estimates_of(runners: Sequence[Runner]) -> tuple[Estimate, ...]:
    """Each candidate's estimate, the documents' difficulties being taken out of it.

    Outcomes are value = candidate's effect + document's effect + rest, the documents' effects random
    (Henderson 1975): effects of documents are means of what candidates left unexplained, drawn
    towards 0 as by `DRAWN` further candidates, and effects of candidates stratified means of what
    documents left; a few rounds bring both to rest.
    """
    table = np.stack([r.values for r in runners])
    seen = ~np.isnan(table)
    filled = np.where(seen, table, 0.0)
    weights = np.stack([_weights(r) for r in runners])
    difficulty = np.zeros(table.shape[1])
    for _ in range(ROUNDS):
        effects = (weights * (filled - difficulty)).sum(1)
        rest = np.where(seen, table - effects[:, None], 0.0)
        difficulty = rest.sum(0) / (seen.sum(0) + DRAWN)
    controls = [difficulty, *(r.values for r in runners if r.is_complete)]
    return tuple(
        min((estimate(r.seen, r.order, c) for c in controls), key=lambda e: e.standard_error)
        for r in runners
    )


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


def survey(runners: Sequence[Runner], racing: Racing, theta: Floats | None = None) -> State:
    """What the history says; at least one candidate must have been looked at."""
    estimates = estimates_of(runners)
    x = np.stack([r.point for r in runners])
    y = np.array([e.mean for e in estimates])
    surrogate, theta = fit(x, y, np.array([e.standard_error**2 for e in estimates]), theta)
    best, leader = best_point(surrogate, np.random.default_rng(len(runners)), racing.caution)
    return State(estimates, surrogate, incumbent_of(runners), leader, best, theta)


def next_look(
    runners: Sequence[Runner],
    state: State,
    racing: Racing,
    seed: int,
    looks: int,
    blocks: Sequence[Sequence[int]] = (),
) -> Choice:
    """Where the next look goes.

    Args:
        runners: all candidates.
        state: what they say.
        racing: how the search races.
        seed: the study's.
        looks: looks so far.
        blocks: coefficients that belong together.
    """
    open_points = [i for i, r in enumerate(runners) if not r.stopped and not r.is_complete]
    chunks = math.ceil(len(runners[0].order.documents) / racing.chunk)
    leads = looks >= racing.lead_from and (state.incumbent is None or looks % racing.lead == 0)
    if leads and (state.leader is None or state.leader in open_points):
        return Choice(state.best, state.leader, 0.0, chunks)
    look = 1 if state.incumbent is None else (racing.look or chunks)
    documents = racing.chunk * look
    # What one look tells: as much as those that were given one look.
    errors = [e.standard_error**2 * e.count for e in state.estimates if e.standard_error > 0]
    noise = float(np.median(errors)) / documents if errors else 0.25 / documents
    noise *= look < chunks
    generator = np.random.default_rng([seed, looks, _PROPOSALS])
    choice = choose(state.surrogate, open_points, noise, generator, blocks)
    return replace(choice, chunks=look)


def is_left(runner: Runner, runners: Sequence[Runner], racing: Racing) -> bool:
    """Whether to leave a candidate for now: it is `racing.leave` standard errors behind.

    That is no verdict: it stays open, its estimate is what the surrogate learns from.
    """
    number = incumbent_of(runners)
    if number is None or runner.is_complete:
        return False
    values = runners[number].values
    found = estimate(runner.seen, runner.order, values)
    return bool(found.mean + racing.leave * found.standard_error < values.mean())
