"""Random points and grids, raced or halved: searches that learn nothing of where to look."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.landscape import Floats
from exme.search.racing.field import Field, Racing, Runner, advance, draw, face, incumbent_of

from .half import Half
from .plain import in_coefficients

# Points of successive halving at a budget of once, and at most; documents that each is given first at least.
FIRST, MOST, LEAST = 8, 64, 8
GRID = 5


def drawn(half: Half, count: int) -> list[Floats]:
    """Random points within the landscape's bounds."""
    low, high = half.landscape.bounds.T
    generator = np.random.default_rng(half.seed)
    return list(generator.uniform(low, high, (count, half.size)))


def random(half: Half, budget: float) -> Floats:
    """As many random points as the budget has room for, each on all documents."""
    points = drawn(half, int(budget))
    return points[int(np.argmax([half.score(p) for p in points]))]


def raced(points: Iterator[Floats], half: Half, budget: float, racing: Racing) -> Floats:
    """Points one after the other, each until it has lost against the best complete one, or is complete."""
    field, runners, own = Field((half.count,)), list[Runner](), list[Floats]()
    left = int(budget * half.count)
    for point in points:
        if left <= 0:
            break
        order = draw(runners, field, half.seed).order
        runner = face(Runner(np.zeros(0), order, np.zeros(0)), runners, field)
        outcomes = half.seen(point)
        while left > 0 and not (runner.rejected or runner.is_complete):
            at = len(runner.seen)
            chosen = order.documents[at : at + min(racing.chunk, left)]
            runner = advance(runner, outcomes[chosen], racing, field)
            left -= len(chosen)
        runners.append(runner)
        own.append(point)
    best = incumbent_of(runners, field)
    return own[best or 0]


def random_raced(half: Half, budget: float) -> Floats:
    """Random points, raced."""
    return raced(iter(drawn(half, int(40 * budget))), half, budget, Racing())


def grid_raced(half: Half, budget: float) -> Floats:
    """A grid's points in a random order, raced."""
    points = in_coefficients(GRID)(half)
    mixed = np.random.default_rng(half.seed).permutation(len(points))
    return raced((points[i] for i in mixed), half, budget, Racing())


def halving(half: Half, budget: float) -> Floats:
    """Successive halving of random points on one order of documents.

    Jamieson and Talwalkar 2016, arXiv:1502.07943: every round has the same number of documents, and the better half of
    its points goes on.
    """
    documents = int(budget * half.count)
    count = int(min(MOST, FIRST * 2 ** np.floor(np.log2(max(1.0, budget)))))
    points = drawn(half, count)
    order = np.random.default_rng([half.seed, 1]).permutation(half.count)
    table = np.stack([half.seen(p)[order] for p in points])
    rounds = max(1, int(np.log2(count)))
    alive, seen = np.arange(count), 0
    for _ in range(rounds):
        seen = min(half.count, seen + documents // rounds // len(alive))
        means = table[alive, :seen].mean(1) if seen else np.zeros(len(alive))
        alive = alive[np.argsort(-means, kind="stable")[: max(1, len(alive) // 2)]]
    return points[int(alive[0])]
