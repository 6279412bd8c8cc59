"""Whole splits as lm-eval's tasks process them, and our documents among what comes out.

lm-eval gives a task's `process_docs` a split as a whole. It may drop, sort or rewrite documents, and the types
of columns are those of all rows; so a document is only itself where the others stand beside it.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from exme.evaluators.harness.noise import quiet
from exme.tasks import UserError, one_line

# A column that says which row a document was, while a task processes a split.
_PLACE = "exme_place"
_TIME = re.compile(r"\d{4}-\d\d-\d\d")
# lm-eval's own seeds (`simple_evaluate`), of what a task may draw as it processes documents.
_RANDOM_SEED, _NUMPY_SEED = 0, 1234


Docs = Callable[[datasets.Dataset], datasets.Dataset]


@dataclass(frozen=True)
class Processed:
    """A split as a task has it.

    Attributes:
        documents: in the task's order.
        places: of each of them, the place of its row in the split.
    """

    documents: datasets.Dataset
    places: Sequence[int]

    def of(self, rows: Sequence[int]) -> list[int]:
        """Where rows stand among the documents; all of them must."""
        found = {row: place for place, row in enumerate(self.places)}
        return [found[row] for row in rows]

    def select(self, rows: Sequence[int]) -> datasets.Dataset:
        """The documents that these rows became, in the order of the rows."""
        return self.documents.select(self.of(rows))


def dataset(rows: Sequence[Mapping[str, Any]], *, of_json: bool) -> datasets.Dataset:
    """Rows as lm-eval has them: with all columns that any has.

    Args:
        of_json: lm-eval's task has `datasets` read JSON lines, which takes columns of dates for points in time.
    """
    # from_list() has the columns of the first row only.
    columns = dict.fromkeys(name for row in rows for name in row)
    whole = [{name: row.get(name) for name in columns} for row in rows]
    if of_json and any(_holds_time(row) for row in whole):
        with tempfile.TemporaryDirectory() as folder, quiet():
            file = Path(folder) / "rows.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in whole), encoding="utf-8")
            return datasets.Dataset.from_json(str(file), cache_dir=folder, keep_in_memory=True)
    # (as its JSON loader does: objects with other keys stay as they are, and are not filled up)
    return datasets.Dataset.from_list(whole, on_mixed_types="use_json")


def _holds_time(value: Any) -> bool:
    """Whether there is a text that Arrow may take for a point in time."""
    if isinstance(value, str):
        return _TIME.match(value) is not None
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds_time(part) for part in parts)


def process(suite: str, name: str, rows: datasets.Dataset, docs: Docs | None) -> Processed:
    """What a task makes of a split.

    Args:
        suite: the suite's name, for errors.

    Raises:
        UserError: what it makes cannot be told apart, row by row.
    """
    if docs is None or not len(rows):
        return Processed(rows, range(len(rows)))
    found = _made(suite, name, rows.add_column(_PLACE, list(range(len(rows)))), docs)
    has_place = _PLACE in found.column_names
    places = list(found[_PLACE]) if has_place else list(range(len(found)))
    documents = found.remove_columns(_PLACE) if has_place else found
    if has_place and len(set(places)) == len(places):
        return Processed(documents, places)
    if len(documents) != len(rows):
        many = "drops" if len(documents) < len(rows) else "doubles"
        raise UserError(
            f"suite '{suite}': lm-eval task '{name}' {many} documents ({len(documents)} of {len(rows)} "
            f"come out), and which they are cannot be told; it cannot be used"
        )
    turned = _made(suite, name, rows.select(range(len(rows) - 1, -1, -1)), docs)
    if not _is_turned(documents, turned):
        raise UserError(
            f"suite '{suite}': lm-eval task '{name}' puts documents in another order, and which they are "
            f"cannot be told; it cannot be used"
        )
    return Processed(documents, places)


def _made(suite: str, name: str, rows: datasets.Dataset, docs: Docs) -> datasets.Dataset:
    """What a task's function makes of rows.

    Raises:
        UserError: it raises, or makes no documents.
    """
    try:
        with quiet(), lm_eval_seeds():
            found: Any = docs(rows)
        if not isinstance(found, datasets.Dataset):  # (lm-eval breaks on lists)
            raise TypeError(f"it returns a {type(found).__name__}")
        return found
    except Exception as error:  # noqa: BLE001  (a function of the user's)
        reason = f"{type(error).__name__}: {one_line(str(error))}"
        raise UserError(
            f"suite '{suite}': process_docs of lm-eval task '{name}' makes no documents of a split ({reason}); it is "
            f"given a datasets.Dataset, and returns one"
        ) from None


def _is_turned(documents: datasets.Dataset, turned: datasets.Dataset) -> bool:
    """Whether a task makes the same of the rows, in their order, when they come the other way round."""
    ours, theirs = (
        [json.dumps(document, sort_keys=True, default=str) for document in found]
        for found in (documents, turned)
    )
    return ours == theirs[::-1]


@contextlib.contextmanager
def lm_eval_seeds() -> Iterator[None]:
    """Within this, what a task draws is drawn as in any other process."""
    before, numpys = random.getstate(), np.random.get_state()
    random.seed(_RANDOM_SEED)
    np.random.seed(_NUMPY_SEED)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpys)
