"""Folders that cannot be written: a database there is read from a copy, for SQLite writes even to read.

Whoever reads so takes locks that nobody else sees; a search refuses such a folder before it begins.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path

from exme.tasks import UserError

_SQLITE = "sqlite:///"


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder; one that is not there counts as such."""
    return not folder.is_dir() or os.access(folder, os.W_OK)


def check_writable(folder: Path) -> None:
    """Refuse a run's folder that cannot be written.

    Raises:
        UserError: it cannot.
    """
    if not is_writable(folder):
        raise UserError(
            f"{folder}: cannot be written, and a search keeps its trials there; give another with --runs"
        )


def reachable(url: str) -> str:
    """A storage's URL; that of a copy where it is an SQLite file in a folder that cannot be written."""
    file = Path(url.removeprefix(_SQLITE))
    if not url.startswith(_SQLITE) or not file.is_file() or is_writable(file.parent):
        return url
    return f"{_SQLITE}{copy_of(file)}"


def lock_folder(folder: Path) -> Path:
    """Where a folder's locks go: itself, or one of this process's where it cannot be written."""
    return folder if is_writable(folder) else _own_folder(folder)


@cache
def copy_of(file: Path) -> Path:
    """A copy of a database with all that was written to it, made once in this process."""
    copy = _own_folder(file.parent) / file.name
    try:  # as it is now, whoever writes to it
        with (
            contextlib.closing(
                sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
            ) as origin,
            contextlib.closing(sqlite3.connect(copy)) as found,
        ):
            origin.backup(found)
    except sqlite3.Error:  # nobody writes, and it cannot be opened where it is
        copy.unlink(missing_ok=True)
        shutil.copyfile(file, copy)
        journal = file.with_name(f"{file.name}-wal")
        if journal.is_file():
            shutil.copyfile(journal, copy.with_name(journal.name))
    return copy


_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # removed as the process ends


@cache
def _own_folder(_: Path) -> Path:
    _KEPT.append(tempfile.TemporaryDirectory(prefix="exme-"))
    return Path(_KEPT[-1].name)
