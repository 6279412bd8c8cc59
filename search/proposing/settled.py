"""What is settled before the first trial of a study, and never changes while it is searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from exme.search.merging import Candidate
from exme.search.merging.methods import PLAIN
from exme.search.racing import Racing
from exme.search.study import StudyFile, Value
from exme.search.trials import DROPPED, Objective, TrialRecord, WeightSpace, root_of

from .allocation import block_size
from .box import Box
from .halving import Halving
from .plan import Plan


@dataclass(frozen=True)
class Settled:
    """All that decisions go by beside the trials.

    Attributes:
        study: the study file.
        plan: its space, known points and bounds.
        objective: what is maximised.
        documents: identifiers of the search documents of each suite.
        dtype: of candidates.
        sources: fingerprints of the base and the checkpoints.
        halving: what is ranked, while a training run's checkpoints are; None before and in any other search.
        to_prove: report documents that the proof takes at most, all models together.
    """

    study: StudyFile
    plan: Plan
    objective: Objective
    documents: Mapping[str, Sequence[str]]
    dtype: str
    sources: Mapping[str, str]
    halving: Halving | None = None
    to_prove: int = 0

    @property
    def count(self) -> int:
        """Number of search documents."""
        return sum(self.objective.sizes)

    @property
    def is_racing(self) -> bool:
        """Whether candidates may be rejected before they have had all documents."""
        return self.study.racing is not None

    @cached_property
    def racing(self) -> Racing:
        """How candidates race; without a race all documents are one chunk."""
        section = self.study.racing
        if section is None:
            return Racing(chunk=self.count)
        return Racing(section.error_rate, section.chunk)

    @property
    def sampler(self) -> str:
        """Who proposes: `auto` is `gp` where there is more to choose than numbers, or several things to maximise."""
        several = bool(self.plan.proposals.choices) or self.objective.values_per_trial > 1
        name = self.study.sampler.name
        return "gp" if name == "auto" and several else name

    @property
    def is_adaptive(self) -> bool:
        """Whether `auto` decides how many documents a trial takes; else a candidate runs until it is complete or has lost."""
        return self.sampler == "auto"

    @property
    def first_chunk(self) -> int:
        """Documents that a known point is worth."""
        return block_size(self.count) if self.is_adaptive and self.is_racing else self.count

    @cached_property
    def weight_space(self) -> WeightSpace:
        """Where candidates stand."""
        space = self.plan.proposals
        sources = space.first.checkpoints
        root = root_of(sources, self.objective.measured)
        return WeightSpace(tuple(sources), space.groups, tuple(space.own), root)

    @property
    def seed(self) -> int:
        """The sampler's."""
        return self.study.sampler.seed

    def within(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """Parameters, moved to where the study's bound on the shift allows them."""
        shift = self.plan.shift
        return dict(parameters) if shift is None else shift.within(parameters, self.plan.proposals)

    def placed(self, trial: TrialRecord) -> TrialRecord:
        """A trial of a first stage as the search has it: of an input, by the candidate that the search makes of it.

        One of a checkpoint that was dropped, or that the space cannot express, keeps what it took alone.
        """
        candidate = trial.candidate
        if self.halving is not None or self.study.training_run is None or candidate is None:
            return trial
        if candidate.sources.keys() == self.sources.keys():
            return trial
        names = self.plan.method.checkpoints
        if candidate.coefficients.keys() <= set(names):
            values = {name: candidate.coefficients.get(name, 0.0) for name in names}
            box = Box(
                self.plan.proposals.bounds(*self.study.space.coefficients),
                self.plan.proposals.choices,
            )
            made = self.candidate(box.nearest(self.plan.proposals.to_parameters(values)))
            if made.coefficients == values and made.method in PLAIN:
                return replace(trial, candidate=made)
        state = trial.state if trial.state in ("failed", "cut off") else DROPPED
        return replace(trial, candidate=None, race_log=None, scores=None, state=state)

    def candidate(self, parameters: Mapping[str, Value]) -> Candidate:
        """What parameters make."""
        return self.plan.proposals.candidate(parameters, dtype=self.dtype, sources=self.sources)
