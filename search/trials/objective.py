"""What a study's search maximises, and by how much its candidates gain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from exme.evaluators import HIGHER, Scale, Scores
from exme.search.racing import Field, Goal, knee

from .believed import believe
from .ranking import is_flat
from .shift import Gram, Shift
from .trial import TrialRecord
from .weight_space import space_of

# What Optuna calls the direction of a value.
Way = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Objective:
    """The goal of a study, and what of its history that needs.

    Attributes:
        suites: searched on, in order.
        sizes: search documents of each.
        inputs: origins of the trials that are inputs, e.g. ``sums alone``.
        goal: without its reference.
        highest: highest score that a document can have.
        gram: inner products of the checkpoints' task vectors, where they were measured.
        shift: from a parent, where the study bounds it or takes something off for it, and it can be measured.
        scales: of the metrics, by suite; those that are left out are better when higher.
    """

    suites: tuple[str, ...]
    sizes: tuple[int, ...]
    inputs: tuple[str, ...]
    goal: Goal
    highest: float = 1.0
    shift: Shift | None = None
    scales: Mapping[str, Scale] = field(default_factory=dict)
    gram: Gram | None = None

    @property
    def measured(self) -> Gram | None:
        """Inner products of the task vectors; None where they were not measured, and are taken as usual ones."""
        return self.gram if self.shift is None else self.shift.gram

    @property
    def directions(self) -> tuple[Way, ...]:
        """Of each value that Optuna holds of a trial: several for a Pareto front.

        Optuna holds of one suite what lm-eval would say, of the mean of several their scores' (`as_told`).
        """
        if self.goal.kind != "pareto" and len(self.suites) > 1:
            return ("maximize",)
        turned = [self.scales.get(suite, HIGHER).is_turned for suite in self.suites]
        return tuple("minimize" if lower else "maximize" for lower in turned)

    @property
    def values_per_trial(self) -> int:
        """How many values Optuna holds of a trial."""
        return len(self.directions)

    @property
    def names(self) -> tuple[str, ...]:
        """What people call the values that Optuna holds of a trial."""
        if self.goal.kind == "pareto":
            return self.suites
        if len(self.suites) > 1:
            return (f"{self.goal.kind} of {', '.join(self.suites)}",)
        return (f"score on {self.suites[0]}",)

    def goal_of(self, trials: Sequence[TrialRecord]) -> Goal:
        """The goal, against the inputs scored so far."""
        means = [
            [part.mean for part in t.scores.parts]
            for t in trials
            if t.origin in self.inputs and t.scores is not None
        ]
        return self.goal.against(means) if means else self.goal

    def field(self, trials: Sequence[TrialRecord]) -> Field:
        """What candidates race over."""
        goal = self.goal_of(trials)
        beyond = any(max(t.scores.values) > self.highest for t in trials if t.scores is not None)
        return Field(self.sizes, goal, math.inf if beyond else self.highest)

    def is_reference(self, origin: str) -> bool:
        """Whether a trial is scored on all documents in any case, for gains are over it."""
        several = len(self.suites) > 1
        return (several or self.goal.needs_reference) and origin in self.inputs

    def told(
        self, scores: Scores, trials: Sequence[TrialRecord], penalty: float = 0.0
    ) -> list[float]:
        """The values of a complete trial, as known now, less its penalty.

        An input is the reference itself: until all inputs have been scored, gains are over those that were.
        """
        means = [part.mean for part in scores.parts]
        if self.goal.kind == "pareto":
            return means
        goal = self.goal_of(trials)
        return [(goal if goal.reference else goal.against([means])).value(means) - penalty]

    def judge(self, trial: TrialRecord) -> TrialRecord:
        """A trial with its shift, where the study asks for it."""
        return trial if self.shift is None else self.shift.judge(trial)

    def rate(self, trials: list[TrialRecord]) -> list[TrialRecord]:
        """Trials with their values and whether they are feasible."""
        if self.shift is not None:
            trials = [self.judge(trial) for trial in trials]
        # Where no reference is needed a value stays what it is: rating 2,000 anew takes longer than a proposal.
        is_final = not self.goal.needs_reference
        done = [
            (i, [part.mean for part in t.scores.parts])
            for i, t in enumerate(trials)
            if t.scores is not None and not (is_final and t.value is not None)
        ]
        if done:
            trials = self._valued(trials, done)
        return self._believed(trials)

    def _valued(
        self, trials: list[TrialRecord], done: Sequence[tuple[int, list[float]]]
    ) -> list[TrialRecord]:
        """Trials with the values of some complete ones, by their suites' means."""
        goal = self.goal_of(trials)
        if goal.kind == "pareto":
            values = knee([means for _, means in done])
        else:
            values = [goal.value(means) for _, means in done]
        rated = list(trials)
        for (i, means), value in zip(done, values, strict=True):
            value -= rated[i].penalty
            feasible = goal.shortfall(means) == 0 and not rated[i].barred
            if (rated[i].value, rated[i].feasible) != (value, feasible):
                rated[i] = replace(rated[i], value=value, feasible=feasible)
        return rated

    def _believed(self, trials: list[TrialRecord]) -> list[TrialRecord]:
        """Trials with what is believed of their candidates; by that all are alike where nothing tells them apart."""
        scored = [t for t in trials if t.is_scored and t.candidate is not None]
        if not scored:
            return trials
        space = space_of([t.candidate for t in scored if t.candidate], self.measured)
        found = believe(trials, space)
        if found is None:
            return trials
        goal, numbers = self.goal_of(trials), found.of
        flat = np.zeros(found.means.shape[1]).tolist() if is_flat(scored) else None
        rated = list(trials)
        for i, trial in enumerate(trials):
            if trial.candidate is None or not trial.is_scored:
                continue
            means = found.means[numbers[trial.candidate.digest]].tolist()
            belief, feasible = None, trial.feasible
            if self.values_per_trial == 1:
                belief = goal.merit(flat or means) - trial.penalty
                if trial.scores is None:
                    feasible = goal.shortfall(flat or means) == 0 and not trial.barred
            now = (tuple(means), belief, feasible)
            if (trial.means, trial.belief, trial.feasible) != now:
                rated[i] = replace(trial, means=now[0], belief=belief, feasible=feasible)
        return rated
