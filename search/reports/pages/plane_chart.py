"""The page's picture of the scores over the coefficients of two checkpoints, as plain values; see `charts`."""

from __future__ import annotations

import base64
import functools
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2
import numpy as np
from markupsafe import Markup

from exme.search.proof import Outcome
from exme.search.trials import TrialRecord, standing_by_trial, standings, unit_of

from .charts import BOTTOM, LEFT, Dot, Tick, dot_words, round_steps
from .colours import ends_of, shares_of, viridis
from .labels import Box, places_of
from .scene import FLAT, Array, Scene, scene_of_outcome, short

PLANE_HEIGHT = 362.0
TOP = 24.0  # the title of the scale stands above it
_WIDTH = 352.0 - LEFT  # the scale of colours stands beside it
_HEIGHT = PLANE_HEIGHT - TOP - BOTTOM
_LETTER = 7.1  # width of a bold letter on average
_PIXELS = 72  # of the interpolated surface, along each axis


@dataclass(frozen=True)
class Label:
    """Words beside a place in a drawing; `x` is their middle, `y` their baseline; a line leads to `far`."""

    x: float
    y: float
    words: str
    far: Dot | None = None


@dataclass(frozen=True)
class Plane:
    """Scores over the coefficients of two checkpoints.

    Attributes:
        image: the interpolated surface as a data URL; empty where there are too few trials, or all scores are the same.
        x, y, width, height: where it lies.
        left: ticks of `up`'s coefficient; `below` of `across`'.
        scale: colours of scores, lowest first; empty where all are the same, with `is_flat`. `scores` are its ticks.
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
    scores: tuple[Tick, ...]
    dots: tuple[Dot, ...]
    failed: tuple[Dot, ...]
    inputs: tuple[Dot, ...]
    best: Dot
    labels: tuple[Label, ...]
    is_slice: bool
    is_flat: bool


@dataclass(frozen=True)
class _Frame:
    """Where coefficients lie in the drawing.

    Attributes:
        x: lowest and highest coefficient across; `y` upwards.
    """

    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        low, high = self.x
        return round(LEFT + (value - low) / (high - low) * _WIDTH, 1)

    def down(self, value: float) -> float:
        low, high = self.y
        return round(TOP + (high - value) / (high - low) * _HEIGHT, 1)

    def place(self, x: float, y: float) -> tuple[float, float] | None:
        """Of a point; None where it is beyond the edges."""
        inside = self.x[0] <= x <= self.x[1] and self.y[0] <= y <= self.y[1]
        return (self.across(x), self.down(y)) if inside else None


def _steps(limits: tuple[float, float]) -> list[float]:
    """Round numbers within limits."""
    return [v for v in round_steps(*limits) if limits[0] <= v <= limits[1]]


def plane(outcome: Outcome) -> Plane | None:
    """None for a single checkpoint, or before the first complete trial."""
    winner = outcome.winner
    if winner is None or winner.candidate is None or len(winner.candidate.coefficients) < 2:
        return None
    scene = scene_of_outcome(outcome)
    frame = _Frame(*scene.limits.values())

    def dots(points: Iterable[tuple[Array, str, str, bool]]) -> tuple[Dot, ...]:
        found = []
        for point, words, colour, whole in points:
            if place := frame.place(*point[scene.axes]):
                found.append(Dot(*place, words, colour, whole))
        return tuple(found)

    colours = _hex(viridis(shares_of(scene.scores, scene.scores)))
    words = _trial_words(outcome, scene)
    marks = [
        (p, f"{n}: {told}" if (told := scene.text_at(p)) else n, "", True)
        for n, p in scene.marks.items()
    ]
    first, second = scene.axes
    named = dots(marks)
    trials = dots(zip(scene.points, words, colours, scene.whole.tolist(), strict=True))
    failed = dots((point, "failed", "", True) for point in scene.failed)
    return Plane(
        image=_surface(scene),
        x=LEFT, y=TOP, width=_WIDTH, height=_HEIGHT,
        across=short(scene.names[first], 40),
        up=short(scene.names[second], 40),
        left=tuple(Tick(frame.down(v), f"{v:g}") for v in _steps(frame.y)),
        below=tuple(Tick(frame.across(v), f"{v:g}") for v in _steps(frame.x)),
        scale=() if scene.is_flat else tuple(_hex(viridis(np.linspace(0, 1, 10)))),
        scores=_scale_ticks(scene),
        dots=trials,
        failed=failed,
        inputs=named[1:],
        best=named[0],
        labels=_labels(named, (*trials, *failed), (LEFT, TOP, LEFT + _WIDTH, TOP + _HEIGHT)),
        is_slice=len(scene.names) > 2,
        is_flat=scene.is_flat,
    )  # fmt: skip


def _scale_ticks(scene: Scene) -> tuple[Tick, ...]:
    """Round scores beside the scale of colours; the lowest of them stands for all below, where there are any."""
    floor, top = ends_of(scene.scores)
    less = "≥" if scene.scale.is_turned else "≤"
    found = [
        Tick(
            round(TOP + (top - s) / (top - floor) * _HEIGHT + 4, 1), f"{scene.tick(s)}{scene.unit}"
        )
        for s in _steps((floor, top))
        if (s - floor) / (top - floor) > 0.1 or scene.scores.min() >= floor
    ]
    if scene.scores.min() < floor:
        lowest = f"{float(scene.tick(floor)):.0f}%" if scene.unit else scene.text(floor)
        found.insert(0, Tick(TOP + _HEIGHT, f"{less}{lowest}"))
    return tuple(found)


def plane_svg(
    drawn: Plane, at: tuple[float, float] | None = None, *, alone: bool = False
) -> Markup:
    """The picture as an SVG.

    Args:
        drawn: the plane.
        at: where a ring shows a trial; None draws none.
        alone: it is a file of its own, with the styles that the page has.
    """
    return Markup(_template().render(plane=drawn, at=at, is_alone=alone, flat=FLAT).strip())


@functools.cache
def _template() -> jinja2.Template:
    text = (
        resources.files(__package__)
        .joinpath("templates/plane.svg.jinja")
        .read_text(encoding="utf-8")
    )
    return jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        text
    )


def _labels(named: Sequence[Dot], dots: Sequence[Dot], frame: Box) -> tuple[Label, ...]:
    """The words of named dots beside them (`places_of`)."""
    every = np.array([(d.x, d.y) for d in (*named, *dots)])
    names = [re.sub(r" \(trial \d+\)", "", d.words) for d in named]  # (the dot says it)
    sizes = [(_LETTER * len(words) + 4, 14.0) for words in names]
    gaps = (11.0, 18.0, 30.0, 45.0, 65.0)
    found = places_of([(d.x, d.y) for d in named], sizes, every, frame, gaps)
    return tuple(
        Label(round(place.x, 1), round(place.y + 4, 1), words, dot if place.is_far else None)
        for dot, words, place in zip(named, names, found, strict=True)
    )


def plane_place(outcome: Outcome, trial: TrialRecord) -> tuple[float, float] | None:
    """Where a trial stands in the outcome's plane; None where it is beyond the edges."""
    if trial.candidate is None:
        return None
    scene = scene_of_outcome(outcome)
    point = [trial.candidate.coefficients[scene.names[axis]] for axis in scene.axes]
    return _Frame(*scene.limits.values()).place(*point)


def _trial_words(outcome: Outcome, scene: Scene) -> list[str]:
    found = standings(outcome.trials)
    unit, known = unit_of(found), standing_by_trial(found, outcome.trials)
    told = {}
    for trial in sorted(outcome.trials, key=lambda t: (t.scores is not None, t.number)):
        if trial.candidate is not None and trial.is_scored and trial.duplicate_of is None:
            key = tuple(trial.candidate.coefficients[n] for n in scene.names)
            told[key] = dot_words(trial, known[trial.number], unit)
    return [told.get(tuple(point), "base") for point in scene.points.tolist()]


def _surface(scene: Scene) -> str:
    """The interpolated scores as a PNG that fades where nothing is known."""
    if not scene.has_surface:
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
