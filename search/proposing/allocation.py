"""How documents are shared out among candidates: looks, races, and who is named best.

A search works in *looks* of a few documents each. A look goes to a new point, or to one that was begun and
left, whichever the knowledge gradient (`proposer`) prefers; now and then it goes to the point that would be
named best, so that the leader comes to be scored on all documents and becomes the incumbent. A
candidate leaves the race in two ways only: it has been scored on all documents, or the test of `racing` has
stopped it. One that was left without either may be taken up again.

Everything is decided from the history, with random numbers seeded by its length.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from exme.search.racing.field import (
    Field,
    Racing,
    Runner,
    combined,
    estimates_of,
    incumbent_of,
    within_suite,
)
from exme.search.racing.strata import Estimate, Floats, estimate
from exme.search.racing.surrogate import Surrogate, fit

from .proposer import Choice, best_point, candidates, choose, knowledge_gradient

# Variance of a score's roughness, which no neighbour shares, over the variance of a document's outcome within
# its neighbourhood: 0.03 over about 0.13 on the tuning landscapes.
ROUGHNESS = 0.2

# Of so many looks one goes to the leader, to the end of its race; not before so many times all documents were scored.
LEAD = 6
LEAD_FROM = 2.0
# Standard errors by which a candidate is behind when its race is broken off.
LEAVE = 1.0

# Stream of random numbers; `field.ORDERS` is another.
_PROPOSALS = 2


@dataclass(frozen=True)
class State:
    """What a history says.

    Attributes:
        estimates: of each candidate's mean over all documents.
        surrogate: fitted to them.
        incumbent: number of the best complete candidate; None before the first.
        best: the point that would be named best, in [0, 1], shape (d,).
        leader: its number, None where it was not tried.
    """

    estimates: tuple[Estimate, ...]
    surrogate: Surrogate
    incumbent: int | None
    leader: int | None
    best: Floats


def survey(runners: Sequence[Runner], racing: Racing, field: Field) -> State:
    """What the history says; at least one candidate must have been looked at."""
    estimates = estimates_of(runners, field)
    x = np.stack([r.point for r in runners])
    y = np.array([e.mean - r.penalty for e, r in zip(estimates, runners, strict=True)])
    rough = ROUGHNESS * look_spread(estimates, field.count) / field.count
    surrogate = fit(x, y, np.array([e.standard_error**2 for e in estimates]), nugget=rough)
    best, leader = best_point(surrogate, np.random.default_rng(len(runners)))
    return State(estimates, surrogate, incumbent_of(runners, field), leader, best)


def next_look(
    runners: Sequence[Runner],
    state: State,
    racing: Racing,
    seed: int,
    looks: int,
    blocks: Sequence[Sequence[int]] = (),
    pending: Floats | None = None,
    busy: Collection[int] = (),
    is_new: Callable[[Floats], bool] = lambda point: True,
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
        is_new: whether a point that was not tried may be looked at: what is settled may not.

    Raises:
        NothingLeft: no point that may be looked at was found.
    """
    count = len(runners[0].order.documents)
    open_points = {
        i: count - len(r.seen)
        for i, r in enumerate(runners)
        if not (r.stopped or r.barred or r.is_complete or i in busy)
    }
    spent = sum(len(r.seen) for r in runners)
    leads = spent >= LEAD_FROM * count and (state.incumbent is None or looks % LEAD == 0)
    if leads and (is_new(state.best) if state.leader is None else state.leader in open_points):
        return Choice(state.best, state.leader, 0.0, count)
    spread = look_spread(state.estimates, count)
    sizes = [racing.chunk]
    while sizes[-1] < count and state.incumbent is not None:
        sizes.append(min(count, 2 * sizes[-1]))
    noises = {m: look_noise(spread, m, count) for m in sizes}
    generator = np.random.default_rng([seed, looks, _PROPOSALS])
    surrogate = state.surrogate
    if pending is not None and len(pending):
        surrogate = surrogate.believing(pending, noises[sizes[0]])
    tried = len(runners)
    return choose(surrogate, open_points, noises, generator, blocks, tried=tried, is_new=is_new)


def expected_gain(state: State, looks: float, noise: float, seed: int = 0) -> float:
    """By how much so many further looks are expected to raise the score of what is named best.

    The lower of what they would bring if each brought what the next one does (the knowledge gradient), and of what
    knowing every score would bring, E max f - max E f over points drawn all over and about the best. No bound:
    looks bring more about half of the time.

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
    """Variance of one document's part in an estimate: as much as in those that were given."""
    each = [
        e.standard_error**2 / look_noise(1.0, e.count, count)
        for e in estimates
        if e.standard_error > 0 and e.count < count
    ]
    return float(np.median(each)) if each else 0.25


def look_noise(spread: float, documents: int, count: int) -> float:
    """Variance of what a look at so many of all documents tells: none, where nothing is left to be told."""
    return spread * (1 / documents - 1 / count)


def is_left(runner: Runner, runners: Sequence[Runner], racing: Racing, field: Field) -> bool:
    """Whether to leave a candidate for now: it is `LEAVE` standard errors behind.

    That is no verdict: it stays open, its estimate is what the surrogate learns from.
    """
    number = incumbent_of(runners, field)
    if number is None or runner.is_complete:
        return False
    rival, handicap = runners[number].values, runner.penalty - runners[number].penalty
    suites = []
    for part in field.parts:
        mine = within_suite(runner, part)
        if not len(mine.seen):
            return False
        suites.append(estimate(mine.seen, mine.order, rival[part]))
    found = combined(suites, field)
    return bool(
        found.mean - handicap + LEAVE * found.standard_error < field.goal.merit(field.means(rival))
    )
