"""Finding a search that was begun: by its study file, or by its run's folder."""

from __future__ import annotations

from pathlib import Path

from exme.search.opening import settle_objective, settled_of, study_of
from exme.search.storage import DATABASE, StoredStudy, latest, run_folder, sqlite_url, study_names
from exme.search.study import StudyFile, as_now, load_study_file, pick_suites
from exme.tasks import UserError, load_suite

from .stored_search import RUNS, StoredSearch


def open_stored(study: Path, task: str | None = None, runs: Path = RUNS) -> StoredSearch:
    """A search that was begun, to be read: the latest of a study and its forks.

    Args:
        study: the study file; or the run's folder, where the storage is in it.
        task: its suites, parted by commas, or ``all``; the study's first by default.
        runs: folder of all runs.

    Raises:
        UserError: the search was never begun, or cannot be read.
    """
    if (study / DATABASE).is_file():
        return _read(study, None, str(study))
    content: StudyFile | None = None
    refusal: UserError | None = None
    try:
        content = load_study_file(study)
        task = task or load_suite(content.suites[0]).suite
        pick_suites(content, task, str(study))
    except UserError as error:  # what it said when it was begun is in the storage
        refusal = error
    if task is None:
        raise refusal or UserError(f"{study}: names no suite; give --task")
    folder = latest(run_folder(runs, study.stem, task))
    url = None if content is None else content.storage
    if not url and not (folder / DATABASE).is_file():
        raise refusal or _not_begun(folder, study, task, str(runs))
    if url and folder.name not in study_names(url):
        raise refusal or _not_begun(folder, study, task, url)
    return _read(folder, content, str(study))


def _not_begun(folder: Path, study: Path, task: str, place: str) -> UserError:
    return UserError(
        f"study {folder.name}: not begun yet, in {place}; `exme search {study} --task {task}` begins it"
    )


def _read(folder: Path, content: StudyFile | None, where: str) -> StoredSearch:
    """The search in a run's folder.

    Args:
        folder: the run's.
        content: the study file as it is now, where it can be read.
        where: it is.
    """
    url = None if content is None else content.storage
    storage = StoredStudy(url or sqlite_url(folder), folder.name, folder)
    record = storage.record
    kept = record.description()
    if "study" in kept:
        content = StudyFile.model_validate(as_now(kept["study"])[0])
    if content is None:
        raise UserError(
            f"{folder}: was begun by an earlier version of ExMe, which kept no study with it; give the study file"
        )
    content = study_of(content, record)
    sizes = {suite: len(record.identifiers(suite, "search")) for suite in record.suites()}
    objective = settle_objective(content, sizes, list(content.checkpoints)) if sizes else None
    if objective is None:  # (another version's)
        suites = {load_suite(name).suite: 0 for name in content.suites}
        objective = settle_objective(content, suites, list(content.checkpoints))
    pinned = record.pinned()
    settled = settled_of(
        content,
        record,
        objective,
        kept.get("groups", ()),
        record.agreed("directions"),
        {suite: record.identifiers(suite, "search") for suite in sizes},
        str(pinned.get("dtype", "")),
        pinned.get("content of the checkpoints", {}) | kept.get("sources", {}),
    )
    name = kept.get("name", folder.name)
    return StoredSearch(
        content, name, kept.get("task", "+".join(sizes)), folder, storage, settled, where
    )
