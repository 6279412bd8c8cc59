"""A search as its storage holds it: for all that shows or hands out what was found.

No model is opened and nothing is written. It can be read when the study file was edited since, and when the models have moved: what
the study said when its search was begun is kept with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from exme.search.merging import Candidate
from exme.search.merging.methods import PLAIN
from exme.search.opening import input_alone, settle_objective, settled_of, study_of
from exme.search.proof import (
    Example,
    LeftOut,
    Outcome,
    also_of,
    examples_of,
    left_out,
    proved,
    training_curve,
    use_of,
)
from exme.search.proposing import History, Settled
from exme.search.storage import DATABASE, StoredStudy, latest, run_folder, sqlite_url, study_names
from exme.search.study import StudyFile, as_now, load_study_file, pick_suites, unit
from exme.search.trials import TrialRecord
from exme.tasks import SuiteDocuments, UserError, did_you_mean, load_suite

from .blind import is_of_blind
from .view import View, view_of

if TYPE_CHECKING:
    from exme.search.merging.sources import Sources

RUNS = Path("studies/runs")
OLDER = (
    "Begun by another version of ExMe: what its trials scored in part cannot be read, "
    "and it cannot be gone on with (--fork begins a new study next to it)."
)


class StoredSearch:
    """A search that can be read.

    Args:
        study: as it was when the search was begun.
        name: of the study.
        task: suites that are searched on, parted by ``+``.
        folder: of the run.
        storage: of the run.
        settled: before the first trial.
        where: what error messages call the study file.
    """

    def __init__(
        self,
        study: StudyFile,
        name: str,
        task: str,
        folder: Path,
        storage: StoredStudy,
        settled: Settled,
        where: str = "study",
    ) -> None:
        self.study, self.name, self.task, self.where = study, name, task, where
        self.folder, self.settled = folder, settled
        self.storage: StoredStudy = storage

    # What was found ------------------------------------------------------------------------------

    def history(self) -> History:
        """All trials so far."""
        return self.storage.history(self.settled)

    @property
    def trials(self) -> Sequence[TrialRecord]:
        """All trials so far, in order of their numbers."""
        return self.history().trials

    def candidate(self, coefficients: Mapping[str, float]) -> Candidate:
        """The plain sum with these effective coefficients, 0 of those left out.

        Raises:
            UserError: a name is not one of the study's checkpoints or directions.
        """
        names, method = self.settled.plan.method.checkpoints, self.settled.plan.method.name
        for name in coefficients:
            if name not in names:
                raise UserError(
                    f"candidate: '{name}' is not among the checkpoints (have: {', '.join(names)}){did_you_mean(name, names)}"
                )
        return Candidate(
            coefficients={name: coefficients.get(name, 0.0) for name in names},
            method=method if method in PLAIN else "task_arithmetic",
            dtype=self.settled.dtype,
            sources=self.settled.sources,
        )

    def inputs(self) -> dict[str, Candidate]:
        """The base and every checkpoint, as candidates; those of a training run that were dropped at the end."""
        if self.settled.halving is not None:
            return dict(self.settled.halving.candidates)
        names, run = self.settled.plan.method.checkpoints, self.study.training_run
        known = self.storage.record.pinned().get("content of the checkpoints", {})
        return {
            "base": self.candidate(dict.fromkeys(names, 0.0)),
            **{name: self.candidate(unit(names, name)) for name in self.study.checkpoints},
            **{n: input_alone(n, known, self.settled.dtype) for n in (run.dropped if run else ())},
        }

    def outcome(self) -> Outcome:
        """All that is in the storage."""
        history, record = self.history(), self.storage.record
        inputs, spared = self.to_prove()
        found = proved(self.storage, history.trials, inputs, self.folder.parent)
        outcome = Outcome(
            study=self.name,
            task=self.task,
            bounds=history.bounds,
            trials=tuple(history.trials),
            winner=found.winner,
            inputs=found.inputs,
            merged=found.merged,
            use=found.use,
            names=tuple(inputs),
            dropped=self._dropped,
            left_out=spared,
            curve=training_curve(
                self.study.training_run,
                self.inputs(),
                history.trials,
                self.storage.trials(),
                self.settled.objective,
            ),
            aim=self.settled.objective.goal,
            blind=tuple(note for note in record.notes() if is_of_blind(note)),
            importance=self.storage.importance(),
            work=self.storage.work(),
            facts=self.facts(),
        )
        return replace(outcome, also=also_of(outcome, self.storage, self.folder.parent))

    @property
    def _dropped(self) -> tuple[str, ...]:
        run = self.study.training_run
        return () if run is None else tuple(run.dropped)

    def to_prove(self) -> tuple[dict[str, Candidate], tuple[LeftOut, ...]]:
        """The inputs that a proof scores, and the dropped ones that it leaves out."""
        inputs = self.inputs()
        if not self._dropped:
            return inputs, ()
        use = use_of(self.storage, self.trials, inputs, self.folder.parent)
        spared = left_out(self.storage.trials(), self._dropped, use)
        return {n: c for n, c in inputs.items() if n not in {s.name for s in spared}}, spared

    def facts(self) -> Mapping[str, str]:
        """What is needed to repeat the search, as it was when it ran last."""
        found: Mapping[str, str] = self.storage.record.description().get("facts", {})
        return found

    @cached_property
    def documents(self) -> list[SuiteDocuments]:
        """Of each suite.

        Raises:
            UserError: they cannot be loaded any more.
        """
        from exme.search.opening import load_study_documents  # noqa: PLC0415  (loads torch)

        suites = pick_suites(self.study, self.task.replace("+", ","), self.where)
        return [load_study_documents(self.study, suite) for suite in suites]

    @cached_property
    def sources(self) -> Sources:
        """The base, the checkpoints and the task vectors of directions.

        Raises:
            UserError: one of them is not where the study says.
        """
        from exme.search.merging.sources import Sources  # noqa: PLC0415
        from exme.search.opening import open_sources, vectors_in  # noqa: PLC0415

        found = open_sources(self.study)
        vectors = vectors_in(self.folder, self.study.directions, found.base)
        return Sources(found.base, {**found.checkpoints, **vectors}) if vectors else found

    def examples(self, outcome: Outcome) -> list[Example]:
        """Report documents won and lost against the best input, with both answers; none where documents cannot be loaded."""
        try:
            return examples_of(outcome, self.documents, self.folder)
        except UserError:
            return []

    def view(self) -> View:
        """The search as it is now."""
        record = self.storage.record
        view = view_of(self.study, self.folder.name, self.trials, self.storage)
        return view if record.is_older else replace(view, verdict=self.outcome().verdict)

    @property
    def report(self) -> Path | None:
        """The report, where it has been written."""
        path = self.folder / "report.html"
        return path if path.is_file() else None

    @property
    def note(self) -> str:
        """What to know of it beside its view; empty where there is nothing."""
        if self.storage.record.is_older:
            return OLDER
        return f"Report: {self.report}" if self.report else ""


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
