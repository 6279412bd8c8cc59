"""Which use of a set of report documents a proof is.

Every proof on the same documents is another chance for a lucky result, whichever study makes it: a fork, a study of another
name, another seed. Uses are therefore counted per set of documents, over all studies in a folder of runs (``uses.jsonl``
there, a line a use; a run's folder has its own lines once more, which go with it when it is copied) and in a storage. A use is written down before its candidate is scored. `gain.share_of_error` says what
each may spend.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exme.search.racing import Goal
from exme.search.storage import StoredStudy, folder_lock
from exme.tasks import Document, SuiteDocuments, UserError

LEDGER = "uses.jsonl"


@dataclass(frozen=True)
class Use:
    """A proof of one candidate.

    Attributes:
        test: what is tested: digest of the candidate, of how it is evaluated and of the goal; see `key_of`.
        documents: `digest_of` the report documents of each suite.
        order: one more than the highest known when it was begun; machines' clocks need not agree.
        study: name of the study.
    """

    test: str
    documents: tuple[str, ...]
    order: int
    study: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` is the inverse."""
        return {
            "test": self.test,
            "documents": list(self.documents),
            "order": self.order,
            "study": self.study,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Use:
        """Inverse of `to_json`."""
        return cls(
            str(data["test"]),
            tuple(map(str, data["documents"])),
            int(data["order"]),
            str(data["study"]),
        )


def key_of(candidate: str, evaluation: Mapping[str, Any], goal: Goal) -> str:
    """What a proof tests: the same candidate with other prompts, another metric or another goal is another test.

    Args:
        candidate: its digest, which tells the models it is made of, too.
        evaluation: what decides its scores.
        goal: what is maximised.
    """
    named = [candidate, evaluation, list(goal.weights), goal.kind, goal.tail]
    text = json.dumps(named, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def claim_comparison(
    keys: Sequence[str],
    documents: Sequence[SuiteDocuments],
    runs: Path,
    stored: StoredStudy | None = None,
) -> int:
    """Write a comparison of models down as a use of the report documents, before it is made, and say which it is.

    Args:
        keys: of the models: all that decides their scores.
        documents: of each suite.
        runs: the folder of runs.
        stored: a study whose storage counts uses, too.
    """
    test = _test_of(keys)
    with stored.hold_all("uses", runs) if stored else folder_lock(runs, "uses"):
        written = stored.uses() if stored else []
        known = [*map(Use.from_json, written), *read_ledger(runs)]
        mine = next((use for use in known if use.test == test), None)
        use = mine or new_use(test, documents, "compare", known)
        if stored:
            stored.record.claim_use(test, use.to_json())
        write_ledger(runs, use)
        return number_of(use, known)


def use_of_comparison(keys: Sequence[str], runs: Path, stored: StoredStudy) -> int:
    """Which use a comparison is that was written down; the first where none was.

    Args: see `claim_comparison`.
    """
    test = _test_of(keys)
    known = [*map(Use.from_json, stored.uses()), *read_ledger(runs)]
    mine = next((use for use in known if use.test == test), None)
    return 1 if mine is None else number_of(mine, known)


def _test_of(keys: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(["compare", *sorted(keys)]).encode()).hexdigest()[:16]


def new_use(test: str, suites: Sequence[SuiteDocuments], study: str, known: Iterable[Use]) -> Use:
    """A use that begins after all that are known."""
    order = 1 + max((use.order for use in known), default=0)
    return Use(test, tuple(digest_of(s.report) for s in suites), order, study)


def digest_of(documents: Iterable[Document]) -> str:
    """SHA-256 over what a set of documents says, in whatever order it is."""
    each = sorted(
        json.dumps([d.task, d.row], sort_keys=True, default=str, ensure_ascii=False)
        for d in documents
    )
    return hashlib.sha256("\n".join(each).encode("utf-8", "surrogatepass")).hexdigest()


def number_of(use: Use, others: Iterable[Use]) -> int:
    """Which use of its documents it is, 1 the first: a use of any suite's documents counts.

    Args:
        use: of one test.
        others: all that are known, itself among them or not; one test counts once.
    """
    mine = set(use.documents)
    first: dict[str, int] = {}
    for other in (*others, use):
        if mine & set(other.documents):
            first[other.test] = min(other.order, first.get(other.test, other.order))
    order = sorted(first, key=lambda test: (first[test], test))
    return 1 + order.index(use.test)


def read_ledger(runs: Path) -> list[Use]:
    """The uses written down in a folder of runs and in its runs; lines that cannot be read are passed over."""
    files = [runs / LEDGER, *sorted(runs.glob(f"*/{LEDGER}"))]
    return list(dict.fromkeys(use for file in files for use in _written(file)))


def _written(file: Path) -> Iterator[Use]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield Use.from_json(json.loads(line))
        except (ValueError, TypeError, KeyError):  # e.g. cut off by a full disk
            continue


def write_ledger(runs: Path, use: Use) -> None:
    """Write a use down in a folder of runs, unless its test's use of these documents is there.

    Raises:
        UserError: the folder cannot be written.
    """
    own = runs / use.study
    for path in (runs / LEDGER, *([own / LEDGER] if own.is_dir() else [])):
        if (use.test, use.documents) not in {(u.test, u.documents) for u in _written(path)}:
            _append(path, use)


def _append(path: Path, use: Use) -> None:
    try:
        whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
        line = (
            "\n" * (not whole) + json.dumps(use.to_json()) + "\n"
        )  # (one that was cut off ends before it)
        # One write at the file's end, so that lines of several processes do not mix.
        place = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(place, line.encode())
        finally:
            os.close(place)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); uses of report documents are counted there"
        ) from None
