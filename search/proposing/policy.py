"""The policy of a search: what is scored next, and when there is an end; decided from the history alone.

Known points come first, then the study's sampler; `auto` also says on how many documents. At the end of a race the
candidates that may yet be the best, the *finalists*, are scored on all documents.
"""

from __future__ import annotations

from collections.abc import Mapping

from exme.search.study.space import Value
from exme.search.trials.budget import documents_left, has_room, is_over, spent
from exme.search.trials.trial import FINAL

from . import auto
from .finalists import FINALISTS, finalists, owed
from .history import History
from .proposal import Proposal
from .sampler import BoundedSampler

NOTHING_LEFT = "nothing is left to try, for every candidate within the bounds has been tried"


def next_proposal(history: History) -> Proposal | BoundedSampler | None:
    """What is to be scored next.

    Returns:
        A proposal; or the Optuna sampler that is to make one, or to take up a trial that waits; None where nothing is
        to be had: at the search's end, and while trials in other workers' hands may use the budget up.
    """
    settled = history.settled
    over = why_used_up(history)
    if over or not has_room(settled.study.budget, history.trials, settled.count):
        return _finalist(history) if over else None
    if _is_near_end(history):
        finalist = _finalist(history)
        if finalist is not None:
            return finalist
    if history.is_waiting:
        return BoundedSampler(history)
    if history.due:
        return _known_point(history)
    if _is_exhausted(history):
        return _finalist(history)
    return (_adaptive(history) if settled.is_adaptive else None) or BoundedSampler(history)


def why_over(history: History) -> str:
    """Why the search is at its end, finalists and all; or the empty string."""
    reason = why_used_up(history) or _why_nothing_left(history)
    # (a finalist in another's hands may come back)
    if reason and history.settled.is_racing and (history.running or _finalist(history)):
        return ""
    return reason


def why_used_up(history: History) -> str:
    """Why nothing but finalists is to be scored, or the empty string."""
    study = history.settled.study
    reason = is_over(study.budget, history.trials)
    least = study.budget.gain_per_hour
    if reason or least is None:
        return reason
    found = auto.outlook(history)
    unit = 1.0 if study.objective == "target_nll" else 100.0
    if found is None or unit * found >= least:
        return ""
    return f"another hour is expected to bring {unit * found:.2g}, less than {least:g}"


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
    history: History, parameters: Mapping[str, Value], origin: str, documents: int | None
) -> Proposal:
    placed = history.settled.within(history.box.nearest(parameters))
    return Proposal(placed, origin, history.settled.candidate(placed), documents, history.box)


def _adaptive(history: History) -> Proposal | None:
    """What `auto` proposes; None where it knows nothing yet, or finds nothing that may be proposed."""
    found = auto.propose(history)
    if found is None:
        return None
    parameters, documents = found
    settled = history.settled
    left = documents_left(settled.study.budget, history.trials, settled.count)
    return _proposal(history, parameters, settled.sampler, min(documents, left or documents))


def _is_near_end(history: History) -> bool:
    """Whether what is left of the budget is no more than the finalists need."""
    settled = history.settled
    documents = settled.study.budget.documents
    if not settled.is_racing or documents is None:
        return False
    left = documents - spent(history.trials)[1]
    return left <= FINALISTS * settled.count and left <= owed(finalists(history))


def _finalist(history: History) -> Proposal | None:
    """A candidate that is to be scored on all documents before the search ends."""
    if not history.settled.is_racing:
        return None
    finals = 0
    for trial in reversed([t for t in history.trials if t.state not in ("waiting", "cut off")]):
        if trial.origin != FINAL:
            break
        finals += 1
    if finals >= FINALISTS:
        return None
    running = {candidate.digest for candidate in history.running}
    for trial, documents in finalists(history):
        assert trial.candidate is not None
        if trial.candidate.digest not in running:
            point = history.settled.plan.proposals.of_candidate(trial.candidate)
            return _proposal(history, point, FINAL, documents)
    return None
