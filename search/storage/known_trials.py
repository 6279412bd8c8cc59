"""A study's trials as records, each finished one read once; safe to ask from several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from exme.search.trials.outcome import TrialRecord

from .importance import importance, says_something
from .records import condense, is_whole, record_of


class KnownTrials:
    """The records of a storage's trials.

    What is read of a finished trial is let go of (`condense`), so that nobody else may be reading it then: all is done
    under one lock. And it must have been read whole, for it is never read again.

    Args:
        identifiers: identifiers of the documents of a suite and split.
        anew: reads a trial from the database itself, whatever a cache still holds of it.

    Attributes:
        rate: fills in what is maximised of all trials, given all of them.
    """

    def __init__(
        self,
        identifiers: Callable[[str, str], Sequence[str]],
        anew: Callable[[FrozenTrial], FrozenTrial],
    ) -> None:
        self.rate: Callable[[list[TrialRecord]], list[TrialRecord]] = lambda trials: trials
        self._identifiers, self._anew = identifiers, anew
        self._lock = threading.RLock()
        self._finished: dict[int, TrialRecord] = {}
        self._work: dict[str, float] = {}  # seconds of the finished trials

    def records(self, trials: Sequence[FrozenTrial]) -> list[TrialRecord]:
        """All trials of a study as records, in their order."""
        with self._lock:
            found = [self._record(trial) for trial in trials]
            rated = self.rate(found)
            # Kept as rated: ratings seldom change, and copying 2,000 records at every read takes longer than all else.
            new = [t for t, before in zip(rated, found, strict=True) if t is not before]
            self._finished |= {t.number: t for t in new if t.number in self._finished}
            return rated

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        record = self._finished.get(trial.number)
        if record is not None:
            return record
        is_final = trial.state.is_finished()
        if is_final and not is_whole(trial):
            fresh = self._anew(trial)
            is_final = is_whole(fresh)
            trial = fresh if is_final else trial
        record = record_of(trial, self._identifiers)
        if is_final:
            self._finished[trial.number] = record
            for work, seconds in condense(trial).items():
                self._work[work] = self._work.get(work, 0.0) + seconds
        return record

    def work(self) -> dict[str, float]:
        """Seconds of all finished trials together, by what they were spent on."""
        with self._lock:
            return {work: round(seconds, 4) for work, seconds in self._work.items()}

    def importance(self, trials: Sequence[FrozenTrial]) -> dict[str, float]:
        """Share of the spread that each parameter explains (`importance`); empty where it says nothing."""
        records = self.records(trials)
        paid = [
            (trial, record)
            for trial, record in zip(trials, records, strict=True)
            if record.duplicate_of is None and record.state != "failed" and record.is_scored
        ]
        if not says_something([record for _, record in paid]):
            return {}
        return importance((trial, _value(record)) for trial, record in paid)


def _value(record: TrialRecord) -> float:
    if record.scores is not None:
        return record.scores.mean
    assert record.estimate is not None
    return record.estimate.mean
