"""The page's charts as plain values: bars, the course of the search, the plane of coefficients.

Places are shares of the drawing, or units of its viewBox; what they look like is the template's business.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .colours import shares_of, viridis
from .outcome import Entry, Outcome, TrialRecord
from .plan import cost
from .scene import ENOUGH, Array, Scene, scene_of_outcome, short
from .space import read
from .standing import Standing, incumbents, standing_by_trial, standings
from .statistics import mean_interval
from .unit import Unit

# Both drawings: 420 units wide, so that their text is still read on a phone.
WIDTH = 420.0
CURVE_HEIGHT, PLANE_HEIGHT = 230.0, 350.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 376.0, 12.0, 40.0
_PLANE_RIGHT = 356.0  # the scale of colours stands beside it
_LETTER = 7.1  # width of a bold letter on average
_PIXELS = 72  # of the interpolated surface, along each axis


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
    intervals = [mean_interval(s) for s in scores]
    ends = [e for i in intervals for e in (i.low, i.high, i.estimate) if math.isfinite(e)]
    floor, top = min(0.0, *ends), max(0.0, *ends)
    steps = _ticks(floor, top)
    floor, top = min(floor, steps[0]), max(top, steps[-1])

    def place(value: float) -> float:
        return round(100 * (min(max(value, floor), top) - floor) / (top - floor or 1.0), 2)

    zero = place(0.0)
    rows = tuple(
        Bar(
            name=short(entry.name, 40),
            text=unit.full(interval),
            start=min(zero, place(interval.estimate)),
            width=round(abs(place(interval.estimate) - zero), 2),
            low=place(interval.low),
            high=place(interval.high),
            best=entry.name == "merged",
        )
        for entry, interval in zip(entries, intervals, strict=True)
    )
    best_input = max(
        i.estimate for e, i in zip(entries, intervals, strict=True) if e.name != "merged"
    )
    ticks = tuple(Tick(place(s), unit.tick(s)) for s in steps)
    return Chart(suite, metric, rows, place(best_input), ticks)


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
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
class Course:
    """What the best candidate so far is worth against the documents spent, and every trial's own score.

    Attributes:
        line: of the best so far, as SVG's points.
        dots: every trial.
        left: scores; `right` the same places as regret; `below` documents.
    """

    line: str
    dots: tuple[Dot, ...]
    left: tuple[Tick, ...]
    right: tuple[Tick, ...]
    below: tuple[Tick, ...]
    unit: str


def course(outcome: Outcome) -> Course | None:
    """The incumbent of each moment by what is known of it in the end; None for fewer than two trials."""
    known = standings(outcome.trials)
    own, steps = standing_by_trial(known, outcome.trials), incumbents(outcome.trials, known)
    steps = [(t, s) for t, s in steps if t.duplicate_of is None]
    if len(steps) < 2:
        return None
    unit = Unit(t.scores for t in outcome.trials if t.scores)
    means = [own[t.number].mean for t, _ in steps]
    spent = np.cumsum([cost(t) for t, _ in steps])
    found = max((s.mean for _, s in steps if s.is_complete), default=max(s.mean for _, s in steps))
    # (of a candidate that was scored in part, chance may say more than of the best)
    line = [min(s.mean, found) for _, s in steps]
    # A few very bad trials must not press the others together.
    top = max(found, *means)
    floor = max(min(means + line), 3 * float(np.median(means)) - 2 * top)
    floor = floor if floor < top else top - 1e-9
    low, high = floor - 0.04 * (top - floor), top + 0.06 * (top - floor)

    def x(documents: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * float(documents) / float(spent[-1] or 1), 1)

    def y(score: float) -> float:
        share = (min(max(score, low), high) - low) / (high - low)
        return round(CURVE_HEIGHT - _BOTTOM - share * (CURVE_HEIGHT - _BOTTOM - _TOP), 1)

    points = [f"{x(spent[0])},{y(line[0])}"]
    for documents, before, after in zip(spent[1:], line, line[1:], strict=False):
        points += [f"{x(documents)},{y(before)}", f"{x(documents)},{y(after)}"]
    dots = [
        Dot(x(documents), y(mean), _words(t, own[t.number], unit), whole=t.scores is not None)
        for (t, _), documents, mean in zip(steps, spent, means, strict=True)
    ]
    ticks = [s for s in _ticks(low, high, 4) if low <= s <= high]
    regrets = [r for r in _ticks(0, found - low, 4) if r <= found - low]
    return Course(
        " ".join(points),
        tuple(dots),
        tuple(Tick(y(s), unit.tick(s)) for s in ticks),
        tuple(Tick(y(found - r), unit.tick(r).removesuffix("%")) for r in regrets),
        tuple(Tick(x(d), f"{d:,.0f}") for d in _ticks(0, float(spent[-1]), 4) if d <= spent[-1]),
        ", points" if unit.percent else "",
    )


def _words(trial: TrialRecord, standing: Standing, unit: Unit) -> str:
    told = f"trial {trial.number}, {trial.origin}: {unit.full(standing.interval)}"
    if trial.candidate is None:
        return told
    values = trial.candidate.coefficients
    reading = str(read(values))
    mix = f" ({reading})" if reading else ""
    return f"{told}; {', '.join(f'{n} {c:.3f}' for n, c in values.items())}{mix}"


@dataclass(frozen=True)
class Label:
    """Words beside a place in a drawing; `x` is their middle, `y` their baseline."""

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class Plane:
    """Scores over the coefficients of two checkpoints.

    Attributes:
        image: the interpolated surface as a data URL; empty where there are too few trials.
        x, y, width, height: where it lies.
        left: ticks of `up`'s coefficient; `below` of `across`'.
        scale: colours of scores, lowest first, each with what it means.
        dots: trials; `failed`, `inputs` and `best` stand out; `labels` name the latter two.
    """

    image: str
    x: float
    y: float
    width: float
    height: float
    across: str
    up: str
    left: tuple[Tick, ...]
    below: tuple[Tick, ...]
    scale: tuple[str, ...]
    lowest: str
    highest: str
    dots: tuple[Dot, ...]
    failed: tuple[Dot, ...]
    inputs: tuple[Dot, ...]
    best: Dot
    labels: tuple[Label, ...]
    is_slice: bool


def plane(outcome: Outcome) -> Plane | None:
    """None for a single checkpoint, or before the first complete trial."""
    winner = outcome.winner
    if winner is None or winner.candidate is None or len(winner.candidate.coefficients) < 2:
        return None
    scene = scene_of_outcome(outcome)
    (x0, x1), (y0, y1) = scene.limits.values()
    x, y, width, height = _LEFT, _TOP, _PLANE_RIGHT - _LEFT, PLANE_HEIGHT - _TOP - _BOTTOM

    def across(value: float) -> float:
        return round(x + (value - x0) / (x1 - x0) * width, 1)

    def up(value: float) -> float:
        return round(y + (y1 - value) / (y1 - y0) * height, 1)

    def dots(points: Iterable[tuple[Array, str, str, bool]]) -> tuple[Dot, ...]:
        found = []
        for point, words, colour, whole in points:
            a, b = point[scene.axes]
            if x0 <= a <= x1 and y0 <= b <= y1:
                found.append(Dot(across(a), up(b), words, colour, whole))
        return tuple(found)

    colours = _hex(viridis(shares_of(scene.scores, scene.scores)))
    words = _trial_words(outcome, scene)
    marks = [
        (p, f"{n}: {told}" if (told := scene.text_at(p)) else n, "", True)
        for n, p in scene.marks.items()
    ]
    lowest = float(
        np.max([scene.scores.min(), 3 * np.median(scene.scores) - 2 * scene.scores.max()])
    )
    less = "≤" if lowest > scene.scores.min() else ""
    first, second = scene.axes
    named = dots(marks)
    frame = (x, y, x + width, y + height)
    return Plane(
        image=_surface(scene),
        x=x, y=y, width=width, height=height,
        across=short(scene.names[first], 40),
        up=short(scene.names[second], 40),
        left=tuple(Tick(up(v), f"{v:g}") for v in _ticks(y0, y1) if y0 <= v <= y1),
        below=tuple(Tick(across(v), f"{v:g}") for v in _ticks(x0, x1) if x0 <= v <= x1),
        scale=tuple(_hex(viridis(np.linspace(0, 1, 10)))),
        lowest=less + (f"{lowest:.0f}%" if scene.unit else f"{lowest:.3g}"),
        highest=f"{scene.scores.max():.1f}%" if scene.unit else f"{scene.scores.max():.3g}",
        dots=dots(zip(scene.points, words, colours, scene.whole.tolist(), strict=True)),
        failed=dots((point, "failed", "", True) for point in scene.failed),
        inputs=named[1:],
        best=named[0],
        labels=_labels(named, frame),
        is_slice=len(scene.names) > 2,
    )  # fmt: skip


def _labels(dots: Sequence[Dot], frame: tuple[float, float, float, float]) -> tuple[Label, ...]:
    """Each dot's words above it or else below, right or left: the first that is within the frame and covers no other."""
    left, top, right, bottom = frame
    taken = [(d.x - 8, d.y - 8, d.x + 8, d.y + 8) for d in dots]
    found = []
    for dot in dots:
        half, high = _LETTER * len(dot.words) / 2, 12.0
        tries = [(0, -12), (0, 21), (half + 12, 4), (-half - 12, 4), (0, -28), (0, 37)]
        boxes = []
        for across, down in tries:
            x = min(max(dot.x + across, left + half), right - half)
            boxes.append((x - half, dot.y + down - high, x + half, dot.y + down))
        hits = [
            sum(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in taken)
            + 9 * (a[1] < top or a[3] > bottom)
            for a in boxes
        ]
        box = boxes[hits.index(min(hits))]
        taken.append(box)
        found.append(Label(round((box[0] + box[2]) / 2, 1), round(box[3], 1), dot.words))
    return tuple(found)


def plane_place(outcome: Outcome, trial: TrialRecord) -> tuple[float, float] | None:
    """Where a trial stands in the outcome's plane; None where it is beyond the edges."""
    if trial.candidate is None:
        return None
    scene = scene_of_outcome(outcome)
    point = [trial.candidate.coefficients[scene.names[axis]] for axis in scene.axes]
    (x0, x1), (y0, y1) = scene.limits.values()
    if not (x0 <= point[0] <= x1 and y0 <= point[1] <= y1):
        return None
    return (
        round(_LEFT + (point[0] - x0) / (x1 - x0) * (_PLANE_RIGHT - _LEFT), 1),
        round(_TOP + (y1 - point[1]) / (y1 - y0) * (PLANE_HEIGHT - _TOP - _BOTTOM), 1),
    )


def _trial_words(outcome: Outcome, scene: Scene) -> list[str]:
    unit = Unit(t.scores for t in outcome.trials if t.scores)
    known = standing_by_trial(standings(outcome.trials), outcome.trials)
    told = {}
    for trial in sorted(outcome.trials, key=lambda t: (t.scores is not None, t.number)):
        if trial.candidate is not None and trial.is_scored and trial.duplicate_of is None:
            key = tuple(trial.candidate.coefficients[n] for n in scene.names)
            told[key] = _words(trial, known[trial.number], unit)
    return [told.get(tuple(point), "base") for point in scene.points.tolist()]


def _surface(scene: Scene) -> str:
    """The interpolated scores as a PNG that fades where nothing is known."""
    if len(scene.points) < ENOUGH:
        return ""
    from matplotlib.image import imsave  # noqa: PLC0415  (slow to import)

    (x0, x1), (y0, y1) = scene.limits.values()
    edges = (np.arange(_PIXELS) + 0.5) / _PIXELS
    x, y = np.meshgrid(x0 + edges * (x1 - x0), y1 - edges * (y1 - y0))
    at = np.tile(scene.best, (x.size, 1))
    at[:, scene.axes] = np.stack([x.ravel(), y.ravel()], axis=1)
    mean, spread = (part.reshape(x.shape) for part in scene.smooth(at))
    alpha = np.clip((0.85 - spread) / 0.4, 0, 1)[..., None] * 255
    image = np.concatenate([viridis(shares_of(mean, scene.scores)), alpha], axis=-1)
    stream = io.BytesIO()
    imsave(stream, image.astype(np.uint8), format="png")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _hex(colours: np.ndarray) -> list[str]:
    return ["#" + "".join(f"{part:02x}" for part in colour) for colour in colours]
