"""A study's history: the one thing that decisions go by. It is never changed; the next trial makes a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from exme.search.merging import Candidate
from exme.search.merging.methods import KnownPoint
from exme.search.racing import Field, Floats
from exme.search.study import Bounds
from exme.search.trials import (
    Believed,
    Lineup,
    TrialRecord,
    believe,
    line_up,
    pace_of,
    suite_means,
)

from .box import Box, Known, point_of
from .settled import Settled
from .untried import Untried

# What is set aside of a budget of hours for the proof, in times what it is expected to take: prompts are built and answers are
# new to all models.
MARGIN = 1.5


@dataclass(frozen=True)
class History:
    """All trials of a study, and what follows from them.

    Attributes:
        trials: in order of their numbers, rated by the study's objective.
        settled: before the first of them.
        elapsed: seconds on the clock when the last of them was begun or ended; 0 where no budget goes by them.
    """

    trials: Sequence[TrialRecord]
    settled: Settled
    elapsed: float = 0.0

    @property
    def bounds(self) -> Bounds:
        """Bounds of each parameter."""
        return self.settled.plan.bounds

    @cached_property
    def box(self) -> Box:
        """All that can be proposed."""
        return Box(self.bounds, self.settled.plan.proposals.choices)

    @cached_property
    def untried(self) -> Untried:
        """What may be proposed, for its candidate is not settled."""
        settled, box = (
            self.settled,
            self.box,
        )  # (not `self`: a history that is not needed any more is let go of at once)
        return Untried(
            self.trials, box, lambda p: settled.within(box.nearest(p)), settled.candidate
        )

    @cached_property
    def documents_in_time(self) -> int | None:
        """Search documents that one worker has time for before the proof has to begin.

        None where the study has no budget of hours, or nothing was scored yet that says how fast it goes.
        """
        hours = self.settled.study.budget.hours
        pace = None if hours is None else pace_of(self.trials)
        if hours is None or pace is None or pace.document <= 0:
            return None
        left = 3600 * hours - self.elapsed - MARGIN * self.settled.to_prove * pace.report
        return max(0, int((left - pace.between) / pace.document))

    @cached_property
    def field(self) -> Field:
        """What candidates race over."""
        return self.settled.objective.field(self.trials)

    @cached_property
    def lineup(self) -> Lineup:
        """The candidates so far, within the bounds."""
        return line_up(self.trials, self.field, self.point)

    @cached_property
    def believed(self) -> Believed | None:
        """What is believed of the candidates; None before the first was scored."""
        return believe(self.trials, self.settled.weight_space)

    @cached_property
    def running(self) -> list[Candidate]:
        """Candidates of running trials."""
        return [t.candidate for t in self.trials if t.state == "running" and t.candidate]

    @cached_property
    def is_waiting(self) -> bool:
        """Whether a trial that was cut off waits to be taken up again."""
        return any(t.state == "waiting" for t in self.trials)

    @cached_property
    def due(self) -> list[KnownPoint]:
        """Known points that are to be tried and were not yet."""
        known, due = {t.origin for t in self.trials}, []
        for point in self.settled.plan.due_points(self.trials):
            if point.name not in known:
                known.add(point.name)
                due.append(point)
        return due

    def point(self, candidate: Candidate) -> Floats:
        """A candidate's place in [0, 1] within the bounds, shape (d,); none in a first stage, which draws no points."""
        if self.settled.halving is not None:
            return np.zeros(0)
        return point_of(self.settled.plan.proposals.of_candidate(candidate), self.bounds)

    def known(self) -> list[Known]:
        """The trials as Optuna's samplers see them, with estimates where candidates were scored in part."""
        found = []
        for t in self.trials:
            if t.candidate is None or t.duplicate_of is not None or t.state == "cut off":
                continue
            values = self.values(t)
            if values is not None or t.state == "running":
                found.append(Known(self.settled.plan.proposals.of_candidate(t.candidate), values))
        return found

    def values(self, trial: TrialRecord) -> tuple[float, ...] | None:
        """What is maximised of a trial, an estimate where it was scored in part; None of nothing.

        Of a Pareto front every suite's mean.
        """
        objective = self.settled.objective
        if objective.values_per_trial == 1:
            value = trial.value
            if trial.estimate is not None:
                value = trial.estimate.mean - trial.penalty
            return None if value is None else (value,)
        if trial.scores is not None:
            return tuple(part.mean for part in trial.scores.parts)
        return None if trial.race_log is None else suite_means(trial.race_log, objective.sizes)
