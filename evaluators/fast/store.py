"""Answers of earlier candidates, per document; bounded, shared by workers, kept across restarts.

The file has one JSON object per line, and is only ever appended to, in one write per evaluation;
when it has grown to several times its content it is replaced at once. A line that cannot be read
costs a draft, never an answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)

Answer = tuple[int, ...]


class DraftStore:
    """The last few different answers to every document.

    Args:
        path: where they are kept; None keeps them in memory only.
        answers_each: different answers that are kept per document.
        most_tokens: tokens of all answers together; the documents longest unused go first.
    """

    def __init__(
        self, path: Path | None = None, *, answers_each: int = 8, most_tokens: int = 4_000_000
    ) -> None:
        self._path = path
        self._answers_each = answers_each
        self._most_tokens = most_tokens
        self._answers: OrderedDict[str, list[Answer]] = OrderedDict()
        self._tokens = 0
        self._read_to = 0
        self._inode = 0
        self._lines = 0
        self._fresh: list[str] = []
        self.refresh()

    def __len__(self) -> int:
        return len(self._answers)

    def answers(self, key: str) -> list[Answer]:
        """Earlier answers to a document, the most recent first."""
        return self._answers.get(key, [])

    def add(self, key: str, answer: Sequence[int]) -> bool:
        """Remember an answer; False where it is known. `save` writes it down."""
        if not self._insert(key, tuple(answer)):
            return False
        self._fresh.append(json.dumps({"document": key, "answer": list(answer)}))
        return True

    def save(self) -> None:
        """Append what is new to the file."""
        fresh, self._fresh = self._fresh, []
        if self._path is None or not fresh:
            return
        try:
            self.refresh()
            # A line that another process left unfinished ends before ours begins.
            text = "".join(f"\n{line}\n" for line in fresh).encode()
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(handle, text)
            finally:
                os.close(handle)
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
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode:
                    self._inode, self._read_to, self._lines = inode, 0, 0
                file.seek(self._read_to)
                text = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("%s: drafts start empty (%s)", self._path, error.strerror)
            self._path = None
            return
        text = text[: text.rfind(b"\n") + 1]  # the rest is not yet written to its end
        self._read_to += len(text)
        damaged = self._take(text.split(b"\n"))
        if damaged:
            _log.warning("%s: %d damaged lines of drafts are left out", self._path, damaged)

    def _take(self, lines: Iterable[bytes]) -> int:
        """Insert lines of the file; how many are damaged."""
        damaged = 0
        for line in lines:
            if not line:
                continue
            self._lines += 1
            try:
                found = json.loads(line)
                key, answer = found["document"], tuple(found["answer"])
                whole = isinstance(key, str) and all(type(t) is int and t >= 0 for t in answer)
            except (ValueError, KeyError, TypeError, RecursionError):
                whole = False
            if whole:
                self._insert(key, answer)
            else:
                damaged += 1
        return damaged

    def _insert(self, key: str, answer: Answer) -> bool:
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

    def _replace(self) -> None:
        """Write the whole store anew; appends of that moment are lost to it, not to their writer."""
        assert self._path is not None
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        lines = [
            json.dumps({"document": key, "answer": list(answer)})
            for key, answers in self._answers.items()
            for answer in reversed(answers)
        ]
        beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        beside.replace(self._path)
        status = self._path.stat()
        self._inode, self._read_to, self._lines = status.st_ino, status.st_size, len(lines)


def document_key(tokens: Sequence[int], until: Sequence[str], most: int) -> str:
    """Name of a document: its prompt and what ends its answer."""
    digest = hashlib.blake2b(array("q", tokens).tobytes(), digest_size=12)
    digest.update(json.dumps([list(until), most]).encode())
    return digest.hexdigest()
