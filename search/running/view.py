"""A search at one moment, as terminals show it: plain values, read from the storage alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from exme.search.proof import Verdict
from exme.search.statistics import Interval
from exme.search.study import BudgetSection, StudyFile, alone, name_alone
from exme.search.trials import (
    Standing,
    TrialRecord,
    best_known,
    best_trial,
    cost,
    difference,
    inputs_of,
    latest,
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
    """

    study: str
    budget: BudgetSection
    inputs: tuple[str, ...]
    trials: tuple[TrialRecord, ...]
    proved: int = 0
    verdict: Verdict | None = None

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
        ]
        return [
            (name, f"{used:,.4g} of {limit:,}" if name == "minutes" else
             f"{used:,} of {limit:,}{' candidates' * (name == 'tried')}",
             min(1.0, used / limit))
            for name, used, limit in limits
            if limit is not None
        ]  # fmt: skip

    @property
    def seconds_left(self) -> float | None:
        """Until the budget is used up, by the time that the last few trials took; None: unknown."""
        recent = [t for t in self.trials if t.seconds and t.duplicate_of is None][-5:]
        trials, documents, minutes = self.used
        each = sum(t.seconds for t in recent)
        left = []
        if self.budget.trials is not None and recent:
            left.append((self.budget.trials - trials) * each / len(recent))
        scored = sum(cost(t) for t in recent)
        if self.budget.documents is not None and scored:
            left.append((self.budget.documents - documents) * each / scored)
        if self.budget.minutes is not None:
            left.append((self.budget.minutes - minutes) * 60)
        return max(0.0, min(left)) if left else None


def _is_same(trial: TrialRecord, standing: Standing) -> bool:
    ours, theirs = trial.candidate, standing.trial.candidate
    return ours is not None and theirs is not None and ours.digest == theirs.digest


def view_of(
    study: StudyFile,
    name: str,
    trials: Sequence[TrialRecord],
    proved: int,
) -> View:
    """The view of a study's trials.

    Args:
        study: its file.
        name: its name.
        trials: all of them.
        proved: how many models have been scored on the report documents.
    """
    inputs = tuple(alone(checkpoint) for checkpoint in study.checkpoints)
    return View(name, study.budget, inputs, tuple(trials), proved)
