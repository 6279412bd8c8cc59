"""The report as one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from importlib import resources

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from exme.search.proof import Example, Outcome
from exme.search.trials import Unit, duration, spent

from .charts import bar_charts, search_curve
from .front_chart import front_charts
from .plane_chart import plane, plane_svg
from .section import Report
from .training_sections import training_chart

_CODE = re.compile("(?<=<code>)[^<]*(?=</code>)")


def _unbroken(code: re.Match[str]) -> str:
    """Code whose lines break between words alone, not after the dashes of ``--task``."""
    return " ".join(f"<span>{word}</span>" for word in code[0].split(" "))


def html_page(
    outcome: Outcome, report: Report, picture: bytes | None, examples: Sequence[Example]
) -> str:
    """The page.

    Args:
        outcome: the search.
        report: what is said of it.
        picture: the PNG that the report shows as plane.png.
        examples: answers to show side by side.
    """
    decision, drawn = outcome.verdict, plane(outcome)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    # Nothing that a model or a file name says becomes markup: HTML in Markdown is shown as text.
    inline = MarkdownIt("commonmark", {"html": False}).renderInline
    environment.filters["inline"] = lambda text: Markup(_CODE.sub(_unbroken, inline(text)))
    template = resources.files(__package__).joinpath("templates/report.html.jinja")
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        title=report.title,
        sentence=report.sentence,
        proved=decision.proved,
        lead=report.lead,
        tiles=_tiles(outcome),
        bars=bar_charts(outcome),
        plane=drawn,
        plane_svg=plane_svg(drawn) if drawn else "",
        curve=search_curve(outcome),
        fronts=front_charts(outcome),
        training=training_chart(outcome),
        importance=sorted(outcome.importance.items(), key=lambda item: -item[1]),
        examples=_grouped(examples, decision.best_input),
        other=decision.best_input,
        sections=[s for s in report.sections if drawn is None or not s.has_picture],
        picture=base64.b64encode(picture or b"").decode(),
    )


def _tiles(outcome: Outcome) -> list[tuple[str, str]]:
    """The figures that people ask for first, each with what it is."""
    trials, documents, minutes = spent(outcome.trials)
    found = outcome.verdict
    told = []
    if found.gain is not None and outcome.merged is not None:
        unit = Unit([outcome.merged.report])
        told += [
            (unit.signed(found.gain.estimate), f"gain {found.measure}"),
            (f"{found.gain.won} : {found.gain.lost}", "report documents won : lost"),
        ]
    told.append(
        (f"{trials}", f"candidates in {len(outcome.trials)} trials, {documents:,} search documents")
    )
    told.append((duration(60 * minutes), "of scoring, all workers together"))
    return told


def _grouped(examples: Sequence[Example], other: str) -> list[tuple[str, list[Example]]]:
    groups = [(won, [e for e in examples if e.won == won]) for won in (True, False)]
    words = {True: "won against", False: "lost against"}
    return [(f"{len(g)} {words[won]} {other}", g) for won, g in groups if g]
