"""What models answered on the report documents: kept beside the storage, for people to read."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from exme.tasks import SuiteDocuments

Answers = Mapping[str, Sequence[str]]

FOLDER = "answers"


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
    except (
        OSError,
        ValueError,
        EOFError,
        RecursionError,
    ):  # a convenience: a report without examples is a report
        return {}
    return found if isinstance(found, dict) else {}


def merge_answers(
    documents: Sequence[SuiteDocuments], before: Answers, said: Mapping[str, Mapping[str, str]]
) -> Answers:
    """Answers on all search documents: what was said now, else before, else blank.

    Args:
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
