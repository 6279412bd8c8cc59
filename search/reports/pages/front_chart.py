"""The page's picture of a Pareto front: candidates by their scores on two suites; see `charts`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exme.search.proof import Outcome
from exme.search.racing import distinct_front
from exme.search.trials import (
    Standing,
    TrialRecord,
    Unit,
    complete,
    eligible,
    standing_by_trial,
    standing_of,
    standings,
)

from .charts import BOTTOM, TITLED_LEFT, TITLED_RIGHT, TOP, Dot, Tick, round_steps
from .colours import lowest_shown
from .labels import Place, places_of
from .scene import Array, short

FRONT_HEIGHT = 330.0
_LETTER = 7.1  # width of a bold letter on average, in units of the drawing


@dataclass(frozen=True)
class FrontChart:
    """Scores on two suites, better ones to the right and above.

    Attributes:
        across: a suite; `up` another.
        line: through the front, as SVG's points.
        dots: candidates; `whole` are those on the front.
        marks: the proved candidate first, then the inputs, each with the place of its name.
        below: ticks of `across`; `left` of `up`.
    """

    across: str
    up: str
    line: str
    dots: tuple[Dot, ...]
    marks: tuple[tuple[Dot, Place], ...]
    below: tuple[Tick, ...]
    left: tuple[Tick, ...]


def pareto_front(done: Sequence[TrialRecord], trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those of some complete trials that no other is expected to score at least as well as on every suite and better on one.

    Of trials that are equal on every suite the first stands for all, which is the one nearest to an input in a ranking.

    Args:
        done: the complete trials.
        trials: all of the search, which tell what is expected of each.
    """
    known = standing_by_trial(standings(trials), done)
    points = [tuple(s.estimate for s in known[t.number].scores.values()) for t in done]
    return [done[i] for i in distinct_front(points)]


def front_trials(outcome: Outcome) -> list[TrialRecord]:
    """The front by the search documents, best on the first suite first; none where the goal is another."""
    done = [t for t in eligible(outcome.trials) if t.duplicate_of is None and t.candidate]
    if outcome.aim.kind != "pareto":
        return []
    known = standing_by_trial(standings(outcome.trials), done)
    found = pareto_front(done, outcome.trials)
    return sorted(found, key=lambda t: -next(iter(known[t.number].scores.values())).estimate)


def front_charts(outcome: Outcome) -> list[FrontChart]:
    """The first suite against each other one; none where the goal is not a front."""
    chosen = front_trials(outcome)
    if not chosen:
        return []
    known = standings(outcome.trials)
    first, *others = known[0].scores
    return [_chart(outcome, chosen, known, (first, other)) for other in others]


def _chart(
    outcome: Outcome,
    chosen: Sequence[TrialRecord],
    known: Sequence[Standing],
    suites: tuple[str, str],
) -> FrontChart:
    """By expected scores."""
    done = [t for t in complete(outcome.trials) if t.duplicate_of is None]
    found = standing_by_trial(known, done)
    points = [_scores(found[t.number], suites) for t in done]
    named = _named(outcome, known, suites)
    axes = _Axes.over(np.array([*points, *(at for _, at in named)]))
    best = {t.number for t in chosen}
    dots = [
        Dot(*axes.place(at), _words(trial, found[trial.number], suites), whole=trial.number in best)
        for trial, at in zip(done, points, strict=True)
    ]
    marks = [Dot(*axes.place(at), name) for name, at in named]
    below, left = axes.ticks([known[0].unit_on(suite) for suite in suites])
    return FrontChart(
        across=suites[0],
        up=suites[1],
        line=" ".join(f"{x},{y}" for x, y in sorted((d.x, d.y) for d in dots if d.whole)),
        dots=tuple(dots),
        marks=tuple(zip(marks, _places(marks, dots), strict=True)),
        below=below,
        left=left,
    )


def _scores(standing: Standing, suites: tuple[str, str]) -> tuple[float, float]:
    """Expected scores on two suites."""
    return (standing.scores[suites[0]].estimate, standing.scores[suites[1]].estimate)


@dataclass(frozen=True)
class _Axes:
    """Where two scores lie in the drawing, better ones to the right and above; far worse ones on its edge.

    Attributes:
        low: of both axes, shape (2,); `high` likewise.
    """

    low: Array
    high: Array

    @classmethod
    def over(cls, points: Array) -> _Axes:
        """Around points, shape (n, 2)."""
        low = np.array([lowest_shown(column) for column in points.T])
        room = 0.06 * np.maximum(points.max(axis=0) - low, 1e-9)
        return cls(low - room, points.max(axis=0) + room)

    def place(self, at: Sequence[float] | Array) -> tuple[float, float]:
        x, y = np.clip((np.asarray(at) - self.low) / (self.high - self.low), 0, 1)
        bottom = FRONT_HEIGHT - BOTTOM
        return (
            round(float(TITLED_LEFT + x * (TITLED_RIGHT - TITLED_LEFT)), 1),
            round(float(bottom - y * (bottom - TOP)), 1),
        )

    def ticks(self, units: Sequence[Unit]) -> tuple[tuple[Tick, ...], tuple[Tick, ...]]:
        """Round scores below and to the left."""
        found = []
        for axis, unit in enumerate(units):
            low, high = float(self.low[axis]), float(self.high[axis])
            steps = [s for s in round_steps(low, high, 4) if low <= s <= high]
            places = [self.place((s, s))[axis] for s in steps]
            found.append(tuple(Tick(at, unit.tick(s)) for at, s in zip(places, steps, strict=True)))
        return found[0], found[1]


def _named(
    outcome: Outcome, known: Sequence[Standing], suites: tuple[str, str]
) -> list[tuple[str, tuple[float, float]]]:
    """The candidate that is proved, and the inputs that were scored on all search documents, with their two scores."""
    winner = outcome.winner.candidate if outcome.winner is not None else None
    named = [] if winner is None else [("best", winner)]
    named += [(short(e.name), e.candidate) for e in outcome.inputs if e.candidate != winner]
    found = [(name, standing_of(known, candidate.digest)) for name, candidate in named]
    return [(name, _scores(each, suites)) for name, each in found if each and each.is_complete]


def _places(marks: Sequence[Dot], dots: Sequence[Dot]) -> list[Place]:
    every = np.array([(d.x, d.y) for d in (*marks, *dots)])
    sizes = [(_LETTER * len(d.words) + 4, 14.0) for d in marks]
    frame = (TITLED_LEFT, TOP, TITLED_RIGHT, FRONT_HEIGHT - BOTTOM)
    return places_of([(d.x, d.y) for d in marks], sizes, every, frame, (11, 18, 30, 45, 65))


def _words(trial: TrialRecord, standing: Standing, suites: Sequence[str]) -> str:
    scores = ", ".join(
        f"{suite} {standing.unit_on(suite).score(standing.scores[suite].estimate)}"
        for suite in suites
    )
    assert trial.candidate is not None
    mix = ", ".join(f"{n} {c:.2f}" for n, c in trial.candidate.coefficients.items())
    return f"trial {trial.number}, {trial.origin}: {scores}; {mix}"
