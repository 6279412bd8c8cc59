"""How documents are shared out: the next round goes to the leader or to who may be better, whichever tells them apart.

The search documents have one order, in blocks of a sixteenth. A candidate begins at a block and goes on from there, around
the end, so that candidates meet on the same documents. Each round:

1. The leader is the candidate, or the point that was not tried, of which most is believed (`belief`).
2. The challenger is the best in one draw of what may be true (top-two Thompson sampling; Russo 2020,
   doi:10.1287/opre.2019.1911): who is likely to be better is drawn often, whoever is not is left alone.
3. Of the two, and of the blocks, the pair is scored that lowers the variance of their difference most.

A round is one block at first, and a sixteenth of all that was spent later: a search of twenty times all documents makes
some sixty rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exme.search.racing import Belief, Floats, Goal, Posterior

BLOCKS = 16
# Documents of a block at least.
LEAST = 8
# A round takes one in so many of the documents that were spent.
GROWTH = 16
DRAWS = 64


@dataclass(frozen=True)
class Choice:
    """What is scored next.

    Attributes:
        point: its number among the points.
        block: where a candidate that was not tried begins.
        blocks: that it is worth.
    """

    point: int
    block: int
    blocks: int


def block_size(count: int) -> int:
    """Documents of a block, of so many in all."""
    return min(count, max(LEAST, -(-count // BLOCKS)))


def merits(suites: Sequence[Floats], goal: Goal) -> Floats:
    """What a search goes by, of the suites' means; shapes (q,) or (q, draws)."""
    if len(suites) == 1:
        return suites[0]
    table = np.stack([s.ravel() for s in suites], 1)
    found = np.array([goal.merit(row) for row in table.tolist()])
    return found.reshape(suites[0].shape)


def root_of(posterior: Posterior) -> Floats:
    """A root of the covariance, shape (q, q)."""
    own = posterior.covariance
    jitter = 1e-9 + 1e-6 * float(np.diag(own).mean())
    return np.asarray(np.linalg.cholesky(own + jitter * np.eye(len(own))), dtype=float)


def choose(
    beliefs: Sequence[Belief],
    goal: Goal,
    points: Floats,
    seen: np.ndarray,
    following: Sequence[int],
    may: np.ndarray,
    size: int,
    generator: np.random.Generator,
    penalties: Floats | float = 0.0,
) -> Choice | None:
    """What is scored next; None where nothing may be.

    Args:
        beliefs: of each suite.
        goal: over the suites.
        points: in weight space, those tried first, shape (q, d).
        seen: which of them has seen which block, shape (K, blocks).
        following: the block that each of those tried goes on with.
        may: who may be scored, shape (q,).
        size: documents of a block.
        generator: of the draws.
        penalties: taken off what is believed, shape (q,).
    """
    posteriors = [belief.at(points) for belief in beliefs]
    means = merits([p.mean for p in posteriors], goal) - penalties
    drawn = [
        p.mean[:, None] + root_of(p) @ generator.normal(size=(len(points), DRAWS))
        for p in posteriors
    ]
    tops = (merits(drawn, goal) - np.broadcast_to(penalties, len(points))[:, None]).argmax(0)
    leader = int(means.argmax())
    others = tops[tops != leader]
    linear = goal.tangent([float(p.mean[leader]) for p in posteriors])
    blocks = max(1, round(seen.sum() / GROWTH))
    for challenger in [*others[:4].tolist(), int(np.where(may, means, -np.inf).argmax())]:
        best, gain = None, 0.0
        for place, number in enumerate((leader, challenger)):
            if not may[number]:
                continue
            free = [following[number]] if number < len(seen) else range(seen.shape[1])
            for block in free:
                who = np.flatnonzero(seen[:, block])
                told = sum(
                    w**2 * b.told(p, points, (leader, challenger), who, blocks * size)[place]
                    for w, b, p in zip(linear, beliefs, posteriors, strict=True)
                )
                if best is None or told > gain:
                    best, gain = Choice(number, block, blocks), float(told)
        if best is not None:
            return best
    return None


def expected_gain(
    beliefs: Sequence[Belief],
    goal: Goal,
    points: Floats,
    counts: Sequence[int],
    generator: np.random.Generator,
    penalties: Floats | float = 0.0,
) -> float:
    """By how much the score of what is named would rise, were every point scored on all search documents.

    That is E max of the means that would be believed then, less the highest of today's. More documents of these suites
    cannot bring more; what fresh ones would say beside it is out of a search's reach.

    Args:
        beliefs: of each suite.
        goal: over the suites.
        points: in weight space, shape (q, d).
        counts: of the search documents of each suite.
        generator: of the draws.
        penalties: taken off what is believed, shape (q,).
    """
    drawn, now = [], []
    for belief, count in zip(beliefs, counts, strict=True):
        posterior = belief.at(points)
        noise = belief.noise(points, posterior) / count
        own = posterior.covariance
        learnt = own @ np.linalg.solve(own + noise, own)
        root = root_of(Posterior(posterior.mean, (learnt + learnt.T) / 2))
        drawn.append(
            posterior.mean[:, None] + root @ generator.normal(size=(len(points), 4 * DRAWS))
        )
        now.append(posterior.mean)
    less = np.broadcast_to(penalties, len(points))
    top = (merits(drawn, goal) - less[:, None]).max(0).mean()
    return max(0.0, float(top - (merits(now, goal) - less).max()))


def rounds_of(documents: int, count: int, spent: int = 0) -> int:
    """About so many rounds share out a budget of documents.

    Args:
        documents: of the budget, still to be scored.
        count: search documents.
        spent: documents that were scored before.
    """
    size, rounds = block_size(count), 0
    blocks, most = spent / size, (spent + documents) / size
    while blocks < most:
        blocks += max(1, round(blocks / GROWTH))
        rounds += 1
    return rounds


def documents_of(rounds: int, count: int, spent: int = 0) -> int:
    """Inverse of `rounds_of`: about so many documents are scored in so many rounds."""
    size = block_size(count)
    blocks = spent / size
    for _ in range(rounds):
        blocks += max(1, round(blocks / GROWTH))
    return round(blocks * size) - spent
