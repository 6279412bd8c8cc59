"""`auto`: which candidate is scored next, a new one or one that was begun, and on which documents.

How that is chosen is told in `allocation`; here it meets the study: its space, its bounds, its other workers. New candidates
are drawn all over the bounds and about the best two, in steps from coarse to fine. Half of them have the same coefficients
in all groups: with many groups documents seldom support more, and then the search stays there. With more than two
checkpoints nearly all of the bounds lies too far from the base (eight of up to 2.4 each add up to ten on average), so that half of the wide
points are mixes: a total, and the checkpoints' shares of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exme.search.merging import Candidate, joint
from exme.search.racing import Floats, common_draw
from exme.search.study import Space, Value
from exme.search.trials import TrialRecord

from .allocation import Choice, block_size, choose, expected_gain
from .history import History

# Points drawn all over the bounds, and about each of the best two.
WIDE, NEAR = 96, 24
# Deviations, in widths of the bounds: of groups from their common coefficient, and of the coarsest step about a point.
APART, STEP = 0.15, 0.2
# Mixes: the largest total, in that of the usual one, and how uneven shares are: shapes of gamma variables, as powers of 2.
MOST, SHAPES = 2.0, (-3, 5)
# Streams of random numbers.
_POINTS, _PROMISE = 2, 3


@dataclass(frozen=True)
class Found:
    """What `auto` proposes: parameters by name, how many documents, and where in their order a new candidate begins."""

    parameters: Mapping[str, Value]
    documents: int
    start: int


def propose(history: History) -> Found | None:
    """What is to be scored next; None where nothing is known yet, or nothing was found that may be proposed."""
    believed, settled = history.believed, history.settled
    if believed is None:
        return None
    generator = np.random.default_rng([settled.seed, len(history.trials), _POINTS])
    drawn, new = _new(history, generator)
    points, penalties = _points(history, new)
    size = block_size(settled.count)
    seen = blocks_seen(history, size)
    busy = {candidate.digest for candidate in history.running}
    may = np.ones(len(points), dtype=bool)
    may[: len(believed.trials)] = [_is_open(trial, busy) for trial in believed.trials]
    choice = choose(
        believed.suites,
        history.field.goal,
        points,
        seen,
        _following(believed.trials, seen, size),
        may,
        size,
        generator,
        penalties,
    )
    if choice is None:
        return None
    return _found(history, choice, drawn, size)


def _found(
    history: History, choice: Choice, drawn: Sequence[Mapping[str, Value]], size: int
) -> Found:
    believed = history.believed
    assert believed is not None
    documents = choice.blocks * size
    if choice.point >= len(believed.trials):
        return Found(drawn[choice.point - len(believed.trials)], documents, choice.block * size)
    begun = believed.trials[choice.point].candidate
    assert begun is not None
    return Found(history.settled.plan.proposals.of_candidate(begun), documents, 0)


def _new(
    history: History, generator: np.random.Generator
) -> tuple[list[dict[str, Value]], list[Candidate]]:
    """Proposals that may be made, and their candidates."""
    settled, drawn, made, known = history.settled, [], [], set[str]()
    for proposal in pool(history, generator):
        placed = settled.within(history.box.nearest(proposal))
        candidate = settled.candidate(placed)
        if candidate.digest not in known and history.untried.may_be(candidate):
            known.add(candidate.digest)
            drawn.append(placed)
            made.append(candidate)
    if history.believed is not None:  # (one that was begun is no new one)
        begun = history.believed.of
        chosen = [i for i, candidate in enumerate(made) if candidate.digest not in begun]
        return [drawn[i] for i in chosen], [made[i] for i in chosen]
    return drawn, made


def pool(history: History, generator: np.random.Generator) -> list[dict[str, Value]]:
    """Proposals to choose from."""
    bounds, space = history.bounds, history.settled.plan.proposals
    low, high = np.array(list(bounds.values())).T
    width, together = high - low, _together(space, list(bounds))
    wide = generator.random((WIDE, together.shape[0])) @ together
    if len(together) < len(low):
        wide[WIDE // 2 :] += APART * generator.normal(size=(WIDE - WIDE // 2, len(low)))
    found = [low + width * wide]
    usual = space.to_parameters(history.settled.weight_space.usual)
    middle = np.array([float(usual[name]) for name in bounds])
    tied = together[: len(space.first.parameters())]
    tied = tied[tied @ middle > 0]  # (a direction is no checkpoint)
    if len(tied) > 2:
        mixed = tied.any(0)
        found[0][::2, mixed] = _mixes(middle, tied, generator)[:, mixed]
    for centre in _best_two(history, list(bounds)):
        scale = STEP * 2.0 ** -generator.uniform(0, 4, size=(NEAR, 1))
        steps = generator.normal(size=(NEAR, len(together))) @ together
        if len(together) < len(low):
            apart = generator.normal(size=(NEAR, len(low))) * generator.integers(0, 2, (NEAR, 1))
            steps[::2] = apart[::2]
        found.append(centre + width * scale * steps)
    points = np.clip(np.concatenate(found), low, high)
    drawn: list[dict[str, Value]] = [
        dict(zip(bounds, map(float, point), strict=True)) for point in points
    ]
    return [usual, *drawn]


def _mixes(usual: Floats, checkpoints: Floats, generator: np.random.Generator) -> Floats:
    """Mixes from even ones to single checkpoints, and from the base to twice the usual total.

    Args:
        usual: a candidate, shape (d,).
        checkpoints: which parameters are a checkpoint's, shape (k, d).
        generator: of random numbers.
    Returns:
        Points, shape (WIDE / 2, d).
    """
    n, k = WIDE // 2, len(checkpoints)
    shares = generator.gamma(2.0 ** generator.uniform(*SHAPES, size=(n, 1)), size=(n, k))
    shares /= np.maximum(shares.sum(1, keepdims=True), 1e-9)
    totals = generator.uniform(0, MOST, size=(n, 1))
    return usual * (k * totals * shares @ checkpoints)


def _best_two(history: History, names: Sequence[str]) -> list[Floats]:
    """The candidates of which most is believed, as parameters."""
    believed = history.believed
    assert believed is not None
    goal = history.field.goal
    merits = [
        -np.inf if t.barred else goal.merit(means) - t.penalty
        for t, means in zip(believed.trials, believed.means.tolist(), strict=True)
    ]
    found = []
    for place in np.argsort(merits)[::-1][:2]:
        candidate = believed.trials[int(place)].candidate
        assert candidate is not None
        proposal = history.settled.plan.proposals.of_candidate(candidate)
        found.append(np.array([float(proposal[name]) for name in names]))
    return found


def _together(space: Space, names: Sequence[str]) -> Floats:
    """What moves together, a row each: a checkpoint's coefficients in all groups; shape (k, d)."""
    if not space.groups:
        return np.eye(len(names))
    rows = [[joint(inner, group) for group in space.groups] for inner in space.first.parameters()]
    tied = {name for row in rows for name in row}
    rows += [[name] for name in names if name not in tied]
    return np.array([[float(name in row) for name in names] for row in rows])


def _points(history: History, new: Sequence[Candidate]) -> tuple[Floats, Floats]:
    """Places of the candidates that were tried, and of new ones; and what a shift takes off what is believed of them."""
    believed, settled = history.believed, history.settled
    assert believed is not None
    penalties = [np.inf if t.barred else t.penalty for t in believed.trials]
    if settled.objective.shift is None:
        penalties += [0.0] * len(new)
    else:
        judged = [settled.objective.judge(TrialRecord(0, "waiting", "", c)) for c in new]
        penalties += [trial.penalty for trial in judged]
    places = settled.weight_space.places(new) if new else believed.places[:0]
    return np.concatenate([believed.places, places]), np.array(penalties)


def _is_open(trial: TrialRecord, busy: set[str]) -> bool:
    """Whether a candidate may be scored on further documents."""
    if trial.scores is not None or trial.barred or trial.candidate is None:
        return False
    return trial.state != "rejected" and trial.candidate.digest not in busy


def blocks_seen(history: History, size: int) -> np.ndarray:
    """Which candidate was scored on all documents of which block, shape (K, blocks)."""
    believed = history.believed
    assert believed is not None
    order = common_draw(history.field, history.settled.seed).order.documents
    seen = ~np.isnan(believed.values[:, order])
    starts = range(0, len(order), size)
    return np.stack([seen[:, start : start + size].all(1) for start in starts], 1)


def _following(trials: Sequence[TrialRecord], seen: np.ndarray, size: int) -> list[int]:
    """The block that each candidate goes on with."""
    found = []
    for trial, row in zip(trials, seen, strict=True):
        start = trial.race_log.draw.start // size if trial.race_log is not None else 0
        left = [block % len(row) for block in range(start, start + len(row))]
        found.append(next((block for block in left if not row[block]), start % len(row)))
    return found


def promise(history: History) -> float | None:
    """By how much more documents are expected to raise the score of what is named; None while it cannot be said."""
    believed, settled = history.believed, history.settled
    if believed is None or history.due or settled.objective.values_per_trial > 1:
        return None
    generator = np.random.default_rng([settled.seed, len(history.trials), _PROMISE])
    points, penalties = _points(history, _new(history, generator)[1])
    return expected_gain(
        believed.suites, history.field.goal, points, settled.objective.sizes, generator, penalties
    )
