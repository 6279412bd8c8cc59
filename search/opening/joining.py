"""Joining a study: beginning it, taking it up again, or forking it when its file has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from exme.search.storage import DATABASE, Storage, StudyChanged, forks, sqlite_url
from exme.search.trials import Way
from exme.tasks import SuiteDocuments, UserError


def join_study(
    folder: Path,
    url: str | None,
    pinned: Mapping[str, object],
    documents: Sequence[SuiteDocuments],
    *,
    where: str,
    say: Callable[[str, str], None],
    fork: bool = False,
    directions: Sequence[Way] = ("maximize",),
) -> tuple[Path, Storage]:
    """The study of a run's folder, or the first of its forks, that was begun as this one says.

    Any number of processes may join at once; a lock has one of them begin the study.

    Args:
        folder: the run's folder; its forks are ``<folder>-fork1``, ``<folder>-fork2``, ...
        url: of the storage; None is an SQLite file in the folder.
        pinned: what decides the study's scores.
        where: what error messages call the study file.
        say: writes a line in a style.
        fork: begin a new study where none was begun as this one says.
        directions: of each value of a trial, as Optuna calls them.
    Returns:
        The folder of the study that was joined, and the study.
    Raises:
        StudyChanged: the study was begun otherwise, names what differs; so were all its forks.
        UserError: the folder cannot be made, or its database is gone.
    """
    refusal = None
    for place in forks(folder):
        if refusal is not None and not fork and not place.is_dir():
            break
        try:
            place.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{place}: the run's folder cannot be made ({error}); give another with --runs"
            ) from None
        if url is None:
            _refuse_without_trials(place)
        storage = Storage(
            url or sqlite_url(place),
            place.name,
            place,
            lambda line: say(line, "yellow"),
            directions,
        )
        try:
            with storage.hold("open"):
                storage.record.pin(pinned, path=where)
                for found in documents:
                    for split in ("search", "report"):
                        ids = tuple(d.id for d in found.of(split))
                        storage.record.set_documents(found.suite.suite, split, ids)
        except StudyChanged as error:
            refusal = refusal or error
            continue
        if place != folder:
            say(f"This is study {place.name}: {folder.name} was begun otherwise.", "")
        return place, storage
    assert refusal is not None
    raise refusal


def _refuse_without_trials(place: Path) -> None:
    """Refuse a run's folder whose database is gone: its report would be replaced by one of nothing."""
    report, database = place / "report.md", place / DATABASE
    if report.is_file() and not database.exists():
        raise UserError(
            f"{place}: has a report, and {database.name}, which holds its trials, is gone; put it back, or remove the "
            f"folder to begin anew"
        )
