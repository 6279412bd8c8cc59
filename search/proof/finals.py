"""How the entries of a proof stand by the goal that the study set: whom it would take, and what is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exme.evaluators import HIGHER, Scale, Scores
from exme.search.racing import Goal
from exme.search.statistics import Interval

from .gain import gain_on_suite

if TYPE_CHECKING:
    from .outcome import Entry, Outcome

# Sums of scores over suites may differ in their last digits where scores are equal.
_DIGITS = 12


@dataclass(frozen=True)
class Kept:
    """A suite that the study's `keep` is about, on the report documents.

    Attributes:
        suite: its name; `over` the best input there.
        least: gain that is allowed at least, in the scores' own unit.
        gain: of the winner over the best input there, with its interval.
        level: one-sided, of each end of the interval.
        in_points: both are shares, which people read as points.
        approximate: the scores have no bounds, and the interval is Student's.
        scale: of the metric.
    """

    suite: str
    over: str
    least: float
    gain: Interval
    level: float = 0.025
    in_points: bool = True
    approximate: bool = False
    scale: Scale = HIGHER

    @property
    def holds(self) -> bool:
        """Whether it gains as much as it must, by the estimate."""
        return self.gain.estimate >= self.least - 1e-12

    @property
    def is_sure(self) -> bool:
        """Whether the interval says the same."""
        if self.approximate:
            return False
        return self.gain.low >= self.least if self.holds else self.gain.high < self.least


@dataclass(frozen=True)
class Finals:
    """The entries of a proof, by the study's goal, on the report documents.

    Attributes:
        aim: the goal against the best inputs there.
        values: what the goal gives each entry, by name.
        shortfalls: by how much each fails what `keep` allows.
        kept: the winner on the suites that `keep` names.
    """

    aim: Goal
    values: dict[str, float]
    shortfalls: dict[str, float]
    kept: tuple[Kept, ...] = ()

    def best(self, *names: str) -> str:
        """The one of these that the goal would take; the earliest of equals."""

        def rank(name: str) -> tuple[bool, float]:
            lost = self.shortfalls[name]
            return lost == 0, round(self.values[name] if lost == 0 else -lost, _DIGITS)

        return max(names, key=rank)


def finals(outcome: Outcome) -> Finals:
    """How entries stand; at least one input must have been scored on the report documents."""
    entries = [*outcome.inputs, *([outcome.merged] if outcome.merged else [])]
    inputs = [_means(entry.report) for entry in outcome.inputs]
    aim, count = outcome.aim, len(inputs[0])
    if len(aim.weights) != count:
        aim = Goal((1 / count,) * count)
    aim = aim.against(inputs)
    # (a bound in the unit of the proxy that the search went by is one on the proxy)
    proxies = {e.name: e.proxy for e in entries if e.proxy is not None}
    scores: dict[str, Scores] = {e.name: e.report for e in entries}
    scores = dict(proxies) if len(proxies) == len(entries) else scores
    keeper = aim.against([_means(scores[e.name]) for e in outcome.inputs])
    return Finals(
        aim,
        {entry.name: aim.value(_means(entry.report)) for entry in entries},
        {name: keeper.shortfall(_means(found)) for name, found in scores.items()},
        _kept(outcome, scores, keeper),
    )


def best_input(outcome: Outcome) -> Entry:
    """The input that the goal would take, by its scores on the report documents."""
    found = finals(outcome).best(*(entry.name for entry in outcome.inputs))
    return next(entry for entry in outcome.inputs if entry.name == found)


def _kept(outcome: Outcome, scores: dict[str, Scores], keeper: Goal) -> tuple[Kept, ...]:
    if outcome.merged is None or not keeper.keep:
        return ()
    found = []
    inputs = [(e.name, scores[e.name]) for e in outcome.inputs]
    level = outcome.level
    for s, least in enumerate(keeper.keep):
        if least == -math.inf:
            continue
        gain = gain_on_suite(scores["merged"], inputs, s, level)
        ends = gain.approximate or (gain.low, gain.high)
        found.append(
            Kept(
                gain.suites[0], gain.over[0], least, Interval(gain.estimate, *ends), level,
                outcome.merged.proxy is None, gain.approximate is not None,
                scores["merged"].parts[s].scale,
            )
        )  # fmt: skip
    return tuple(found)


def _means(scores: Scores) -> list[float]:
    return [part.mean for part in scores.parts]
