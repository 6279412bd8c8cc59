"""The page's charts as plain values: bars, and the course of the search; `plane_chart` has the plane of coefficients.

Places are shares of the drawing, or units of its viewBox; what they look like is the template's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exme.search.proof import Entry, Outcome
from exme.search.statistics import mean_interval
from exme.search.study import read
from exme.search.trials import (
    Standing,
    TrialRecord,
    Unit,
    cost,
    incumbents,
    standing_by_trial,
    standings,
    unit_of,
)

from .colours import lowest_shown
from .scene import short

# Both drawings: 420 units wide, so that their text is still read on a phone.
WIDTH = 420.0
CURVE_HEIGHT = 230.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 376.0, 12.0, 40.0
# With a title beside the left axis, and nothing on the right.
TITLED_LEFT, TITLED_RIGHT = 60.0, 410.0


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Bar:
    """One model's bar; places in percent of the chart's width."""

    name: str
    text: str
    start: float
    width: float
    low: float
    high: float
    best: bool


@dataclass(frozen=True)
class Chart:
    """Bars of all models on one suite.

    Attributes:
        title: the suite; `metric` what is shown.
        mark: where the best input ends, in percent; `ticks` likewise.
    """

    title: str
    metric: str
    rows: tuple[Bar, ...]
    mark: float
    ticks: tuple[Tick, ...]


def bar_charts(outcome: Outcome) -> list[Chart]:
    """One a suite, merged first; empty before the proof."""
    entries = [*([outcome.merged] if outcome.merged else []), *outcome.inputs]
    if not entries:
        return []
    parts = entries[0].report.parts
    return [_bars(entries, i, part.suite, part.metric) for i, part in enumerate(parts)]


def _bars(entries: Sequence[Entry], position: int, suite: str, metric: str) -> Chart:
    scores = [entry.report.parts[position] for entry in entries]
    unit = Unit(scores)
    # Bars are of the metric's own values: where less is better, the shorter are.
    intervals = [unit.shown(mean_interval(s)) for s in scores]
    ends = [e for i in intervals for e in (i.low, i.high, i.estimate) if math.isfinite(e)]
    floor, top = min(0.0, *ends), max(0.0, *ends)
    steps = round_steps(floor, top)
    floor, top = min(floor, steps[0]), max(top, steps[-1])

    def place(value: float) -> float:
        return round(100 * (min(max(value, floor), top) - floor) / (top - floor or 1.0), 2)

    zero = place(0.0)
    rows = tuple(
        Bar(
            name=short(entry.name, 40),
            text=unit.full(mean_interval(entry.report.parts[position])),
            start=min(zero, place(interval.estimate)),
            width=round(abs(place(interval.estimate) - zero), 2),
            low=place(interval.low),
            high=place(interval.high),
            best=entry.name == "merged",
        )
        for entry, interval in zip(entries, intervals, strict=True)
    )
    best_input = (min if unit.scale.is_turned else max)(
        i.estimate for e, i in zip(entries, intervals, strict=True) if e.name != "merged"
    )
    ticks = tuple(Tick(place(s), unit.tick(unit.scale.turn(s))) for s in steps)
    return Chart(suite, metric, rows, place(best_input), ticks)


def round_steps(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from below `low` to above `high`."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


@dataclass(frozen=True)
class Dot:
    """A trial or an input in a drawing."""

    x: float
    y: float
    words: str
    colour: str = ""
    whole: bool = True  # scored on all documents


@dataclass(frozen=True)
class Curve:
    """What the best candidate so far is worth against the documents spent, and every trial's own score.

    Attributes:
        line: of the best so far, as SVG's points.
        dots: every trial.
        left: scores; `below` documents.
        has_lower: some lie below the drawing, and are shown on its lower edge.
    """

    line: str
    dots: tuple[Dot, ...]
    left: tuple[Tick, ...]
    below: tuple[Tick, ...]
    has_lower: bool


def search_curve(outcome: Outcome) -> Curve | None:
    """The incumbent of each moment by what is known of it in the end; None for fewer than two trials."""
    known = standings(outcome.trials)
    own, steps = standing_by_trial(known, outcome.trials), incumbents(outcome.trials, known)
    steps = [(t, s) for t, s in steps if t.duplicate_of is None]
    if len(steps) < 2:
        return None
    unit = unit_of(known)
    means = [own[t.number].mean for t, _ in steps]
    spent = np.cumsum([cost(t) for t, _ in steps])
    found = steps[-1][1].mean
    # (the best is who was counted highest: of another more may be expected)
    line = [min(s.mean, found) for _, s in steps]
    top = max(found, *means)
    floor = lowest_shown(np.array([*means, *line]))
    floor = floor if floor < top else top - 1e-9
    low, high = floor - 0.04 * (top - floor), top + 0.06 * (top - floor)

    def x(documents: float) -> float:
        return round(
            TITLED_LEFT + (TITLED_RIGHT - TITLED_LEFT) * float(documents) / float(spent[-1] or 1), 1
        )

    def y(score: float) -> float:
        share = (min(max(score, low), high) - low) / (high - low)
        return round(CURVE_HEIGHT - BOTTOM - share * (CURVE_HEIGHT - BOTTOM - TOP), 1)

    points = [f"{x(spent[0])},{y(line[0])}"]
    for documents, before, after in zip(spent[1:], line, line[1:], strict=False):
        points += [f"{x(documents)},{y(before)}", f"{x(documents)},{y(after)}"]
    dots = [
        Dot(x(documents), y(mean), dot_words(t, own[t.number], unit), whole=t.scores is not None)
        for (t, _), documents, mean in zip(steps, spent, means, strict=True)
    ]
    ticks = [s for s in round_steps(low, high, 4) if low <= s <= high]
    return Curve(
        " ".join(points),
        tuple(dots),
        tuple(Tick(y(s), unit.tick(s)) for s in ticks),
        tuple(
            Tick(x(d), f"{d:,.0f}") for d in round_steps(0, float(spent[-1]), 4) if d <= spent[-1]
        ),
        min(means) < low,
    )


def dot_words(trial: TrialRecord, standing: Standing, unit: Unit) -> str:
    told = f"trial {trial.number}, {trial.origin}: {unit.full(standing.interval)}"
    if trial.candidate is None:
        return told
    values = trial.candidate.coefficients
    reading = str(read(values))
    mix = f" ({reading})" if reading else ""
    return f"{told}; {', '.join(f'{n} {c:.3f}' for n, c in values.items())}{mix}"
