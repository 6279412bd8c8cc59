"""The policy of a search: what is scored next, and when there is an end; decided from the history alone.

Known points come first, then the study's sampler; `auto` also says on how many documents.
"""

from __future__ import annotations

from collections.abc import Mapping

from exme.search.study import Value
from exme.search.trials import FINAL, best_trial, documents_left, has_room, is_over, spent

from . import auto
from .halving import kept_of, next_of_halving
from .history import History
from .proposal import Proposal
from .sampler import BoundedSampler

# A search that may score so many times all documents ends with scoring the model that it names on all of them: an eighth.
RESERVED = 8
# Models that come to be named in the end one after the other, and are scored on all documents, at most.
FINALS = 3

RANKED = "the checkpoints are ranked"
NOTHING_LEFT = "nothing is left to try, for every candidate within the bounds has been tried"


def next_proposal(history: History) -> Proposal | BoundedSampler | None:
    """What is to be scored next.

    Returns:
        A proposal; or the Optuna sampler that is to make one, or to take up a trial that waits; None where nothing is
        to be had: at the search's end, and while trials in other workers' hands may use the budget up.
    """
    if history.settled.halving is not None:
        return next_of_halving(history)
    return _next_of_search(history)


def _next_of_search(history: History) -> Proposal | BoundedSampler | None:
    settled = history.settled
    over = why_used_up(history)
    if over or not has_room(settled.study.budget, history.trials, settled.count):
        return _final(history) if over else None
    if _is_near_end(history) and (final := _final(history)) is not None:
        return final
    if history.is_waiting:
        return BoundedSampler(history)
    if history.due:
        return _known_point(history)
    if _is_exhausted(history):
        return _final(history)
    return (_adaptive(history) if settled.is_adaptive else None) or BoundedSampler(history)


def why_over(history: History) -> str:
    """Why the search is at its end, or the empty string; in a first stage, why that is."""
    if history.settled.halving is not None:
        return RANKED if kept_of(history) is not None else ""
    reason = why_used_up(history) or _why_nothing_left(history)
    return "" if reason and _final(history) is not None else reason


def why_used_up(history: History) -> str:
    """Why nothing more is to be scored, or the empty string."""
    study = history.settled.study
    reason = is_over(study.budget, history.trials) or _why_no_time(history)
    least = study.budget.gain
    if reason or least is None:
        return reason
    found = auto.promise(history)
    unit = 1.0 if study.measure == "target_nll" else 100.0
    if found is None or unit * found >= least:
        return ""
    return f"more documents are expected to bring {unit * found:.2g}, less than {least:g}"


def _why_no_time(history: History) -> str:
    """That no trial could end before the proof has to begin; or the empty string."""
    left = history.documents_in_time
    if left is None or left >= _held_back(history) + history.settled.first_chunk:
        return ""
    return f"{history.settled.study.budget.hours:g} hours, with what naming and proof take"


def _held_back(history: History) -> int:
    """Documents that are kept for scoring the model that is named, where the time has room for that."""
    settled, left = history.settled, history.documents_in_time
    if left is None or not settled.is_racing:
        return 0
    whole = spent(history.trials)[1] + left
    return settled.count if whole >= RESERVED * settled.count else 0


def _why_nothing_left(history: History) -> str:
    if history.running or history.is_waiting or history.due:
        return ""
    return NOTHING_LEFT if _is_exhausted(history) else ""


def _is_exhausted(history: History) -> bool:
    """Whether no candidate is left that may be proposed: all are settled, or in others' hands."""
    if history.untried.draw(len(history.trials)) is not None:
        return False
    if not history.settled.is_adaptive:
        return True
    in_hand = {candidate.digest for candidate in history.running}
    left = [history.lineup.trials[place].candidate for place in history.lineup.open_places()]
    return not any(c is not None and c.digest not in in_hand for c in left)


def _known_point(history: History) -> Proposal:
    """The first known point that is due. An input is scored even where it is beyond the bound on the shift."""
    settled, point = history.settled, history.due[0]
    placed = history.box.nearest(settled.plan.of_point(point))
    candidate = settled.candidate(placed)
    return Proposal(placed, point.name, candidate, settled.first_chunk, history.box)


def _proposal(
    history: History,
    parameters: Mapping[str, Value],
    origin: str,
    documents: int | None,
    start: int = 0,
) -> Proposal:
    placed = history.settled.within(history.box.nearest(parameters))
    return Proposal(
        placed, origin, history.settled.candidate(placed), documents, history.box, start
    )


def _final(history: History) -> Proposal | None:
    """The model that is named, on the documents that it lacks, where the budget has room for them.

    That tells nothing of others; but what is reported of the winner is then of all search documents.
    """
    settled, best = history.settled, best_trial(history.trials)
    if not settled.is_racing or best is None or best.candidate is None or best.scores is not None:
        return None
    if best.candidate.digest in {candidate.digest for candidate in history.running}:
        return None
    place = history.lineup.place_of(best.candidate)
    if place is None or place not in history.lineup.open_places():
        return None
    lacks = settled.count - len(history.lineup.runners[place].seen)
    left = documents_left(settled.study.budget, history.trials, settled.count)
    finals = sum(trial.origin == FINAL for trial in history.trials)
    room = [found for found in (left, history.documents_in_time) if found is not None]
    if finals >= FINALS or any(found < lacks for found in room):
        return None
    point = settled.plan.proposals.of_candidate(best.candidate)
    return _proposal(history, point, FINAL, lacks)


def _is_near_end(history: History) -> bool:
    """Whether what is left of the documents is just enough to score the model that is named on all of them."""
    settled = history.settled
    budget = settled.study.budget.documents
    if not settled.is_racing or budget is None or budget < RESERVED * settled.count:
        return False
    left = documents_left(settled.study.budget, history.trials, settled.count)
    return left is not None and left <= settled.count + settled.first_chunk


def _adaptive(history: History) -> Proposal | None:
    """What `auto` proposes; None where it knows nothing yet, or finds nothing that may be proposed."""
    found = auto.propose(history)
    if found is None:
        return None
    settled = history.settled
    left = documents_left(settled.study.budget, history.trials, settled.count)
    documents = min(found.documents, left or found.documents)
    in_time = history.documents_in_time
    if in_time is not None:
        documents = min(documents, max(settled.first_chunk, in_time - _held_back(history)))
    budget = settled.study.budget.documents
    if left is not None and budget is not None and budget >= RESERVED * settled.count:
        documents = min(documents, max(settled.first_chunk, left - settled.count))
    return _proposal(history, found.parameters, settled.sampler, documents, found.start)
