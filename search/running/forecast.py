"""What a search will take, and what is left of it, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exme.search.opening import Weights, describe, peak_memory
from exme.search.proposing import Halving
from exme.search.study import StudyFile
from exme.search.trials import TrialRecord, spent

from .screen import time_left


@dataclass(frozen=True)
class Forecast:
    """Of one study.

    Attributes:
        study: the study.
        weights: its models in memory.
        folder: the run's.
        per_trial: search documents of a complete trial; `per_proof` report documents of a model.
        halving: what is ranked first; None where nothing is.
    """

    study: StudyFile
    weights: Weights
    folder: Path
    per_trial: int
    per_proof: int
    halving: Halving | None = None

    def cost(self, trials: Sequence[TrialRecord], seconds_per_document: float) -> str:
        """The line before a search begins or goes on: memory, disk, documents, time.

        Args:
            trials: so far.
            seconds_per_document: as measured.
        """
        used, documents, _ = spent(trials)
        budget, ranked = self.study.budget, 0
        if self.halving is not None:
            used, ranked = len(self.halving.candidates), self.halving.documents
            documents = ranked
        left = [budget.trials - used] if budget.trials is not None else []
        if budget.documents is not None:
            left.append(max(0, -(-(budget.documents - documents) // self.per_trial)))
        if budget.minutes is not None:
            rest = budget.minutes * 60 / seconds_per_document - ranked
            left.append(max(1, round(rest / self.per_trial)))
        return describe(
            self.study,
            self.weights,
            self.folder,
            search=self.per_trial,
            report=self.per_proof,
            trials=min(left, default=None),
            ranked=ranked,
            seconds_per_document=seconds_per_document,
            reached=peak_memory(),
        )

    def left(self, trials: Sequence[TrialRecord]) -> str:
        """What is left of the budget."""
        used, documents, minutes = spent(trials)
        budget = self.study.budget
        return time_left(
            trials,
            None if budget.trials is None else max(0, budget.trials - used),
            None if budget.minutes is None else budget.minutes - minutes,
            None if budget.documents is None else max(0, budget.documents - documents),
        )
