"""The report's section on a training run: its checkpoints' scores over training step, and the merge's beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from exme.search.proof import CurvePoint, Outcome
from exme.search.statistics import Interval, mean_interval
from exme.search.trials import Unit, p_text, standing_of, standings, unit_of

from .charts import BOTTOM, CURVE_HEIGHT, LEFT, RIGHT, TOP, Tick, round_steps
from .section import Section, Table

NAME = "Extrapolation Merging, arXiv:2503.04834"


def training_sections(outcome: Outcome) -> list[Section]:
    """The checkpoints of a training run, where the search began with one."""
    if not outcome.curve:
        return []
    unit = unit_of([point.standing for point in outcome.curve])
    proved = {entry.name: entry.report for entry in outcome.inputs}
    report_unit = Unit(proved.values())
    rows = []
    for point in outcome.curve:
        found, scores = point.standing, proved.get(point.name)
        rows.append(
            [
                point.name,
                "–" if point.step is None else f"{point.step:,}",
                "–" if point.loss is None else f"{point.loss:.4g}",
                unit.full(found.interval),
                found.documents_text,
                report_unit.full(mean_interval(scores)) if scores else "–",
                _fate(point, outcome),
            ]
        )
    merge = _merge(outcome)
    if merge is not None:
        told = report_unit.full(mean_interval(outcome.merged.report)) if outcome.merged else "–"
        rows.append(["merged", "–", "–", unit.full(merge), "–", told, ""])
    head = [
        "model",
        "step",
        "eval loss",
        "expected by the search documents",
        "scored on",
        "report documents",
        "",
    ]
    note = (
        f"The paper's procedure ({NAME}): the best checkpoints of one training run, each extrapolated from the base, and mixed. "
        "All were ranked on the same search documents by successive halving, the better half going on to further ones. "
        f"95% intervals in brackets.{_left_out(outcome)}"
    )
    return [Section("The training run", [Table(head, rows), note])]


def _fate(point: CurvePoint, outcome: Outcome) -> str:
    if point.name == "base":
        return ""
    if point.is_kept:
        return "kept"
    return (
        "dropped, left out of the proof"
        if point.name in {s.name for s in outcome.left_out}
        else "dropped"
    )


def _left_out(outcome: Outcome) -> str:
    """Which of the dropped checkpoints the proof is not against by their scores, by what, and what that costs."""
    if not outcome.dropped:
        return ""
    if not outcome.left_out:
        return (
            " Dropped checkpoints are inputs, too: the search documents do not say for sure of any that it is not the best one, so "
            "that the proof is against all. A tenth of its level is set aside for leaving them out."
        )
    each = ", ".join(
        f"{s.name} (behind {s.by} on {s.documents} search documents, {p_text(s.p)})"
        for s in outcome.left_out
    )
    return (
        f" Left out of the proof, for they are not the best input: {each}. That was tested at {outcome.left_out[0].level:.2g}, a tenth "
        f"of this use's level, by a test that may be looked at any time; the proof has the other nine tenths, {outcome.level:.2g}."
    )


def _merge(outcome: Outcome) -> Interval | None:
    """What is expected of the winner, where it is a merge."""
    known = [point.standing.trial.candidate for point in outcome.curve]
    winner = outcome.winner
    if winner is None or winner.candidate is None:
        return None
    if winner.candidate.digest in {candidate.digest for candidate in known if candidate}:
        return None
    found = standing_of(standings(outcome.trials), winner.candidate.digest)
    return None if found is None else found.interval


@dataclass(frozen=True)
class Mark:
    """A checkpoint in the drawing: where it is, where its interval ends, and what is said of it."""

    x: float
    y: float
    low: float
    high: float
    words: str
    kept: bool


@dataclass(frozen=True)
class TrainingChart:
    """Scores over training step.

    Attributes:
        line: through the checkpoints, as SVG's points.
        marks: the checkpoints.
        merge: where the merge's score is; None where there is none.
        words: what is said of that.
        left: scores; `below` steps.
    """

    line: str
    marks: tuple[Mark, ...]
    merge: float | None
    words: str
    left: tuple[Tick, ...]
    below: tuple[Tick, ...]


def training_chart(outcome: Outcome) -> TrainingChart | None:
    """The checkpoints' scores over training step; None for fewer than two of which the step is known."""
    points = [p for p in outcome.curve if p.step is not None]
    if len(points) < 2:
        return None
    unit, merge = unit_of([p.standing for p in points]), _merge(outcome)
    shown = [p.standing.interval for p in points]
    ends = [e for i in (*shown, *([merge] if merge else [])) for e in (i.estimate, i.low, i.high)]
    finite = [e for e in ends if math.isfinite(e)]
    low, high = min(finite), max(finite)
    room = 0.05 * ((high - low) or 1.0)
    low, high, last = low - room, high + room, max(p.step or 0 for p in points) or 1

    def x(step: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * step / last, 1)

    def y(score: float) -> float:
        share = (min(max(score, low), high) - low) / (high - low)
        return round(CURVE_HEIGHT - BOTTOM - share * (CURVE_HEIGHT - BOTTOM - TOP), 1)

    marks = tuple(
        Mark(
            x(p.step or 0), y(i.estimate), y(i.low), y(i.high),
            f"{p.name}, step {p.step:,}: {unit.full(i)}, {p.standing.documents_text}", p.is_kept,
        )
        for p, i in zip(points, shown, strict=True)
    )  # fmt: skip
    return TrainingChart(
        " ".join(f"{m.x},{m.y}" for m in marks),
        marks,
        None if merge is None else y(merge.estimate),
        "" if merge is None else f"merged: {unit.full(merge)}",
        tuple(Tick(y(s), unit.tick(s)) for s in round_steps(low, high, 4) if low <= s <= high),
        tuple(Tick(x(s), f"{s:,.0f}") for s in round_steps(0, last, 4) if s <= last),
    )
