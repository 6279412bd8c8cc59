"""The report as one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import resources

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from exme.search.opening.cost import duration
from exme.search.proof.examples import Example
from exme.search.proof.verdict import verdict
from exme.search.trials.budget import spent
from exme.search.trials.outcome import Outcome
from exme.search.trials.unit import Unit

from .charts import bar_charts, course
from .plane_chart import plane


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
    page = _without(page, "Score over the coefficients") if (drawn := plane(outcome)) else page
    if picture is not None and drawn is None:
        data = base64.b64encode(picture).decode()
        page = page.replace('src="plane.png"', f'src="data:image/png;base64,{data}"')
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = resources.files(__package__).joinpath("report.html.jinja")
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        title=f"{outcome.study}: {outcome.task}",
        sentence=decision.sentence,
        proved=decision.proved,
        lead=Markup(convert(lead)),
        tiles=_tiles(outcome),
        bars=bar_charts(outcome),
        plane=drawn,
        course=course(outcome),
        importance=sorted(outcome.importance.items(), key=lambda item: -item[1]),
        examples=_grouped(examples, decision.best_input),
        other=decision.best_input,
        body=Markup(page),
    )


def _tiles(outcome: Outcome) -> list[tuple[str, str]]:
    """The figures that people ask for first, each with what it is."""
    trials, documents, minutes = spent(outcome.trials)
    found = verdict(outcome)
    told = []
    if found.gain is not None and outcome.merged is not None:
        unit = Unit([outcome.merged.report])
        told += [
            (unit.signed(found.gain.estimate), found.measure),
            (f"{found.gain.won} : {found.gain.lost}", "report documents won : lost"),
        ]
    told.append((f"{trials}", f"trials, {documents:,} search documents"))
    told.append((duration(60 * minutes), "of scoring, all workers together"))
    return told


def _grouped(examples: Sequence[Example], other: str) -> list[tuple[str, list[Example]]]:
    groups = [(won, [e for e in examples if e.won == won]) for won in (True, False)]
    words = {True: "won against", False: "lost against"}
    return [(f"{len(g)} {words[won]} {other}", g) for won, g in groups if g]


def _without(page: str, heading: str) -> str:
    """A page without one of its sections, which is drawn otherwise."""
    before, found, rest = page.partition(f"<h2>{heading}</h2>")
    _, next_heading, after = rest.partition("<h2>")
    return before + next_heading + after if found else page
