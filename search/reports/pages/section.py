"""What a report consists of, as data: the Markdown and the HTML page are two renderings of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells of plain text."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Listing:
    """Lines of plain text, each with a bullet."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """A picture in a file beside the report."""

    file: str
    words: str


# A text is a paragraph; ``**bold**`` and ``code`` in it are Markdown's.
Block = str | Table | Listing | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it.

    Attributes:
        is_long: the page shows it folded, and does not print it.
    """

    title: str
    blocks: Sequence[Block]
    is_long: bool = False

    @property
    def has_picture(self) -> bool:
        return any(isinstance(block, Picture) for block in self.blocks)


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        title: of the search.
        sentence: the verdict.
        lead: paragraphs below it.
        sections: the rest.
    """

    title: str
    sentence: str
    lead: Sequence[str]
    sections: Sequence[Section]


def markdown(report: Report) -> str:
    """A report in Markdown."""
    parts = [f"# {report.title}", f"**{report.sentence}**", *report.lead]
    parts += map(markdown_of, report.sections)
    return "\n\n".join(parts) + "\n"


def markdown_of(section: Section) -> str:
    """A section in Markdown, its heading first."""
    return "\n\n".join([f"## {section.title}", *map(_markdown, section.blocks)])


def _markdown(block: Block) -> str:
    match block:
        case Table(head, rows):
            return table(head, rows)
        case Listing(lines):
            return "\n".join(f"- {line}" for line in lines)
        case Picture(file, words):
            return f"![{words}]({file})"
        case _:
            return block


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """One line, with pipes escaped: anything else would end the cell or the table."""
    return " ".join(text.split()).replace("|", "\\|")
