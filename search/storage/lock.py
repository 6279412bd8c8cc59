"""Locks among the workers of one study: one proposes at a time, one proves.

A lock belongs to a process and is freed when the process ends, however it ends: a file lock by the
kernel, an advisory lock by PostgreSQL when the connection closes. Nothing is left to clean up.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from exme.tasks import UserError

from .patience import Patience
from .read_only import lock_folder

if TYPE_CHECKING:
    from sqlalchemy import Connection

# How often a lock that another holds is tried again, in seconds: from the first to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.5

# PostgreSQL notices within a minute that a holder's machine is gone, not after two hours.
_KEEPALIVES = ("idle = 30", "interval = 10", "count = 3")


class Locks(Protocol):
    """Named locks of one study."""

    def hold(
        self, name: str, waiting: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        """Hold a lock for the length of a block.

        Args:
            name: e.g. ``propose``; holders of different names do not meet. Not reentrant.
            waiting: called once when another holds it.
        """
        ...


class FileLocks:
    """Locks of workers on one machine, or of machines whose shared folder has working `flock`.

    Args:
        folder: where the lock files go; they stay behind, empty and free.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def hold(self, name: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """See `Locks`."""
        import fcntl  # noqa: PLC0415  (not on Windows)

        path = self.folder / f".{name}.lock"
        try:
            stream = path.open("a", encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"{path}: cannot be written ({error.strerror}); workers need a folder they can lock"
            ) from None
        with stream:

            def attempt() -> bool:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                return True

            wait_for(attempt, waiting)
            yield  # closing the file frees the lock


class PostgresLocks:
    """Locks in the database that holds the study, for workers on many machines.

    Session-level advisory locks: they need a connection of their own, so they do not work through a
    pooler that shares connections between clients (pgbouncer in transaction mode).

    Args:
        url: SQLAlchemy URL.
        study: the study's name; studies do not wait for each other.
        patience: how to wait while the database is away.
    """

    def __init__(self, url: str, study: str, patience: Patience) -> None:
        from sqlalchemy import create_engine  # noqa: PLC0415  (slow, and SQLite needs none of it)

        self.study, self.patience = study, patience
        self._engine = create_engine(
            url, isolation_level="AUTOCOMMIT", pool_pre_ping=True, pool_size=1, max_overflow=3
        )

    @contextmanager
    def hold(self, name: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """See `Locks`."""
        from sqlalchemy import text  # noqa: PLC0415
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        key = {"key": lock_key(self.study, name)}
        connection = self.patience.call(lambda _: self._acquire(key, waiting))
        try:
            yield
        finally:
            try:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
            except SQLAlchemyError:
                connection.invalidate()  # the lock went with the connection
            finally:
                connection.close()

    def _acquire(self, key: dict[str, int], waiting: Callable[[], None] | None) -> Connection:
        from sqlalchemy import text  # noqa: PLC0415

        connection = self._engine.connect()
        try:
            for setting in _KEEPALIVES:
                connection.execute(text(f"SET tcp_keepalives_{setting}"))
            query = text("SELECT pg_try_advisory_lock(:key)")
            wait_for(lambda: bool(connection.execute(query, key).scalar()), waiting)
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        return connection


def wait_for(attempt: Callable[[], bool], waiting: Callable[[], None] | None = None) -> None:
    """Try until it works, ever more rarely; `waiting` is called once when the first try fails."""
    pause = FIRST_PAUSE
    while not attempt():
        if waiting is not None:
            waiting()
            waiting = None
        time.sleep(pause)
        pause = min(LONGEST_PAUSE, 1.5 * pause)


def lock_key(study: str, name: str) -> int:
    """A signed 64-bit key, which is what PostgreSQL names advisory locks by."""
    digest = hashlib.sha256(f"exme:{study}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def folder_lock(folder: Path, name: str) -> AbstractContextManager[None]:
    """Hold a lock of a folder of runs, for the length of a block."""
    return FileLocks(lock_folder(folder)).hold(name)


def locks_for(url: str, study: str, folder: Path, patience: Patience) -> Locks:
    """The locks that fit a storage: in PostgreSQL itself, else files in the run's folder."""
    if url.startswith("postgresql"):
        return PostgresLocks(url, study, patience)
    return FileLocks(lock_folder(folder))
