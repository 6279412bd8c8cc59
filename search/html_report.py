"""The report as one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from .answers import Example
from .outcome import Entry, Outcome
from .plan import complete
from .statistics import mean_interval
from .verdict import Unit, verdict

# The drawing's units: 800 wide, names at the left, bars from 150 to 560, figures at the right.
_LEFT, _RIGHT = 150.0, 560.0


@dataclass(frozen=True)
class Bar:
    """One model's bar: widths and places in the drawing's units."""

    name: str
    text: str
    width: float
    low: float
    high: float
    best: bool


@dataclass(frozen=True)
class Chart:
    """Bars of all models on one suite."""

    title: str
    rows: tuple[Bar, ...]


@dataclass(frozen=True)
class Curve:
    """A line of the best score so far; `points` as SVG wants them."""

    points: str
    top: str
    bottom: str
    documents: str


def html_page(
    outcome: Outcome, markdown: str, picture: bytes | None, examples: Sequence[Example]
) -> str:
    """The page.

    Args:
        outcome: the search.
        markdown: its report in Markdown; the page shows the same sections.
        picture: the PNG that the Markdown refers to as plane.png.
        examples: answers to show side by side.
    """
    decision = verdict(outcome)
    # Nothing that a model or a file name says becomes markup: HTML in Markdown is shown as text.
    convert = MarkdownIt("commonmark", {"html": False}).enable("table").render
    _, _, rest = markdown.partition("\n\n")  # the title; then the verdict and the looks
    _, _, rest = rest.partition("\n\n")
    lead, _, body = rest.partition("\n\n## ")
    page = convert(f"## {body}" if body else "")
    page = page.replace("<table>", '<div class="scroll"><table>')
    page = page.replace("</table>", "</table></div>")
    if picture is not None:
        data = base64.b64encode(picture).decode()
        page = page.replace('src="plane.png"', f'src="data:image/png;base64,{data}"')
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = resources.files(__package__).joinpath("report.html.jinja")
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        title=f"{outcome.study}: {outcome.task}",
        sentence=decision.sentence,
        proved=decision.proved,
        lead=Markup(convert(lead)),
        bars=_charts(outcome),
        curve=_curve(outcome),
        importance=sorted(outcome.importance.items(), key=lambda item: -item[1]),
        examples=examples,
        other=decision.best_input,
        body=Markup(page),
    )


def _charts(outcome: Outcome) -> list[Chart]:
    entries = [*([outcome.merged] if outcome.merged else []), *outcome.inputs]
    if not entries:
        return []
    parts = entries[0].report.parts
    return [_chart(entries, i, part.suite, part.metric) for i, part in enumerate(parts)]


def _chart(entries: Sequence[Entry], position: int, suite: str, metric: str) -> Chart:
    scores = [entry.report.parts[position] for entry in entries]
    unit = Unit(scores)
    intervals = [mean_interval(s) for s in scores]
    ends = [e for i in intervals for e in (i.low, i.high, i.estimate) if math.isfinite(e)]
    floor, top = min(0.0, *ends), max(0.0, *ends)

    def place(value: float) -> float:
        share = (min(max(value, floor), top) - floor) / (top - floor or 1.0)
        return round(_LEFT + share * (_RIGHT - _LEFT), 1)

    rows = tuple(
        Bar(
            name=entry.name if len(entry.name) <= 18 else f"{entry.name[:17]}…",
            text=unit.full(interval),
            width=place(interval.estimate) - _LEFT,
            low=place(interval.low),
            high=place(interval.high),
            best=entry.name == "merged",
        )
        for entry, interval in zip(entries, intervals, strict=True)
    )
    return Chart(f"{suite} on the report documents ({metric})", rows)


def _curve(outcome: Outcome) -> Curve | None:
    """The best mean so far after each trial that was scored."""
    done = [t for t in complete(outcome.trials) if t.duplicate_of is None and t.scores]
    if len(done) < 2:
        return None
    unit = Unit(t.scores for t in done if t.scores)
    spent, best, steps = 0, -math.inf, []
    for trial in done:
        assert trial.scores is not None
        spent += trial.scores.count
        best = max(best, trial.scores.mean)
        steps.append((spent, best))
    low, high = steps[0][1], steps[-1][1]
    points, last = [], None
    for documents, score in steps:
        x = 60 + 730 * documents / spent
        y = 200 - 180 * (score - low) / (high - low or 1.0)
        if last is not None:
            points.append(f"{x:.1f},{last:.1f}")
        points.append(f"{x:.1f},{y:.1f}")
        last = y
    return Curve(" ".join(points), unit.score(high), unit.score(low), f"{spent:,}")
