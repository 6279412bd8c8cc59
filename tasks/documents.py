"""Documents of a suite: from the hub, from a folder of JSON lines, or the mini form.

The choice of search and report documents depends on the seed, the split and the position of a
document in its split, and on nothing else: it is the same on every machine and with every version
of every library.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError
from .suite import Suite

MINI_DATA = Path(__file__).parent / "mini" / "data"


@dataclass(frozen=True)
class Document:
    """One row of a data set.

    Attributes:
        id: ``<split>/<position in the split>``, e.g. ``train/17``.
        row: the columns, as lm-eval's task expects them.
    """

    id: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class SuiteDocuments:
    """The documents that a study uses of one suite; no document stands in two of the three.

    Attributes:
        fewshot: the fixed examples, in prompt order.
        search: documents on which candidates are compared, in the common order.
        report: documents on which the winner is proved, in the common order.
        mini: whether these are the suite's mini form.
        seed: seed of the choice.
    """

    suite: Suite
    fewshot: tuple[Document, ...]
    search: tuple[Document, ...]
    report: tuple[Document, ...]
    mini: bool
    seed: int

    def of(self, split: str) -> tuple[Document, ...]:
        """The documents of ``search`` or ``report``."""
        return {"search": self.search, "report": self.report}[split]


def load_documents(
    suite: Suite, data: str, *, search: int | None, report: int | None, seed: int
) -> SuiteDocuments:
    """Load a suite's data and choose its documents.

    Args:
        suite: the suite.
        data: ``mini``, ``hub``, or a folder with ``<suite>/<split>.jsonl`` in it.
        search: number of search documents; None for all there are. `report` likewise.
        seed: seed of the choice and of the order.

    Raises:
        UserError: a file or a column is missing, or there are too few documents.
    """
    mini = data == "mini"
    names = dict.fromkeys([suite.fewshot.split, suite.search.split, suite.report.split])
    splits = {name: _load_split(suite, data, name) for name in names}
    count = suite.fewshot_count(mini=mini)
    fewshot = splits[suite.fewshot.split][:count]
    if len(fewshot) < count:
        raise UserError(
            f"suite '{suite.suite}': split '{suite.fewshot.split}' of {data} has {len(fewshot)} "
            f"documents, but {count} are needed as few-shot examples"
        )
    shown = {d.id for d in fewshot}
    search_pool = [d for d in splits[suite.search.split] if d.id not in shown]
    report_pool = [d for d in splits[suite.report.split] if d.id not in shown]
    return SuiteDocuments(
        suite=suite,
        fewshot=tuple(fewshot),
        search=_choose(search_pool, search, seed, f"{suite.suite} ({data}), search documents"),
        report=_choose(report_pool, report, seed, f"{suite.suite} ({data}), report documents"),
        mini=mini,
        seed=seed,
    )


def _choose(
    pool: Sequence[Document], count: int | None, seed: int, what: str
) -> tuple[Document, ...]:
    wanted = len(pool) if count is None else count
    if not 0 < wanted <= len(pool):
        raise UserError(
            f"{what}: {wanted} asked for, {len(pool)} there; set `documents` in the study file to "
            f"a number from 1 to {len(pool)}"
        )

    def key(document: Document) -> bytes:
        return hashlib.sha256(f"{seed}:{document.id}".encode()).digest()

    return tuple(sorted(pool, key=key)[:wanted])


def _load_split(suite: Suite, data: str, split: str) -> list[Document]:
    if data == "hub":
        return _from_hub(suite, split)
    folder = MINI_DATA if data == "mini" else Path(data)
    return _from_file(suite, folder / suite.suite / f"{split}.jsonl", split)


def _from_file(suite: Suite, path: Path, split: str) -> list[Document]:
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; suite '{suite.suite}' expects its split '{split}' there, one "
            f"JSON object a line with the columns {', '.join(suite.columns)}"
        )
    documents = []
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines):
                row = json.loads(line)
                _check_columns(suite, row, f"{path}:{number + 1}")
                documents.append(Document(f"{split}/{number}", row))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path}:{len(documents) + 1}: not a JSON object in UTF-8 ({error}); write one "
                f"JSON object a line"
            ) from None
    return documents


def _from_hub(suite: Suite, split: str) -> list[Document]:
    import datasets  # noqa: PLC0415  (slow to import, needed for the hub only)

    try:
        rows = datasets.load_dataset(suite.hub.path, suite.hub.name, split=split)
    except Exception as error:
        raise UserError(
            f"suite '{suite.suite}': cannot load split '{split}' of '{suite.hub.path}' from the "
            f"hub ({type(error).__name__}: {str(error).splitlines()[0]}); check the network, or "
            f"give a folder of JSON lines with `data:` in the study file or EXME_DATA"
        ) from None
    documents = [Document(f"{split}/{i}", dict(row)) for i, row in enumerate(rows)]
    for document in documents[:1]:
        _check_columns(suite, document.row, f"{suite.hub.path}, split {split}")
    return documents


def _check_columns(suite: Suite, row: object, where: str) -> None:
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected a JSON object, found {type(row).__name__}")
    missing = [c for c in suite.columns if c not in row]
    if missing:
        raise UserError(
            f"{where}: column '{missing[0]}' is missing (found: {', '.join(row) or 'none'}); suite "
            f"'{suite.suite}' needs {', '.join(suite.columns)}"
        )
