"""`auto`: which candidate is scored next, a new one or one that was begun and left, and on how many documents.

How documents are shared out is told in `allocation`; here that meets the study: its space, its bounds, its other workers.
"""

from __future__ import annotations

import numpy as np

from exme.search.study.space import Space, Value

from .allocation import expected_gain, look_noise, look_spread, next_look
from .bounded import within_bound
from .box import proposal_at
from .history import History
from .proposer import Choice, NothingLeft

# Candidates that must be known before it is said what more of them would bring.
ENOUGH = 8


_MOVED = 3  # a stream of random numbers, beside those of `allocation`


def propose(history: History) -> tuple[dict[str, Value], int] | None:
    """The proposal that is worth scoring, and the documents it is worth.

    Returns:
        None where nothing is known yet, or no point was found that may be proposed.
    """
    lineup, bounds, settled = history.lineup, history.bounds, history.settled
    if not lineup.runners:
        return None
    busy = {p for c in history.running if (p := lineup.place_of(c)) is not None}
    pending = [history.point(candidate) for candidate in history.running]
    space = settled.plan.proposals
    try:
        choice = next_look(
            lineup.runners,
            history.state,
            settled.racing,
            settled.seed,
            len(history.trials),
            blocks(space, len(bounds)),
            pending=np.array(pending).reshape(len(pending), len(bounds)),
            busy=busy,
            is_new=lambda point: history.untried.has(proposal_at(point, bounds)),
        )
    except NothingLeft:
        return None
    if choice.begun is not None:
        begun = lineup.trials[choice.begun].candidate
        assert begun is not None
        return space.of_candidate(begun), choice.documents
    proposal = _within_shift(history, choice)
    return None if proposal is None else (proposal, choice.documents)


def _within_shift(history: History, choice: Choice) -> dict[str, Value] | None:
    """The chosen point, or where it is beyond the study's bound on the shift the best one within."""
    bounds, settled = history.bounds, history.settled
    space, shift = settled.plan.proposals, settled.objective.shift
    proposal = proposal_at(choice.point, bounds)
    if shift is None or shift.within(proposal, space) == proposal:
        return proposal
    spread = look_spread(history.state.estimates, settled.count)
    return within_bound(
        shift,
        space,
        history.lineup,
        history.state,
        look_noise(spread, choice.documents, settled.count),
        bounds,
        np.random.default_rng([settled.seed, len(history.trials), _MOVED]),
        blocks(space, len(bounds)),
        history.untried.has,
    )


def blocks(space: Space, dimensions: int) -> list[list[int]]:
    """Parameters that belong together: a checkpoint's coefficients in all groups."""
    if not space.groups:
        return []
    groups, inner = len(space.groups), len(space.first.parameters())
    found = [[g * inner + i for g in range(groups)] for i in range(inner)]
    return found + [[i] for i in range(groups * inner, dimensions)]


def outlook(history: History) -> float | None:
    """By how much another hour is expected to raise the score; None while it cannot be said."""
    settled = history.settled
    ended = [t for t in history.trials if t.documents and t.duplicate_of is None and t.seconds]
    if len(history.lineup.runners) < ENOUGH or not ended:
        return None
    pace = 3600 * sum(t.documents for t in ended) / sum(t.seconds for t in ended)
    documents = min(2 * settled.racing.chunk, settled.count)
    spread = look_spread(history.state.estimates, settled.count)
    noise = look_noise(spread, documents, settled.count)
    return expected_gain(history.state, pace / documents, noise, settled.seed)
