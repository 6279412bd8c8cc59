"""Report documents on which merged and the best input differ, with both answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exme.search.scoring import load_answers
from exme.tasks import SuiteDocuments

from .outcome import Outcome

SHOWN = 10


@dataclass(frozen=True)
class Example:
    """A report document on which merged and the best input differ.

    Attributes:
        suite: its suite.
        document: its identifier.
        question: the text that tells it apart from others.
        merged: merged's answer; `other` that of the best input.
        won: whether merged scored higher.
    """

    suite: str
    document: str
    question: str
    merged: str
    other: str
    won: bool


def examples_of(
    outcome: Outcome, documents: Sequence[SuiteDocuments], folder: Path
) -> list[Example]:
    """Report documents won and lost against the best input, at most `SHOWN` of each.

    They are the first in the common order, not the most telling ones.
    """
    merged = outcome.merged
    best = next((e for e in outcome.inputs if e.name == outcome.verdict.best_input), None)
    if merged is None or best is None:
        return []
    ours, theirs = (load_answers(folder, e.candidate.digest) for e in (merged, best))
    found: dict[bool, list[Example]] = {True: [], False: []}
    for suite, a, b in zip(documents, merged.report.parts, best.report.parts, strict=True):
        name = suite.suite.suite
        mine, other = ours.get(name, ()), theirs.get(name, ())
        if not len(mine) == len(other) == a.count:
            continue
        for i, document in enumerate(suite.report):
            if a.values[i] != b.values[i]:
                question = "\n".join(map(str, suite.suite.question_of(document.row)))
                won = a.values[i] > b.values[i]
                found[won].append(
                    Example(name, document.id, question, mine[i], other[i], won)
                )  # fmt: skip
    return [*found[True][:SHOWN], *found[False][:SHOWN]]
