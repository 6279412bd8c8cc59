"""A study's trials as records, each finished one read once, and what they depend on; safe to ask from several threads at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Sequence

import optuna
from optuna.trial import FrozenTrial, create_trial

from exme.search.proposing import History, Settled
from exme.search.study import study_sections
from exme.search.trials import TrialRecord, is_flat

from .records import condense, is_whole, record_of


class KnownTrials:
    """The records of a storage's trials.

    What is read of a finished trial is let go of (`condense`), so that nobody else may be reading it then: all is done
    under one lock. And it must have been read whole, for it is never read again.

    Args:
        identifiers: identifiers of the documents of a suite and split.
        anew: reads a trial from the database itself, whatever a cache still holds of it.
    """

    def __init__(
        self,
        identifiers: Callable[[str, str], Sequence[str]],
        anew: Callable[[FrozenTrial], FrozenTrial],
    ) -> None:
        self._identifiers, self._anew = identifiers, anew
        self._lock = threading.RLock()
        self._finished: dict[int, TrialRecord] = {}
        # Finished trials as they were rated last: ratings seldom change, and copying 2,000 records at every
        # read takes longer than all else.
        self._rated: dict[int, TrialRecord] = {}
        self._history: History | None = None
        self._work: dict[str, float] = {}  # seconds of the finished trials

    def records(self, trials: Sequence[FrozenTrial]) -> list[TrialRecord]:
        """All trials of a study as records, in their order."""
        with self._lock:
            return [self._record(trial) for trial in trials]

    def history(
        self,
        trials: Sequence[FrozenTrial],
        settled: Settled,
        on_the_clock: Callable[[Sequence[TrialRecord]], float] = lambda trials: 0.0,
    ) -> History:
        """All trials of a study, rated by what it maximises; the last one given, where nothing has changed since.

        Args:
            settled: before the first of them.
            on_the_clock: seconds that they took on the clock.
        """
        with self._lock:
            found = [self._rated.get(t.number) or t for t in self.records(trials)]
            rated = settled.objective.rate([settled.placed(t) for t in found])
            self._rated |= {
                new.number: new
                for new, old in zip(rated, found, strict=True)
                if new is not old and new.number in self._finished
            }
            last = self._history
            if last is None or last.settled is not settled or not _are_same(last.trials, rated):
                self._history = last = History(rated, settled, on_the_clock(rated))
            return last

    @property
    def last(self) -> History | None:
        """The history that was given last, whatever the database says now."""
        return self._history

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


def _are_same(before: Sequence[TrialRecord], now: Sequence[TrialRecord]) -> bool:
    """Whether nothing has changed; a trial that has ended is one object, others are read anew each time."""
    return len(before) == len(now) and all(
        a is b or (a.state == b.state in ("running", "waiting") and a == b)
        for a, b in zip(before, now, strict=True)
    )


def _value(record: TrialRecord) -> float:
    if record.scores is not None:
        return record.scores.mean
    assert record.estimate is not None
    return record.estimate.mean


def importance(scored: Iterable[tuple[FrozenTrial, float]]) -> dict[str, float]:
    """Share of the spread between good and other trials that each parameter explains.

    Source: PED-ANOVA, arXiv:2304.10255, as Optuna has it. Empty where it cannot say.

    Args:
        scored: trials with their values. A rejected trial counts with its estimate here, while
            Optuna's evaluators leave out what is not complete.
    """
    # Slow to import: it brings scikit-learn where that is installed.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # noqa: PLC0415

    study = optuna.create_study(direction="maximize")
    for trial, value in scored:
        if trial.params:
            study.add_trial(
                create_trial(params=trial.params, distributions=trial.distributions, value=value)
            )
    try:
        # With too few trials Optuna warns and calls all parameters equal, which nobody has seen.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))
    except (ValueError, RuntimeError, UserWarning):  # too few trials, or all alike
        return {}


def says_something(scored: Sequence[TrialRecord]) -> bool:
    """Whether a parameter's share of the spread would be a finding.

    It is none where all scores are the same, nor where only known points differ: these vary one coefficient at a time, or
    all together, because they were chosen so.

    Args:
        scored: trials of which something is known.
    """
    names = study_sections.SAMPLER_NAMES
    return not is_flat(scored) and not is_flat([t for t in scored if t.origin in names])
