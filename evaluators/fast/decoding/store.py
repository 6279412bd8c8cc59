"""Answers of earlier candidates, per document; bounded, shared by workers, kept across restarts.

The file has one JSON object per line. Every worker of a study appends to it, in one write per
evaluation, and reads what the others have appended. When it has grown to several times its content
one of them replaces it. No worker waits for another: what goes wrong between them, or is cut off by
a kill, costs a line, that is a draft, never an answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

_log = logging.getLogger(__name__)

Answer = tuple[int, ...]


class DraftStore:
    """The last few different answers to every document.

    Args:
        path: where they are kept; None keeps them in memory only.
        answers_each: different answers that are kept per document.
        most_tokens: tokens of all answers together, four bytes each; the documents longest unused
            go first.
    """

    def __init__(
        self, path: Path | None = None, *, answers_each: int = 8, most_tokens: int = 4_000_000
    ) -> None:
        self._path = path
        self._answers_each = answers_each
        self._most_tokens = most_tokens
        self._answers: OrderedDict[str, list[array[int]]] = OrderedDict()
        self._tokens = 0
        self._file: BinaryIO | None = None  # stays open, so that no other file gets its number
        self._lines = 0
        self._fresh: list[str] = []
        self.refresh()

    def __len__(self) -> int:
        return len(self._answers)

    def answers(self, key: str) -> list[Answer]:
        """Earlier answers to a document, the most recent first."""
        return [tuple(answer) for answer in self._answers.get(key, ())]

    def add(self, key: str, answer: Sequence[int]) -> bool:
        """Remember an answer; False where it is known. `save` writes it down."""
        if not self._insert(key, array("i", answer)):
            return False
        self._fresh.append(_line(key, answer))
        return True

    def save(self) -> None:
        """Append what is new to the file."""
        fresh, self._fresh = self._fresh, []
        if self._path is None or not fresh:
            return
        try:
            self._append("".join(fresh).encode())
            self.refresh()
            if self._lines > 1000 + 4 * sum(map(len, self._answers.values())):
                self._replace()
        except OSError as error:
            _log.warning("%s: drafts are not kept (%s)", self._path, error.strerror)
            self._path = None

    def refresh(self) -> None:
        """Read what this or another worker has appended."""
        if self._path is None:
            return
        try:
            self._open()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("%s: drafts start empty (%s)", self._path, error.strerror)
            self._path = None
            return
        damaged = self._take(self._appended())
        if damaged:
            _log.warning("%s: %d damaged lines of drafts are left out", self._path, damaged)

    def _open(self) -> None:
        """Have the file open, the one that stands at the path now."""
        assert self._path is not None
        status = self._path.stat()
        if self._file is not None:
            mine = os.fstat(self._file.fileno())
            same = (mine.st_dev, mine.st_ino) == (status.st_dev, status.st_ino)
            if same and status.st_size >= self._file.tell():
                return
            self._file.close()  # another worker has replaced it, or someone has cut it short
        self._file = self._path.open("rb")
        self._lines = 0

    def _appended(self) -> Iterator[bytes]:
        """Lines from where reading stopped; a last one without an end is left for later."""
        assert self._file is not None
        while True:
            start = self._file.tell()
            line = self._file.readline()
            if not line.endswith(b"\n"):
                self._file.seek(start)
                return
            if line != b"\n":
                yield line

    def _take(self, lines: Iterable[bytes]) -> int:
        """Insert lines of the file; how many are damaged."""
        damaged = 0
        for line in lines:
            self._lines += 1
            try:
                found = json.loads(line)
                key, tokens = found["document"], found["answer"]
                if not isinstance(key, str) or not all(type(t) is int and t >= 0 for t in tokens):
                    raise ValueError("no document and its answer")
                answer = array("i", tokens)
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                damaged += 1
            else:
                self._insert(key, answer)
        return damaged

    def _insert(self, key: str, answer: array[int]) -> bool:
        """Put an answer first among its document's; False where it was there."""
        known = self._answers.setdefault(key, [])
        self._answers.move_to_end(key)
        new = answer not in known
        if not new:
            known.remove(answer)
        known.insert(0, answer)
        if new:
            self._tokens += len(answer)
        for old in known[self._answers_each :]:
            self._tokens -= len(old)
        del known[self._answers_each :]
        while self._tokens > self._most_tokens and len(self._answers) > 1:
            _, dropped = self._answers.popitem(last=False)
            self._tokens -= sum(map(len, dropped))
        return new

    def _append(self, lines: bytes) -> None:
        assert self._path is not None
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            # A line that another process left unfinished ends before ours begin.
            os.write(handle, b"\n" + lines)
        finally:
            os.close(handle)

    def _replace(self) -> None:
        """Write the whole store anew, with what others append to the old file meanwhile.

        Who had the old file open as it was replaced, and writes only then, loses that to the file.
        """
        assert self._path is not None
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            with beside.open("w", encoding="utf-8") as file:
                for key, answers in self._answers.items():
                    file.writelines(_line(key, answer) for answer in reversed(answers))
            beside.replace(self._path)
            if late := list(self._appended()):  # the file that is open is still the old one
                self._append(b"".join(late))
        finally:
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()
        # What others have appended since stands behind our lines; these are read again, and known.
        self.refresh()


def _line(key: str, answer: Sequence[int]) -> str:
    return json.dumps({"document": key, "answer": list(answer)}, separators=(",", ":")) + "\n"


def document_key(tokens: Sequence[int], until: Sequence[str], most: int) -> str:
    """Name of a document: its prompt and what ends its answer."""
    digest = hashlib.blake2b(array("q", tokens).tobytes(), digest_size=12)
    digest.update(json.dumps([list(until), most]).encode())
    return digest.hexdigest()
