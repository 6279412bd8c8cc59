"""What a search has used up of its budget, and what room is left."""

from __future__ import annotations

from collections.abc import Sequence

from exme.search.study import BudgetSection

from .trial import DROPPED, TrialRecord


def spent(trials: Sequence[TrialRecord]) -> tuple[int, int, float]:
    """Candidates, documents and minutes used up.

    Candidates that were known already cost nothing; nor do trials that were cut off. A candidate that is
    looked at again is no further trial, but further documents and minutes.
    """
    ended = [t for t in trials if t.duplicate_of is None and has_ended(t)]
    documents = sum(cost(t) for t in ended if t.state != "failed")
    count = sum(t.continues is None for t in ended)
    return count, documents, sum(t.seconds for t in ended) / 60


def counted(trials: Sequence[TrialRecord]) -> str:
    """How much was tried, as it is told everywhere: ``32 candidates in 49 trials``.

    A candidate that is scored in several rounds has as many trials; one that was known already has one, too.
    """
    return f"{_candidates(spent(trials)[0])} in {len(trials)} trial{'s' * (len(trials) != 1)}"


def _candidates(count: int) -> str:
    return f"{count} candidate{'s' * (count != 1)}"


def cost(trial: TrialRecord) -> int:
    """Documents that were scored in a trial; all of them where it does not say."""
    whole = trial.scores is not None and trial.duplicate_of is None and trial.continues is None
    return trial.documents or (trial.scores.count if trial.scores is not None and whole else 0)


def has_ended(trial: TrialRecord) -> bool:
    """Whether a trial was scored, in part at least, or could not be."""
    return trial.is_scored or trial.state in ("failed", DROPPED)


def is_over(budget: BudgetSection, trials: Sequence[TrialRecord]) -> str:
    """Why the search is at its end, or the empty string."""
    used, documents, minutes = spent(trials)
    if budget.trials is not None and used >= budget.trials:
        return counted(trials)
    if budget.documents is not None and documents >= budget.documents:
        return f"{documents} documents"
    if budget.minutes is not None and minutes >= budget.minutes:
        return f"{minutes:.1f} minutes"
    return ""


def has_room(budget: BudgetSection, trials: Sequence[TrialRecord], per_trial: int) -> bool:
    """Whether the budget has room for one more trial beside those that others have in hand.

    Minutes are not among what is reserved: how long a trial in hand will take, nobody knows.

    Args:
        budget: the study's.
        trials: all trials.
        per_trial: documents that a trial may take that does not say so itself.
    """
    running = [t for t in trials if t.state == "running"]
    if budget.trials is not None and spent(trials)[0] + len(running) >= budget.trials:
        return False
    left = documents_left(budget, trials, per_trial)
    return left is None or left > 0


def documents_left(
    budget: BudgetSection, trials: Sequence[TrialRecord], per_trial: int
) -> int | None:
    """Documents of the budget that nobody has scored or has in hand; None where it does not count them.

    Args:
        budget: the study's.
        trials: all trials.
        per_trial: documents that a trial may take that does not say so itself.
    """
    if budget.documents is None:
        return None
    reserved = sum(t.documents or per_trial for t in trials if t.state == "running")
    return budget.documents - spent(trials)[1] - reserved
