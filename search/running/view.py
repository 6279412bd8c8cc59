"""A search at one moment, as terminals show it: plain values, read from the storage alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from exme.search.proof import Verdict
from exme.search.proposing import documents_of, rounds_of
from exme.search.statistics import Interval
from exme.search.storage import StoredStudy
from exme.search.study import BudgetSection, StudyFile, alone, name_alone
from exme.search.trials import (
    Pace,
    Standing,
    Timed,
    TrialRecord,
    best_known,
    best_trial,
    cost,
    difference,
    duration,
    inputs_of,
    latest,
    pace_of,
    recent_of,
    spent,
    standing_of,
    standings,
)


@dataclass(frozen=True)
class View:
    """What is known of a search now.

    Attributes:
        study: name of the study, its suites included.
        budget: when it ends.
        inputs: origins of the trials that are inputs, e.g. ``sums alone``.
        trials: all trials, in order of their numbers.
        proved: models that have been scored on the report documents.
        verdict: to those who read the storage; None in the midst of a search.
        shared: search documents, where `auto` shares them out in rounds that grow; 0 where it does not.
        report: report documents of a model.
        timed: when models were scored on them.
        elapsed: seconds on the clock that the search took so far.
    """

    study: str
    budget: BudgetSection
    inputs: tuple[str, ...]
    trials: tuple[TrialRecord, ...]
    proved: int = 0
    verdict: Verdict | None = None
    shared: int = 0
    report: int = 0
    timed: tuple[Timed, ...] = ()
    elapsed: float = 0.0

    @property
    def to_prove(self) -> int:
        """Models that a proof scores: the base, the checkpoints, and the best where it is none of these."""
        best = best_trial(self.trials)
        return len(self.inputs) + 1 + (best is not None and best.origin not in self.inputs)

    @cached_property
    def standings(self) -> list[Standing]:
        """Candidates by what is known of them now: all but the old ones of a long search."""
        return standings(latest(self.trials))

    @cached_property
    def best(self) -> Standing | None:
        """The incumbent; while no trial is complete, the candidate whose estimate is high for sure."""
        found = best_known(self.trials)
        if found is None or found.candidate is None:
            return None
        return standing_of(self.standings, found.candidate.digest)

    @cached_property
    def best_input(self) -> Standing | None:
        """The input with the highest score so far; None until each has one."""
        inputs = inputs_of(self.standings, self.trials, self.inputs)
        return max(inputs, key=lambda s: (s.mean, -s.trial.number), default=None)

    def name_of(self, standing: Standing) -> str:
        """What people call a candidate: an input by its name, others by the trial."""
        mine = [t.origin for t in self.trials if _is_same(t, standing) and t.origin in self.inputs]
        return name_alone(mine[0]) if mine else f"trial {standing.trial.number}"

    @cached_property
    def gain(self) -> Interval | None:
        """By how much the best scores higher than the best input, with its 95% interval: see `difference`."""
        best, other = self.best, self.best_input
        if best is None or other is None or best is other:
            return None
        return difference(best, other)

    @property
    def proved_gain(self) -> Interval | None:
        """The gain over every input on the report documents, to those who read the verdict."""
        gain = None if self.verdict is None else self.verdict.gain
        if gain is None or gain.difference.approximate:
            return None
        return Interval(gain.estimate, gain.low, gain.high)

    @property
    def used(self) -> tuple[int, int, float]:
        """Trials, documents and minutes used up."""
        return spent(self.trials)

    @property
    def is_over(self) -> bool:
        """Whether the budget is used up."""
        return any(share >= 1 for _, _, share in self.progress)

    @property
    def progress(self) -> list[tuple[str, str, float]]:
        """Each limit of the budget: its name, what is used of it in words, and the share of it."""
        trials, documents, minutes = self.used
        limits = [
            ("tried", trials, self.budget.trials),
            ("documents", documents, self.budget.documents),
            ("minutes", minutes, self.budget.minutes),
            ("hours", self.elapsed / 3600, self.budget.hours),
        ]
        return [
            (name, f"{used:,.4g} of {limit:,}" if name in ("minutes", "hours") else
             f"{used:,} of {limit:,}{' candidates' * (name == 'tried')}",
             min(1.0, used / limit))
            for name, used, limit in limits
            if limit is not None
        ]  # fmt: skip

    @cached_property
    def seconds_left(self) -> float | None:
        """On the clock until the verdict, by what the last trials took of all workers who are at it; None: unknown."""
        pace = pace_of(self.trials, self.timed)
        search = self._seconds_of_search(pace)
        if pace is None or search is None:
            return None
        proof = self.report * max(0, self.to_prove - self.proved) * pace.report
        if self.budget.hours is None:
            return search + proof
        return min(search + proof, max(proof, 3600 * self.budget.hours - self.elapsed))

    def _seconds_of_search(self, pace: Pace | None) -> float | None:
        """On the clock until the budget of the search is used up; None where no limit says."""
        if pace is None:
            return None
        trials, documents, minutes = self.used
        recent = recent_of(self.trials)
        usual = sum(map(cost, recent)) / len(recent)
        left = []
        if self.budget.trials is not None:
            more = self.budget.trials - trials
            ahead = documents_of(more, self.shared, documents) if self.shared else more * usual
            left.append(pace.search(ahead, more))
        if self.budget.documents is not None:
            rest = self.budget.documents - documents
            rounds = rounds_of(rest, self.shared, documents) if self.shared else rest / usual
            left.append(pace.search(rest, rounds))
        if self.budget.minutes is not None:
            left.append((self.budget.minutes - minutes) * 60 / pace.workers)
        if self.budget.hours is not None:
            left.append(3600 * self.budget.hours - self.elapsed)
        return max(0.0, min(left)) if left else None

    @property
    def left(self) -> str:
        """``left 5,104 documents, 3 min 10 s with the proof``; empty where nobody can say."""
        trials, documents, _ = self.used
        seconds = self.seconds_left
        if seconds is None:
            return ""
        parts = []
        if self.budget.trials is not None:
            many = max(0, self.budget.trials - trials)
            parts.append(f"{many} candidate{'s' * (many != 1)}")
        if self.budget.documents is not None:
            parts.append(f"{max(0, self.budget.documents - documents):,} documents")
        return f"left {', '.join([*parts, duration(seconds)])} with the proof"


def _is_same(trial: TrialRecord, standing: Standing) -> bool:
    ours, theirs = trial.candidate, standing.trial.candidate
    return ours is not None and theirs is not None and ours.digest == theirs.digest


def view_of(
    study: StudyFile, name: str, trials: Sequence[TrialRecord], storage: StoredStudy
) -> View:
    """The view of a study's trials.

    Args:
        study: its file.
        name: its name.
        trials: all of them.
        storage: where they are.
    """
    inputs = tuple(alone(checkpoint) for checkpoint in study.checkpoints)
    record = storage.record
    return View(
        name,
        study.budget,
        inputs,
        tuple(trials),
        len(record.proofs()),
        shared=record.count("search") if is_shared_out(study) else 0,
        report=record.count("report"),
        timed=tuple(record.timed()),
        elapsed=storage.on_the_clock(trials),
    )


def is_shared_out(study: StudyFile) -> bool:
    """Whether `auto` decides how many documents a round takes."""
    return study.sampler.name == "auto" and study.racing is not None
