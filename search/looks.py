"""Looks: which candidate is looked at next, at how many documents, and what a look leaves behind.

A trial of a racing search is one look: at a new candidate, or at one that was begun and left. How looks are
shared out is told in `allocation`; here they meet the study: its space, its storage, its other workers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .allocation import State, expected_gain, is_left, look_noise, look_spread, next_look, survey
from .candidate import Candidate
from .course import Course, Look
from .domination import Domination
from .field import Field, Racing, Runner, advance, draw, estimates_of, face, race_of, rivals
from .lineup import Lineup, line_up, suite_means
from .objective import Objective
from .outcome import TrialRecord
from .partial import Partial
from .proposer import candidates, knowledge_gradient
from .records import FINAL
from .sampler import trial_seed
from .shift import Shift
from .space import Space, Value
from .strata import Draw, Floats
from .worker import Scorer

Bounds = Mapping[str, tuple[float, float]]
History = tuple[tuple[int, ...], tuple[tuple[str, tuple[float, float]], ...]]

# At a search's end so many candidates that may yet be the best are scored on all documents.
FINALISTS = 3
# Candidates that must be known before it is said what more of them would bring.
ENOUGH = 8


# A point that is moved to the bound on the shift keeps this distance from those tried, in shares of the bounds.
NEAR = 0.005
_MOVED = 3  # a stream of random numbers, beside those of `allocation`


@dataclass(frozen=True)
class Order:
    """A look that is to be made.

    Attributes:
        runner: the candidate, facing the incumbent.
        draw: of its documents.
        partial: its scores so far.
        lineup: those whom it races.
        legs: from which document on it races against which trial; several from one on are a front.
        most: documents to score at most.
        patient: it goes on though it is behind, until the test says that it has lost.
        continues: its last trial.
    """

    runner: Runner
    draw: Draw
    partial: Partial
    lineup: Lineup
    field: Field
    legs: tuple[tuple[int, int], ...]
    most: int
    patient: bool
    continues: int | None = None


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
        return self.sampler == "cmaes" or (self.is_racing and self.sampler in ("gp", "tpe"))

    def values(self, trial: TrialRecord) -> tuple[float, ...] | None:
        """What the sampler is told of a trial, an estimate where it was scored in part; None of nothing.

        Of a Pareto front every suite's mean; CMA-ES has one value, that of the knee.
        """
        several = self.objective.values_per_trial > 1
        if not several or self.sampler == "cmaes":
            value = trial.value
            if trial.estimate is not None and not several:
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
                return self.point(self.space.of_candidate(candidate), bounds)

            self._lineup = history, line_up(trials, field, point), field
        return self._lineup[1:]

    def survey(self, trials: Sequence[TrialRecord], bounds: Bounds) -> State:
        """What they say; at least one must have been looked at."""
        history = _history(trials, bounds)
        if self._state is None or self._state[0] != history:
            lineup, field = self.lineup(trials, bounds)
            self._state = history, survey(lineup.runners, self.racing, field)
        return self._state[1]

    def point(self, proposal: Mapping[str, Value], bounds: Bounds) -> Floats:
        """A proposal's place in [0, 1], shape (d,)."""
        return np.array(
            [
                (float(proposal[n]) - low) / ((high - low) or 1.0)
                for n, (low, high) in bounds.items()
            ]
        )

    def propose(
        self, trials: Sequence[TrialRecord], bounds: Bounds
    ) -> tuple[dict[str, Value], int] | None:
        """The proposal that is worth a look, and the documents it is worth; None where nothing is known."""
        lineup, _ = self.lineup(trials, bounds)
        if not lineup.runners:
            return None
        state = self.survey(trials, bounds)
        busy, pending = self._in_hand(trials, lineup, bounds)
        choice = next_look(
            lineup.runners,
            state,
            self.racing,
            self.seed,
            len(trials),
            self.blocks(bounds),
            pending=pending,
            busy=busy,
        )
        documents = choice.documents
        if choice.begun is not None:
            return self._again(lineup.trials[choice.begun]), documents
        proposal = self.proposal(choice.point, bounds)
        shift = self.objective.shift
        if shift is not None and shift.within(proposal, self.space) != proposal:
            proposal = self._allowed(shift, lineup, state, documents, bounds, len(trials))
        return proposal, documents

    def proposal(self, point: Floats, bounds: Bounds) -> dict[str, Value]:
        """Inverse of `point`."""
        pairs = zip(bounds.items(), point, strict=True)
        return {name: low + float(x) * (high - low) for (name, (low, high)), x in pairs}

    def _allowed(
        self,
        shift: Shift,
        lineup: Lineup,
        state: State,
        documents: int,
        bounds: Bounds,
        looks: int,
    ) -> dict[str, Value]:
        """Where a look is worth most among points within the bound on the shift.

        They are drawn all over and about the best two, and moved to the bound where they are beyond it: to move
        the best of all there would propose one point again and again.
        """
        generator = np.random.default_rng([self.seed, looks, _MOVED])
        free = [i for i, runner in enumerate(lineup.runners) if not runner.barred]
        means = state.surrogate.at(state.surrogate.x[free]).mean
        centres = state.surrogate.x[free][np.argsort(-means)[:2]]
        drawn = candidates(
            centres, len(lineup.runners), len(bounds), generator, self.blocks(bounds)
        )
        found = [shift.within(self.proposal(point, bounds), self.space) for point in drawn]
        points = np.stack([self.point(each, bounds) for each in found])
        noise = look_noise(look_spread(state.estimates, self.count), documents, self.count)
        everywhere = state.surrogate.at(np.concatenate([state.surrogate.x, points]))
        worth = knowledge_gradient(
            everywhere, np.full(len(everywhere.mean), state.surrogate.nugget + noise)
        )[len(state.surrogate.x) :]
        away = np.abs(points[:, None] - state.surrogate.x[None]).max(-1).min(-1)
        return found[int(np.argmax(np.where(away > NEAR, worth, -np.inf)))]

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
        points = [self.point(self.space.of_candidate(c), bounds) for c in running]
        return places, np.array(points).reshape(len(points), len(bounds))

    def outlook(self, trials: Sequence[TrialRecord], bounds: Bounds) -> float | None:
        """By how much another hour is expected to raise the score, at most; None while it cannot be said."""
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
        """Candidates that may be the best and were scored in part, with the documents they lack.

        They are those whose posterior mean is less than a standard deviation below the incumbent, best first;
        where nobody is complete yet, the best one.
        """
        lineup, _ = self.lineup(trials, bounds)
        places = lineup.open_places()
        if not places:
            return []
        state = self.survey(trials, bounds)
        posterior = state.surrogate.at(np.stack([lineup.runners[i].point for i in places]))
        spread = np.sqrt(np.maximum(np.diag(posterior.covariance), 0))
        order = [int(i) for i in np.argsort(-posterior.mean)]
        if state.incumbent is None:
            order = order[:1]
        else:
            # (the posterior is one of merits, less what a shift costs)
            penalty = lineup.runners[state.incumbent].penalty
            top = state.estimates[state.incumbent].mean - penalty
            order = [i for i in order if posterior.mean[i] + spread[i] > top][:FINALISTS]
        chosen = [places[i] for i in order]
        return [(lineup.trials[p], self.count - len(lineup.runners[p].seen)) for p in chosen]

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
            point = self.point(self.space.of_candidate(candidate), bounds)
            drawn = draw(lineup.runners, field, trial_seed(self.seed, number))
            new_one = self.objective.judge(TrialRecord(number, "running", origin, candidate))
            runner = Runner(
                point, drawn.order, np.zeros(0), penalty=new_one.penalty, barred=new_one.barred
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

    def make(
        self, order: Order, candidate: Candidate, worker: Scorer
    ) -> tuple[Look, dict[str, float], dict[str, dict[str, str]]]:
        """Look at a candidate, chunk by chunk, until it has lost, is left, or has had its documents.

        Returns:
            What there is of it then, the wall time by work, and what it answered, by suite and document.
        """
        said: dict[str, dict[str, str]] = {}
        runner, partial = order.runner, order.partial
        seconds: dict[str, float] = {}
        done = 0
        while done < order.most:
            at = len(runner.seen)
            size = min(self.racing.chunk, order.most - done)
            chosen = [int(i) for i in runner.order.documents[at : at + size]]
            scored = worker.look(candidate, chosen)
            for name, value in scored.seconds.items():
                seconds[name] = seconds.get(name, 0.0) + value
            for part in scored.scores.parts:
                answers = scored.answers.get(part.suite, ())
                said.setdefault(part.suite, {}).update(zip(part.documents, answers, strict=False))
            partial = partial.add(scored.scores)
            field = self._safe(order.field, partial)
            runner = advance(runner, partial.values[chosen], self.racing, field)
            done += len(chosen)
            behind = not order.patient and is_left(runner, order.lineup.runners, self.racing, field)
            if runner.stopped or behind:
                break
        others = order.lineup.runners
        (estimate,) = estimates_of([*others, runner], order.field, first=len(others))
        lost_to = order.legs[self._loser_to(runner, order.field)][1] if runner.stopped else None
        course = Course(order.draw, partial, estimate, order.legs, lost_to)
        return Look(course, done, order.continues), seconds, said

    def _loser_to(self, runner: Runner, field: Field) -> int:
        """Number of the leg that a candidate has lost."""
        race = race_of(runner, self.racing, field)
        return race.strongest(runner.seen) if isinstance(race, Domination) else -1

    def _safe(self, field: Field, partial: Partial) -> Field:
        """Without a bound on the metric, once it is seen to have been none."""
        beyond = float(np.nanmax(partial.values)) > field.highest
        return replace(field, highest=math.inf) if beyond else field


def _history(trials: Sequence[TrialRecord], bounds: Bounds) -> History:
    """What tells one history from another: what has ended never changes."""
    ended = tuple(t.number for t in trials if t.is_scored)
    return ended, tuple(bounds.items())


def owed(finalists: Sequence[tuple[TrialRecord, int]]) -> int:
    """Documents that finalists lack."""
    return sum(count for _, count in finalists)


__all__ = ["FINAL", "FINALISTS", "Looks", "Order", "State", "owed"]
