"""Documents of a suite: from the hub, from a folder of JSON lines, or the mini form.

The choice of search and report documents depends on the seed and on the position of a document in
its split, and on nothing else: it is the same on every machine and with every version of every
library.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .errors import UserError
from .rows import MINI_DATA, Rows, open_rows
from .suite import Suite

__all__ = ["MINI_DATA", "Document", "SuiteDocuments", "load_documents"]

Split = Sequence[Mapping[str, Any]]
# Of a task and all rows of a split: places of the rows that the task judges, in its own order.
Order = Callable[[str, Split], Sequence[int]]


@dataclass(frozen=True)
class Document:
    """One row of a data set.

    Attributes:
        id: ``[<subset>/]<split>/<position in the split>``, e.g. ``train/17``.
        task: the lm-eval task that judges it.
        row: the columns, as lm-eval's task expects them.
    """

    id: str
    task: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class SuiteDocuments:
    """The documents that a study uses of one suite; no document stands in two of the three.

    Attributes:
        suite: the suite, in its mini form where the data are mini.
        fewshot: the fixed examples of each lm-eval task, in prompt order; empty where the task
            brings its own.
        search: documents on which candidates are compared, in the common order.
        report: documents on which the winner is proved, in the common order.
        mini: whether these are the suite's mini form.
        seed: seed of the choice.
        splits: all rows of the splits that documents come from, by what their identifiers begin with.
            lm-eval processes a split as a whole; what becomes of a document may depend on the others.
        repeats: rows that are another one again, column for column, and were left out: every model answers both
            alike, so that they tell no more than one does.
    """

    suite: Suite
    fewshot: Mapping[str, tuple[Document, ...]]
    search: tuple[Document, ...]
    report: tuple[Document, ...]
    mini: bool
    seed: int
    splits: Mapping[str, Split] = field(default_factory=dict, repr=False, compare=False)
    repeats: int = 0

    def of(self, split: str) -> tuple[Document, ...]:
        """The documents of ``search`` or ``report``."""
        return {"search": self.search, "report": self.report}[split]

    @cached_property
    def near_duplicates(self) -> tuple[tuple[str, str], ...]:
        """Pairs of documents of different parts (few-shot, search, report) that read the same.

        Texts are compared by `reads`.
        """
        examples = [d for task in self.fewshot.values() for d in task]
        seen: dict[str, str] = {}
        found: list[tuple[str, str]] = []
        for part in (examples, self.search, self.report):
            texts: dict[str, str] = {}
            for document in part:
                key = reads(*self.suite.question_of(document.row))
                if key in seen:
                    found.append((seen[key], document.id))
                texts.setdefault(key, document.id)
            seen |= texts
        return tuple(found)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the content of all documents, in their order."""
        digest = hashlib.sha256()
        examples = [d for task in self.fewshot.values() for d in task]
        for document in (*examples, *self.search, *self.report):
            text = json.dumps([document.id, document.row], sort_keys=True, default=str)
            digest.update(text.encode())
        return digest.hexdigest()


def reads(*columns: object) -> str:
    """Return what a text says, for comparing: lower case, no spaces, no punctuation of prose.

    Signs that mean something stay: brackets, quotes of code, operators.
    """
    texts = (c if isinstance(c, str) else json.dumps(c, default=str) for c in columns)
    return "\n".join(re.sub(r"[\s.,;:!?]+", "", text.lower()) for text in texts)


def load_documents(
    suite: Suite,
    data: str,
    *,
    search: int | None,
    report: int | None,
    seed: int,
    order: Order = lambda task, rows: range(len(rows)),
) -> SuiteDocuments:
    """Load a suite's data and choose its documents.

    Args:
        suite: the suite.
        data: ``mini``, ``hub``, or a folder with ``<suite>/[<subset>/]<split>.jsonl`` in it.
        search: number of search documents; None for all there are. `report` likewise.
        seed: seed of the choice and of the order.
        order: which rows the suite's lm-eval tasks judge; all of them by default.

    Raises:
        UserError: a file or a column is missing, or there are too few documents.
    """
    if data == "mini":
        suite = suite.mini_form()
    splits = _Splits(open_rows(suite, data), order)
    own = {reads(question) for question in suite.fewshot.own}
    fewshot: dict[str, tuple[Document, ...]] = {}
    search_pool: list[Document] = []
    report_pool: list[Document] = []
    for task, subset in suite.lm_eval_tasks.items():
        fewshot[task] = _examples(suite, splits, task, subset)
        found = _pools(suite, splits, task, subset, seed)
        shown = {d.id for d in fewshot[task]}
        for pool, documents in zip((search_pool, report_pool), found, strict=True):
            pool += [
                d
                for d in documents
                if d.id not in shown and not (own and reads(*suite.question_of(d.row)) in own)
            ]
    what, known = f"{suite.suite} ({data})", len(search_pool) + len(report_pool)
    search_pool, report_pool = _distinct(search_pool), _distinct(report_pool)
    return SuiteDocuments(
        suite=suite,
        fewshot=fewshot,
        search=_choose(search_pool, search, seed, f"{what}, search documents"),
        report=_choose(report_pool, report, seed, f"{what}, report documents"),
        mini=data == "mini",
        seed=seed,
        splits=splits.read,
        repeats=known - len(search_pool) - len(report_pool),
    )


class _Splits:
    """Documents of whole splits, as a suite's lm-eval tasks judge them.

    Attributes:
        read: all rows of the splits that were asked for.
    """

    def __init__(self, rows: Rows, order: Order) -> None:
        self.rows, self._order = rows, order
        self.read: dict[str, Split] = {}

    def documents(self, task: str, subset: str | None, split: str) -> list[Document]:
        """All documents of a split, in the task's order; their identifiers name their rows."""
        prefix = f"{subset}/{split}" if subset else split
        if prefix not in self.read:
            self.read[prefix] = self.rows.read(subset, split)
        found = self.read[prefix]
        return [Document(f"{prefix}/{i}", task, found[i]) for i in self._order(task, found)]


def _examples(suite: Suite, splits: _Splits, task: str, subset: str | None) -> tuple[Document, ...]:
    split = suite.fewshot.split
    count = suite.fewshot.count
    if split is None or count == 0:
        return ()
    documents = splits.documents(task, subset, split)[:count]
    if len(documents) < count:
        raise UserError(
            f"suite '{suite.suite}': {splits.rows.where(subset, split)} has {len(documents)} documents, "
            f"but {count} are needed as few-shot examples"
        )
    return tuple(documents)


def _pools(
    suite: Suite, splits: _Splits, task: str, subset: str | None, seed: int
) -> tuple[list[Document], list[Document]]:
    """All search and all report documents of one lm-eval task."""
    split = suite.search.split
    if suite.search.otherwise is not None and not splits.rows.has(subset, split):
        split = suite.search.otherwise
    report = splits.documents(task, subset, suite.report.split)
    if split != suite.report.split:
        return splits.documents(task, subset, split), report
    halved = sorted(report, key=lambda d: _hash(f"{seed}:half:{d.id}"))
    middle = len(halved) // 2
    return halved[:middle], halved[middle:]


def _distinct(pool: Sequence[Document]) -> list[Document]:
    """Documents without those that are an earlier one again."""
    first: dict[str, Document] = {}
    for document in pool:
        told = json.dumps([document.task, document.row], sort_keys=True, default=str)
        first.setdefault(told, document)
    return list(first.values())


def _choose(
    pool: Sequence[Document], count: int | None, seed: int, what: str
) -> tuple[Document, ...]:
    wanted = len(pool) if count is None else count
    if not 0 < wanted <= len(pool):
        raise UserError(
            f"{what}: {wanted} asked for, {len(pool)} there; set `documents` in the study file to "
            f"a number from 1 to {len(pool)}"
        )
    return tuple(sorted(pool, key=lambda d: _hash(f"{seed}:{d.id}"))[:wanted])


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
