"""A search at one moment, as terminals show it: plain values, read from the storage alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .outcome import TrialRecord
from .plan import best_trial, complete, cost, spent
from .statistics import PairedComparison, compare
from .study_file import StudyFile
from .study_sections import BudgetSection


@dataclass(frozen=True)
class View:
    """What is known of a search now.

    Attributes:
        study: name of the study, its suites included.
        budget: when it ends.
        inputs: origins of the trials that are inputs, e.g. ``sums alone``.
        trials: all trials, in order of their numbers.
        proved: models that have been scored on the report documents; `to_prove` in all.
        outlook: by how much another hour is expected to raise the score, at most, in the metric's unit; None
            where it is not known, and to those who only read the storage.
    """

    study: str
    budget: BudgetSection
    inputs: tuple[str, ...]
    trials: tuple[TrialRecord, ...]
    proved: int = 0
    to_prove: int = 0
    outlook: float | None = None

    @property
    def best(self) -> TrialRecord | None:
        """The incumbent."""
        return best_trial(self.trials)

    @property
    def best_input(self) -> TrialRecord | None:
        """The input with the highest score so far; None until each has one."""
        found = [t for t in complete(self.trials) if t.origin in self.inputs]
        return best_trial(found) if len({t.origin for t in found}) == len(self.inputs) else None

    @property
    def gain(self) -> PairedComparison | None:
        """The incumbent against the best input, on the search documents.

        It flatters the incumbent, which was chosen on these documents.
        """
        best, other = self.best, self.best_input
        if best is None or other is None or best.scores is None or other.scores is None:
            return None
        return None if best.number == other.number else compare(best.scores, other.scores)

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
            ("trials", trials, self.budget.trials),
            ("documents", documents, self.budget.documents),
            ("minutes", minutes, self.budget.minutes),
        ]
        return [
            (name, f"{used:,.4g} of {limit:,}" if name == "minutes" else f"{used:,} of {limit:,}",
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


def view_of(
    study: StudyFile,
    name: str,
    trials: Sequence[TrialRecord],
    proved: int,
    outlook: float | None = None,
) -> View:
    """The view of a study's trials.

    Args:
        study: its file.
        name: its name.
        trials: all of them.
        proved: how many models have been scored on the report documents.
        outlook: see `View`.
    """
    inputs = tuple(f"{checkpoint} alone" for checkpoint in study.checkpoints)
    return View(name, study.budget, inputs, tuple(trials), proved, len(inputs) + 2, outlook)
