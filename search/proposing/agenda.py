"""What is to be tried next: decided from a study's history alone, for whoever's turn it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exme.search.merging.candidate import Candidate
from exme.search.merging.methods.method import KnownPoint
from exme.search.study.space import Value
from exme.search.study.study_file import StudyFile
from exme.search.trials.budget import documents_left, has_room, spent
from exme.search.trials.outcome import FINAL, TrialRecord

from .auto import Bounds, Looks
from .box import Box, Known
from .finalists import FINALISTS, owed
from .plan import Plan
from .sampler import BoundedSampler
from .untried import Untried

NOTHING_LEFT = "nothing is left to try, for every candidate within the bounds has been tried"


@dataclass(frozen=True)
class Given:
    """A proposal that is made already.

    Attributes:
        parameters: by name.
        origin: who made it.
        documents: that it is worth.
    """

    parameters: Mapping[str, Value]
    origin: str
    documents: int


class Agenda:
    """What a study has to do.

    Args:
        study: the study file.
        plan: the study's space, known points and bounds.
        looks: how candidates race, or would.
        dtype: of candidates.
        sources: fingerprints of the base and the checkpoints.
        per_trial: documents that a trial takes without a race.
    """

    def __init__(
        self,
        study: StudyFile,
        plan: Plan,
        looks: Looks,
        *,
        dtype: str,
        sources: Mapping[str, str],
        per_trial: int,
    ) -> None:
        self.study, self.plan, self.looks = study, plan, looks
        self.dtype, self.sources, self.per_trial = dtype, sources, per_trial

    def why_nothing_left(self, trials: Sequence[TrialRecord]) -> str:
        """Why there is nothing to try though there is budget, or the empty string."""
        if any(t.state in ("running", "waiting") for t in trials) or self.due(trials):
            return ""
        is_exhausted = self._is_exhausted(trials, self.plan.bounds(trials)[0])
        return NOTHING_LEFT if is_exhausted else ""

    def next(
        self, trials: Sequence[TrialRecord], bounds: Bounds, over: str
    ) -> tuple[Given | None, bool]:
        """What is to be tried next.

        Args:
            trials: all trials.
            bounds: of now.
            over: why the budget is used up, or empty.
        Returns:
            A proposal that is made already; where there is none, whether a known point or one of the sampler's
            is to be tried.
        """
        if over or not has_room(self.study.budget, trials, self.per_trial):
            return (self.finalist(trials) if self.looks.is_racing and over else None), False
        if self._is_near_end(trials, bounds):
            finalist = self.finalist(trials)
            if finalist is not None:
                return finalist, False
        if self.due(trials) or any(t.state == "waiting" for t in trials):
            return None, True
        if self._is_exhausted(trials, bounds):
            return (self.finalist(trials) if self.looks.is_racing else None), False
        return self._adaptive(trials, bounds), True

    def due(self, trials: Sequence[TrialRecord]) -> list[KnownPoint]:
        """Known points that are to be tried and were not yet."""
        known, due = {t.origin for t in trials}, []
        for point in self.plan.due_points(trials):
            if point.name not in known:
                known.add(point.name)
                due.append(point)
        return due

    def _is_exhausted(self, trials: Sequence[TrialRecord], bounds: Bounds) -> bool:
        """Whether no candidate is left that may be proposed: all are settled, or in others' hands."""
        if self._untried(trials, self.box(bounds)).draw(len(trials)) is not None:
            return False
        if not self.looks.adaptive:
            return True
        lineup, _ = self.looks.lineup(trials, bounds)
        in_hand = {t.candidate.digest for t in trials if t.state == "running" and t.candidate}
        left = [lineup.trials[place].candidate for place in lineup.open_places()]
        return not any(c is not None and c.digest not in in_hand for c in left)

    def box(self, bounds: Bounds) -> Box:
        """All that can be proposed now."""
        return Box(bounds, self.plan.proposals.choices)

    def _untried(self, trials: Sequence[TrialRecord], box: Box) -> Untried:
        return Untried(trials, box, lambda p: self.within(box.nearest(p)), self.candidate)

    def within(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """A proposal within the study's bound on the shift."""
        shift = self.plan.shift
        return dict(parameters) if shift is None else shift.within(parameters, self.plan.proposals)

    def candidate(self, parameters: Mapping[str, Value]) -> Candidate:
        """What a proposal makes."""
        return self.plan.proposals.candidate(parameters, dtype=self.dtype, sources=self.sources)

    def sampler(self, trials: Sequence[TrialRecord], box: Box) -> BoundedSampler:
        """Who proposes where nothing else does."""
        settings = self.study.sampler
        return BoundedSampler(
            self.looks.sampler,
            settings.seed,
            box,
            self.plan.known_count,
            history=self._history(trials) if self.looks.needs_history else None,
            within=None if self.plan.shift is None else self.within,
            untried=self._untried(trials, box),
        )

    def _history(self, trials: Sequence[TrialRecord]) -> list[Known]:
        found = []
        for t in trials:
            if t.candidate is None or t.duplicate_of is not None or t.state == "cut off":
                continue
            values = self.looks.values(t)
            if values is not None or t.state == "running":
                point = self.plan.proposals.of_candidate(t.candidate)
                found.append(Known(point, values))
        return found

    def _adaptive(self, trials: Sequence[TrialRecord], bounds: Bounds) -> Given | None:
        """What `auto` proposes."""
        if not self.looks.adaptive:
            return None
        found = self.looks.propose(trials, bounds, self._untried(trials, self.box(bounds)).has)
        if found is None:
            return None
        parameters, documents = found
        left = documents_left(self.study.budget, trials, self.per_trial)
        return Given(parameters, self.looks.sampler, min(documents, left or documents))

    def _is_near_end(self, trials: Sequence[TrialRecord], bounds: Bounds) -> bool:
        """Whether what is left of the budget is no more than the finalists need."""
        documents = self.study.budget.documents
        if not self.looks.is_racing or documents is None:
            return False
        left = documents - spent(trials)[1]
        if left > FINALISTS * self.per_trial:
            return False
        return left <= owed(self.looks.finalists(trials, bounds))

    def finalist(self, trials: Sequence[TrialRecord]) -> Given | None:
        """A candidate that is to be scored on all documents before the search ends."""
        finals = 0
        for trial in reversed([t for t in trials if t.state not in ("waiting", "cut off")]):
            if trial.origin != FINAL:
                break
            finals += 1
        if finals >= FINALISTS:
            return None
        running = [t.candidate.digest for t in trials if t.state == "running" and t.candidate]
        bounds, _ = self.plan.bounds(trials)
        for trial, documents in self.looks.finalists(trials, bounds):
            assert trial.candidate is not None
            if trial.candidate.digest not in running:
                point = self.plan.proposals.of_candidate(trial.candidate)
                return Given(point, FINAL, documents)
        return None
