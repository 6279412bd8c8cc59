"""Looks: which candidate is looked at next, at how many documents, and what a look leaves behind.

A trial of a racing search is one look: at a new candidate, or at one that was begun and left. How looks are
shared out is told in `allocation`; here they meet the study: its space, its storage, its other workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from exme.search.merging.candidate import Candidate
from exme.search.racing.field import Field, Racing, Runner, draw, face, rivals
from exme.search.racing.strata import Floats
from exme.search.study.space import Space, Value
from exme.search.trials.lineup import Lineup, line_up, suite_means
from exme.search.trials.objective import Objective
from exme.search.trials.outcome import FINAL, TrialRecord
from exme.search.trials.partial import Partial
from exme.search.trials.ranking import distance

from .allocation import State, expected_gain, look_noise, look_spread, next_look, survey
from .assignment import Order
from .bounded import within_bound
from .box import point_of, proposal_at
from .finalists import finalists
from .proposer import NothingLeft
from .sampler import trial_seed

Bounds = Mapping[str, tuple[float, float]]
History = tuple[tuple[int, ...], tuple[tuple[str, tuple[float, float]], ...]]

# Candidates that must be known before it is said what more of them would bring.
ENOUGH = 8


_MOVED = 3  # a stream of random numbers, beside those of `allocation`


class Looks:
    """The looks of one study.

    Args:
        space: what is proposed.
        objective: what is maximised.
        documents: identifiers of the search documents of each suite.
        racing: how candidates race; None where each is scored on all documents at once.
        sampler: of the study.
        seed: the sampler's.

    Attributes:
        sampler: the one that proposes: `auto` is `gp` where there is more to choose than numbers.
        adaptive: it decides how long looks are; else every candidate runs until it is complete or has lost.
    """

    def __init__(
        self,
        space: Space,
        objective: Objective,
        documents: Mapping[str, Sequence[str]],
        racing: Racing | None,
        sampler: str,
        seed: int,
    ) -> None:
        self.space, self.objective, self.documents = space, objective, documents
        self.count = sum(objective.sizes)
        self.is_racing = racing is not None
        self.racing = racing or Racing(chunk=self.count)
        several = bool(space.choices) or objective.values_per_trial > 1
        self.sampler = "gp" if sampler == "auto" and several else sampler
        self.adaptive, self.seed = self.sampler == "auto", seed
        # What is known of the latest history: a look asks several times.
        self._lineup: tuple[History, Lineup, Field] | None = None
        self._state: tuple[History, State] | None = None

    @property
    def first(self) -> int:
        """Documents that a known point is worth."""
        return self.racing.chunk if self.adaptive else self.count

    @property
    def needs_history(self) -> bool:
        """Whether the sampler is told of estimates by us, not by Optuna."""
        return self.is_racing and self.sampler in ("gp", "tpe")

    def values(self, trial: TrialRecord) -> tuple[float, ...] | None:
        """What the sampler is told of a trial, an estimate where it was scored in part; None of nothing.

        Of a Pareto front every suite's mean.
        """
        several = self.objective.values_per_trial > 1
        if not several:
            value = trial.value
            if trial.estimate is not None:
                value = trial.estimate.mean - trial.penalty
            return None if value is None else (value,)
        if trial.scores is not None:
            return tuple(part.mean for part in trial.scores.parts)
        return None if trial.course is None else suite_means(trial.course, self.objective.sizes)

    def lineup(self, trials: Sequence[TrialRecord], bounds: Bounds) -> tuple[Lineup, Field]:
        """The candidates so far, within the bounds of now."""
        history = _history(trials, bounds)
        if self._lineup is None or self._lineup[0] != history:
            field = self.objective.field(trials)

            def point(candidate: Candidate) -> Floats:
                return point_of(self.space.of_candidate(candidate), bounds)

            self._lineup = history, line_up(trials, field, point), field
        return self._lineup[1:]

    def survey(self, trials: Sequence[TrialRecord], bounds: Bounds) -> State:
        """What they say; at least one must have been looked at."""
        history = _history(trials, bounds)
        if self._state is None or self._state[0] != history:
            lineup, field = self.lineup(trials, bounds)
            self._state = history, survey(lineup.runners, self.racing, field)
        return self._state[1]

    def propose(
        self,
        trials: Sequence[TrialRecord],
        bounds: Bounds,
        is_new: Callable[[Mapping[str, Value]], bool] = lambda proposal: True,
    ) -> tuple[dict[str, Value], int] | None:
        """The proposal that is worth a look, and the documents it is worth.

        Args:
            trials: all trials.
            bounds: of now.
            is_new: whether a proposal may be made: what is settled is none (`Untried`).
        Returns:
            None where nothing is known yet, or no point was found that may be looked at.
        """
        lineup, _ = self.lineup(trials, bounds)
        if not lineup.runners:
            return None
        state = self.survey(trials, bounds)
        busy, pending = self._in_hand(trials, lineup, bounds)
        try:
            choice = next_look(
                lineup.runners,
                state,
                self.racing,
                self.seed,
                len(trials),
                self.blocks(bounds),
                pending=pending,
                busy=busy,
                is_new=lambda point: is_new(proposal_at(point, bounds)),
            )
        except NothingLeft:
            return None
        documents = choice.documents
        if choice.begun is not None:
            return self._again(lineup.trials[choice.begun]), documents
        proposal = proposal_at(choice.point, bounds)
        shift = self.objective.shift
        if shift is not None and shift.within(proposal, self.space) != proposal:
            found = within_bound(
                shift,
                self.space,
                lineup,
                state,
                look_noise(look_spread(state.estimates, self.count), documents, self.count),
                bounds,
                np.random.default_rng([self.seed, len(trials), _MOVED]),
                self.blocks(bounds),
                is_new,
            )
            return None if found is None else (found, documents)
        return proposal, documents

    def blocks(self, bounds: Bounds) -> list[list[int]]:
        """Parameters that belong together: a checkpoint's coefficients in all groups."""
        names = list(bounds)
        if not self.space.groups:
            return []
        groups, inner = len(self.space.groups), len(self.space.first.parameters())
        found = [[g * inner + i for g in range(groups)] for i in range(inner)]
        return found + [[i] for i in range(groups * inner, len(names))]

    def _again(self, trial: TrialRecord) -> dict[str, Value]:
        assert trial.candidate is not None
        return self.space.of_candidate(trial.candidate)

    def _in_hand(
        self, trials: Sequence[TrialRecord], lineup: Lineup, bounds: Bounds
    ) -> tuple[set[int], Floats]:
        """Places of the runners that others are looking at, and the points of all that they have in hand."""
        running = [t.candidate for t in trials if t.state == "running" and t.candidate]
        places = {p for c in running if (p := lineup.place_of(c)) is not None}
        points = [point_of(self.space.of_candidate(c), bounds) for c in running]
        return places, np.array(points).reshape(len(points), len(bounds))

    def outlook(self, trials: Sequence[TrialRecord], bounds: Bounds) -> float | None:
        """By how much another hour is expected to raise the score; None while it cannot be said."""
        ended = [t for t in trials if t.documents and t.duplicate_of is None and t.seconds]
        lineup, _ = self.lineup(trials, bounds)
        if len(lineup.runners) < ENOUGH or not ended:
            return None
        pace = 3600 * sum(t.documents for t in ended) / sum(t.seconds for t in ended)
        state = self.survey(trials, bounds)
        documents = min(2 * self.racing.chunk, self.count)
        noise = look_noise(look_spread(state.estimates, self.count), documents, self.count)
        return expected_gain(state, pace / documents, noise, self.seed)

    # The end of a search --------------------------------------------------------------------------

    def finalists(
        self, trials: Sequence[TrialRecord], bounds: Bounds
    ) -> list[tuple[TrialRecord, int]]:
        """Candidates that may be the best and were scored in part, with the documents they lack; see `finalists`."""
        lineup, _ = self.lineup(trials, bounds)
        if not lineup.open_places():
            return []
        return finalists(lineup, self.survey(trials, bounds), self.count)

    # One look -------------------------------------------------------------------------------------

    def begin(
        self,
        candidate: Candidate,
        origin: str,
        number: int,
        trials: Sequence[TrialRecord],
        bounds: Bounds,
        documents: int | None = None,
    ) -> Order:
        """What is to be done about a candidate.

        Args:
            candidate: to look at.
            origin: of its trial; `number` the trial's.
            number: decides the order of a new candidate's documents.
            trials: all trials.
            bounds: of now.
            documents: to score at most; by default what a known point is worth.
        """
        lineup, field = self.lineup(trials, bounds)
        place = lineup.place_of(candidate)
        legs: tuple[tuple[int, int], ...] = ()
        if place is None:
            point = point_of(self.space.of_candidate(candidate), bounds)
            drawn = draw(lineup.runners, field, trial_seed(self.seed, number))
            new_one = self.objective.judge(TrialRecord(number, "running", origin, candidate))
            runner = Runner(
                point,
                drawn.order,
                np.zeros(0),
                penalty=new_one.penalty,
                barred=new_one.barred,
                distance=distance(new_one),
            )
            partial, before = Partial.blank(self.documents), None
        else:
            last = lineup.trials[place]
            assert last.course is not None
            runner, drawn, partial = lineup.runners[place], last.course.draw, last.course.partial
            legs, before = last.course.legs, last.number
        if documents is None:
            documents = self.count if origin == FINAL else self.first
        whole = self.objective.is_reference(origin)
        if not whole:
            found = rivals(runner, lineup.runners, field)
            new = [(len(runner.seen), lineup.trials[place].number) for place in found]
            legs, runner = (*legs, *new), face(runner, lineup.runners, field)
        left = self.count - len(runner.seen)
        patient = whole or origin == FINAL or not self.adaptive
        most = left if whole else min(left, documents)
        return Order(runner, drawn, partial, lineup, field, legs, most, patient, before)


def _history(trials: Sequence[TrialRecord], bounds: Bounds) -> History:
    """What tells one history from another: what has ended never changes."""
    ended = tuple(t.number for t in trials if t.is_scored)
    return ended, tuple(bounds.items())
