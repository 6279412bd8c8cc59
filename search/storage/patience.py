"""Waiting for a database that is away, and telling that apart from trouble that waiting cannot end."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from exme.tasks import UserError

T = TypeVar("T")

# Seconds between tries, from the first to the longest, and after which nobody waits any more.
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_WAIT = 0.5, 10.0, 3600.0
# The same once the process was asked to stop: a busy database is waited for, one that is away is not.
LAST_WAIT = 3.0

# That this process was asked to stop.
_hurried = threading.Event()

# What SQLite and PostgreSQL say when it is the disk: (words of the message, what to tell).
_DISK = {
    "is full": "the disk is full; free space on it",
    "disk i/o error": "the disk does not take what is written; is it full, or over a quota?",
    "no space left": "the disk is full; free space on it",
    "readonly database": "it may not be written",
    "read-only": "it may not be written",
    "not a database": "the file is no SQLite database (any more)",
    "malformed": "the database file is damaged",
    "unable to open": "the file cannot be opened; is its folder still there, and may it be written?",
    "no such table": "its tables are gone; was the file replaced?",
}
# Begin of a PostgreSQL error code (SQLSTATE) that waiting may end: no connection, a server that
# stops or starts, too many clients, a deadlock.
_PASSING = ("08", "57P", "533", "40")


def hide_secrets(text: str) -> str:
    """A text without the passwords of the URLs in it."""
    # To the last @ of the word: a password may hold a slash or an @ of its own.
    hidden = re.sub(r"(?<![\w+.-])(\w[\w+.-]{0,40}://[^\s:/@]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)(password|passwd|pwd|token|secret)=[^\s&;'\"]+", r"\1=***", hidden)


def hurry(*, hurried: bool = True) -> None:
    """Wait for no database any more, for a person wants this process to end; or as long as ever again."""
    if hurried:
        _hurried.set()
    else:
        _hurried.clear()


class Patience:
    """Calls into a storage until it answers.

    Args:
        what: what error messages call the storage.
        say: where "waiting" and "answers again" go.
        returned: called when the storage answers again.
        longest: seconds to wait at most; 0 is no patience at all.
    """

    def __init__(
        self,
        what: str,
        say: Callable[[str], None],
        returned: Callable[[], None] = lambda: None,
        longest: float = LONGEST_WAIT,
    ) -> None:
        self.what, self.say, self.returned, self.longest = what, say, returned, longest
        self._said = threading.Event()  # the heart and the worker say it once between them

    def call(self, work: Callable[[int], T]) -> T:
        """Call `work` with the number of the try, from 0, until it returns.

        Raises:
            UserError: the storage cannot be written, or stayed away for too long.
        """
        begin, pause, attempt = time.monotonic(), FIRST_PAUSE, 0
        while True:
            try:
                result = work(attempt)
            except Exception as error:
                reason = absence(error)
                waited = time.monotonic() - begin
                longest = min(self.longest, LAST_WAIT) if _hurried.is_set() else self.longest
                if not reason or not longest or (_hurried.is_set() and waited > longest):
                    self._explain(error)
                    raise
                if waited > longest:
                    raise UserError(
                        f"{self.what} has not answered for {waited / 60:.0f} minutes ({reason}); "
                        f"when it is back, the same command resumes"
                    ) from None
                if attempt == 1 and not self._said.is_set():  # (not for a busy database's blink)
                    self._said.set()
                    self.say(f"{self.what} does not answer ({reason}); waiting for it.")
            else:
                if attempt > 1 and self._said.is_set():
                    self._said.clear()
                    self.say(f"{self.what} answers again after {time.monotonic() - begin:.0f} s.")
                if attempt:
                    self.returned()
                return result
            attempt += 1
            if _hurried.is_set():
                time.sleep(FIRST_PAUSE)
            else:
                _hurried.wait(pause)
            pause = min(LONGEST_PAUSE, 1.6 * pause)

    def _explain(self, error: Exception) -> None:
        for cause in causes(error):
            text = str(cause).lower()
            for words, remedy in _DISK.items():
                if is_database_error(cause) and words in text:
                    raise UserError(
                        f"{self.what} cannot be written: {remedy}. Nothing that was finished is "
                        f"lost; the same command resumes"
                    ) from None


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def is_database_error(error: BaseException) -> bool:
    """Whether SQLAlchemy raised it."""
    module = sys.modules.get("sqlalchemy.exc")
    return module is not None and isinstance(error, module.SQLAlchemyError)


def absence(error: BaseException) -> str:
    """Why a storage does not answer, in a few words; empty for all other trouble."""
    for cause in causes(error):
        if not is_database_error(cause):
            continue
        exceptions = sys.modules["sqlalchemy.exc"]
        original = getattr(cause, "orig", None)
        state = getattr(original, "sqlstate", None)
        lost = getattr(cause, "connection_invalidated", False)
        if state is not None:
            passing = lost or state.startswith(_PASSING)
        elif "sqlite" in type(original).__module__:
            passing = "is locked" in str(original) or "is busy" in str(original)
        elif isinstance(cause, exceptions.TimeoutError):  # of the pool of connections
            passing = True
        else:
            wrong = isinstance(cause, exceptions.OperationalError | exceptions.InterfaceError)
            passing = lost or (wrong and "authentication failed" not in str(original))
        if passing:
            return hide_secrets(" ".join(str(original or cause).split()))[:120]
    return ""
