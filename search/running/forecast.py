"""What a search will take, and what is left of it, in words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exme.search.opening import Costs, Weights, describe, models_to_prove, peak_memory
from exme.search.proposing import Halving, documents_of, rounds_of
from exme.search.study import StudyFile
from exme.search.trials import Pace, Timed, TrialRecord, pace_of, spent

# What a document costs where its answer is drafted from those of earlier candidates, over one that is new: 0.22 (quiet cores)
# and 0.34 (busy ones) were measured on gsm8k's mini form, and fewer answers are alike where models are not.
DRAFTED = 0.37
# What lies between two rounds (choosing, writing down, telling), in times `unit_of_work`: 0.6 on quiet cores, 2 to 3 on busy ones.
BETWEEN = 1.4


@dataclass(frozen=True)
class Probe:
    """What was measured before the first trial.

    Attributes:
        document: seconds of one document that is new, by one worker.
        drafted: share of these that goes to answers which will be drafted from earlier ones.
        unit: seconds of `unit_of_work`.
    """

    document: float
    drafted: float
    unit: float


@dataclass(frozen=True)
class Forecast:
    """Of one study.

    Attributes:
        study: the study.
        weights: its models in memory.
        folder: the run's.
        per_trial: search documents of a complete trial; `per_proof` report documents of a model.
        is_adaptive: `auto` decides how many documents a round takes.
        also: documents of suites that are not searched on, which two models are scored on after the proof.
        whole: inputs that are scored on all search documents before it does.
        halving: what is ranked first; None where nothing is.
        workers: at work beside each other here.
    """

    study: StudyFile
    weights: Weights
    folder: Path
    per_trial: int
    per_proof: int
    is_adaptive: bool = True
    whole: int = 0
    halving: Halving | None = None
    workers: int = 1
    also: int = 0

    def costs(
        self,
        trials: Sequence[TrialRecord],
        probe: Probe,
        elapsed: float = 0.0,
        proofs: Sequence[Timed] = (),
    ) -> Costs:
        """Documents and seconds that are ahead.

        Args:
            trials: so far; what they took is believed before what was probed.
            probe: of this machine.
            elapsed: seconds on the clock that the search took so far.
            proofs: models that were scored on the report documents.
        """
        pace = pace_of(trials, proofs) or self._probed(probe)
        ranked = self.halving.documents if self.halving is not None else 0
        proof = self.per_proof * max(0, models_to_prove(self.study) - len(proofs))
        also = 2 * self.also
        proving = (proof + also) * pace.report
        search = self._documents(trials, pace)
        seconds = None
        if search is not None:
            rounds = self.rounds(search, spent(trials)[1])
            seconds = pace.search(ranked + search, rounds)
        if self.study.budget.hours is not None:
            rest = max(0.0, 3600 * self.study.budget.hours - elapsed - proving)
            seconds = rest if seconds is None else min(seconds, rest)
        limit = self.study.budget.trials
        candidates = None if limit is None else max(0, limit - spent(trials)[0])
        return Costs(search, ranked, proof, seconds, proving, candidates, also)

    def _probed(self, probe: Probe) -> Pace:
        """Before the first trial.

        The first model of a proof has new documents, the others drafts. Workers share the processor's cores, which the proof then has for itself; a GPU it has alone either way.
        """
        later = 1 - probe.drafted * (1 - DRAFTED)
        models = models_to_prove(self.study)
        report = probe.document * (1 + (models - 1) * later) / models / self.workers
        return Pace(probe.document * later, BETWEEN * probe.unit, self.workers, report)

    def rounds(self, documents: int, spent: int) -> float:
        """About so many rounds share out so many documents, where so many were spent before."""
        if self.is_adaptive:
            return rounds_of(documents, self.per_trial, spent)
        return documents / self.per_trial

    def _documents(self, trials: Sequence[TrialRecord], pace: Pace) -> int | None:
        """Search documents that are ahead, at most; None where no limit says."""
        budget, (used, documents, minutes) = self.study.budget, spent(trials)
        left: list[float] = []
        if budget.trials is not None:
            left.append(self._documents_of(max(0, budget.trials - used), documents))
        if budget.documents is not None:
            left.append(budget.documents - documents)
        if budget.minutes is not None and pace.document:
            left.append(60 * (budget.minutes - minutes) / pace.document)
        return max(0, round(min(left))) if left else None

    def _documents_of(self, candidates: int, spent: int) -> int:
        """Search documents that so many more candidates are scored on, where so many were scored before."""
        most = candidates * self.per_trial
        if not self.is_adaptive:
            return most
        whole = 0 if spent else min(self.whole, candidates)
        begun = whole * self.per_trial
        more = documents_of(candidates - whole, self.per_trial, spent + begun)
        return min(most, begun + more)

    def line(self, costs: Costs) -> str:
        """The line before a search begins or goes on: memory, disk, documents, time."""
        return describe(
            self.study,
            self.weights,
            self.folder,
            costs,
            self.per_proof,
            peak_memory(),
            self.workers,
        )


def unit_of_work() -> float:
    """Seconds of a fixed piece of work of one thread, now and on this machine."""
    start = time.perf_counter()
    total = 0
    for number in range(6_000_000):
        total += number % 7
    return time.perf_counter() - start
