"""What is settled before the first trial of a study, and never changes while it is searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from exme.search.merging import Candidate
from exme.search.racing import Racing
from exme.search.study import StudyFile, Value
from exme.search.trials import Objective, WeightSpace, root_of

from .allocation import block_size
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
    """

    study: StudyFile
    plan: Plan
    objective: Objective
    documents: Mapping[str, Sequence[str]]
    dtype: str
    sources: Mapping[str, str]

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
        space, shift = self.plan.proposals, self.objective.shift
        sources = space.first.checkpoints
        root = root_of(sources, None if shift is None else shift.gram)
        return WeightSpace(tuple(sources), space.groups, tuple(space.own), root)

    @property
    def seed(self) -> int:
        """The sampler's."""
        return self.study.sampler.seed

    def within(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """Parameters, moved to where the study's bound on the shift allows them."""
        shift = self.plan.shift
        return dict(parameters) if shift is None else shift.within(parameters, self.plan.proposals)

    def candidate(self, parameters: Mapping[str, Value]) -> Candidate:
        """What parameters make."""
        return self.plan.proposals.candidate(parameters, dtype=self.dtype, sources=self.sources)
