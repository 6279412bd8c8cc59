"""What models answered on the report documents: kept beside the storage, for people to read."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exme.tasks.documents import SuiteDocuments

from .outcome import Outcome
from .verdict import verdict

Answers = Mapping[str, Sequence[str]]

FOLDER = "answers"
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


def save_answers(folder: Path, digest: str, answers: Answers, split: str = "report") -> None:
    """Write a candidate's answers on a split's documents, by suite, into a run's folder.

    Those on search documents are many, and compressed.
    """
    target = _file(folder, digest, split)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    text = json.dumps({suite: list(found) for suite, found in answers.items()}, ensure_ascii=False)
    data = text.encode()
    new.write_bytes(gzip.compress(data, 6, mtime=0) if split == "search" else data)
    new.replace(target)


def _file(folder: Path, digest: str, split: str) -> Path:
    if split == "search":
        return folder / FOLDER / "search" / f"{digest}.json.gz"
    return folder / FOLDER / f"{digest}.json"


def load_answers(folder: Path, digest: str, split: str = "report") -> Answers:
    """Answers by suite, in the order of the split's documents; empty where there are none."""
    try:
        data = _file(folder, digest, split).read_bytes()
        found = json.loads(gzip.decompress(data) if split == "search" else data)
    except (OSError, ValueError, EOFError):  # a convenience: a report without examples is a report
        return {}
    return found if isinstance(found, dict) else {}


def merge_answers(
    documents: Sequence[SuiteDocuments], before: Answers, said: Mapping[str, Mapping[str, str]]
) -> Answers:
    """Answers on all search documents: what was said now, else before, else blank.

    Args:
        documents: of every suite.
        before: by suite, in the order of its documents.
        said: by suite and document identifier.
    """
    merged = {}
    for found in documents:
        name = found.suite.suite
        new = said.get(name, {})
        old = before.get(name) or [""] * len(found.search)
        pairs = zip(found.search, old, strict=False)
        merged[name] = [new.get(document.id, kept) for document, kept in pairs]
    return merged


def examples(
    outcome: Outcome, documents: Sequence[SuiteDocuments], folder: Path, count: int = SHOWN
) -> list[Example]:
    """Report documents won and lost against the best input, at most `count` of each.

    They are the first in the common order, not the most telling ones.
    """
    merged = outcome.merged
    best = next((e for e in outcome.inputs if e.name == verdict(outcome).best_input), None)
    if merged is None or best is None:
        return []
    ours, theirs = (load_answers(folder, e.candidate.digest) for e in (merged, best))
    found: dict[bool, list[Example]] = {True: [], False: []}
    for suite, a, b in zip(documents, merged.report.parts, best.report.parts, strict=True):
        name = suite.suite.suite
        columns = suite.suite.question or suite.suite.columns[:1]
        mine, other = ours.get(name, ()), theirs.get(name, ())
        if not len(mine) == len(other) == a.count:
            continue
        for i, document in enumerate(suite.report):
            if a.values[i] != b.values[i]:
                question = "\n".join(str(document.row[c]) for c in columns)
                won = a.values[i] > b.values[i]
                found[won].append(
                    Example(name, document.id, question, mine[i], other[i], won)
                )  # fmt: skip
    return [*found[True][:count], *found[False][:count]]
