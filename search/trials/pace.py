"""How long what is ahead of a search will take, by what its documents took so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .budget import cost
from .clock import Clock, covered
from .trial import TrialRecord

# The last so many trials say how fast a search goes now: it becomes faster as answers are drafted from earlier ones.
RECENT = 8


@dataclass(frozen=True)
class Timed:
    """A model that was scored on the report documents.

    Attributes:
        documents: how many.
        clock: when.
    """

    documents: int
    clock: Clock


@dataclass(frozen=True)
class Pace:
    """Seconds that a document takes.

    Attributes:
        worker: a search document, of one worker.
        together: a search document, on the clock, by all workers who are at it.
        report: a report document, of the one process that proves.
    """

    worker: float
    together: float
    report: float


def pace_of(trials: Sequence[TrialRecord], proofs: Sequence[Timed] = ()) -> Pace | None:
    """How fast a search goes now; None before its first documents were scored.

    Args:
        trials: all of it.
        proofs: models that were scored on the report documents.
    """
    by_end = _by_end(trials)
    if not by_end:
        return None
    recent = by_end[-RECENT:]
    documents = sum(map(cost, recent))
    worker = sum(map(_seconds, recent)) / documents
    together = covered(_spans(recent)) / documents
    # Report documents are new to all models, as search documents were to the first of them: nothing is drafted yet.
    first = by_end[:RECENT]
    fresh = sum(t.seconds for t in first) / sum(map(cost, first))
    if proofs:
        fresh = sum(p.clock.seconds for p in proofs) / sum(p.documents for p in proofs)
    return Pace(worker, together, fresh)


def recent_of(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The last trials that cost something, by when they ended."""
    return _by_end(trials)[-RECENT:]


def _by_end(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    paid = [t for t in trials if t.is_scored and cost(t) and t.duplicate_of is None]
    return sorted(paid, key=lambda t: (t.clock.end if t.clock else 0.0, t.number))


def _seconds(trial: TrialRecord) -> float:
    return trial.seconds if trial.clock is None else trial.clock.seconds


def _spans(trials: Sequence[TrialRecord]) -> list[tuple[float, float]]:
    """When trials were scored; one after the other where the storage does not say."""
    found, at = [], 0.0
    for trial in trials:
        if trial.clock is None:
            found.append((at - trial.seconds, at))
            at -= trial.seconds
        else:
            found.append((trial.clock.begin, trial.clock.end))
    return found
