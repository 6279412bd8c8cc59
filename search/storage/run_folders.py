"""Where the run of a study is kept: one folder for a study and its suites, and one for each of its forks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# The storage of a run that has no other.
DATABASE = "study.db"


def run_folder(runs: Path, study: str, task: str) -> Path:
    """The folder of a run.

    Args:
        runs: folder of all runs.
        task: its suites, parted by commas, or ``all``.
    """
    return runs / f"{study}-{task.replace(',', '+')}"


def forks(folder: Path) -> Iterator[Path]:
    """Where the run may be that was begun as a study says now: its own folder, then ``-fork1``, ``-fork2``, ... without end."""
    yield folder
    number = 0
    while True:
        number += 1
        yield folder.with_name(f"{folder.name}-fork{number}")


def latest(folder: Path) -> Path:
    """The folder of a run, or of the last of its forks."""
    found = folder
    for place in forks(folder):
        if place != folder and not place.is_dir():
            return found
        found = place
    return found


def folders_with_a_database(runs: Path) -> list[Path]:
    """Folders of runs that have a storage of their own."""
    return sorted(database.parent for database in runs.glob(f"*/{DATABASE}"))
