"""How long what is ahead of a search will take, by what its documents took so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .budget import cost
from .clock import Clock, covered
from .trial import TrialRecord

# The last so many trials say how fast a search goes now: it becomes faster as answers are drafted from earlier ones.
RECENT = 8
# And the first so many how fast it goes where nothing is drafted yet.
FRESH = 4


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
    """How fast a search goes.

    Attributes:
        document: seconds of a search document, of one worker.
        between: seconds between two rounds of a worker: choosing, writing down, telling.
        workers: so many are at it at once, on average.
        report: seconds of a report document, of the one process that proves.
    """

    document: float
    between: float
    workers: float
    report: float

    def search(self, documents: float, rounds: float) -> float:
        """Seconds on the clock of so many search documents in so many rounds."""
        return (documents * self.document + rounds * self.between) / self.workers


def pace_of(trials: Sequence[TrialRecord], proofs: Sequence[Timed] = ()) -> Pace | None:
    """How fast a search goes now; None before its first documents were scored.

    Args:
        trials: all of it.
        proofs: models that were scored on the report documents, one after the other.
    """
    by_end = _by_end(trials)
    if not by_end:
        return None
    recent = by_end[-RECENT:]
    documents = sum(map(cost, recent))
    whole, scoring = sum(map(_seconds, recent)), sum(t.seconds - t.proposing for t in recent)
    on_the_clock = covered(_spans(recent))
    return Pace(
        scoring / documents,
        max(0.0, whole - scoring) / len(recent),
        max(1.0, whole / on_the_clock) if on_the_clock else 1.0,
        _of_report(by_end[:FRESH], proofs),
    )


def _of_report(first: Sequence[TrialRecord], proofs: Sequence[Timed]) -> float:
    """Seconds of a report document.

    They are new to all models, as search documents were to the first of them, of whose times the second highest counts: one
    may have been slow for another reason. The first model of a proof, which also has the prompts built, says nothing of
    those that follow.
    """
    if len(proofs) > 1:
        return sum(p.clock.seconds for p in proofs[1:]) / sum(p.documents for p in proofs[1:])
    slowest = sorted(((t.seconds - t.proposing) / cost(t) for t in first), reverse=True)
    return slowest[min(1, len(slowest) - 1)]


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
