"""Notes and artifacts of trials for optuna-dashboard, written by the dashboard's process.

The search itself spends no time on them. Notes stand in the storage, artifacts in the run's folder.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exme.search.proof import Outcome
from exme.search.reports.pages import plane, plane_place, plane_svg
from exme.search.scoring import load_answers
from exme.search.storage import StoredStudy
from exme.search.study import alone
from exme.search.trials import (
    TrialRecord,
    best_inputs,
    best_known,
    best_trial,
    inputs_of,
    standing_of,
    standings,
)
from exme.tasks import SuiteDocuments

from .notes import Difference, documents_csv, paired, trial_note
from .study_note import study_note

if TYPE_CHECKING:
    from exme.search.running import StoredSearch

ARTIFACTS = "artifacts"
# Seconds after which trials that have ended are looked for again.
REFRESH = 3.0
# An artifact's name as people see it, the end of its name in the folder, and its type.
_KINDS = {
    "documents": ("scores by document.csv", "text/csv"),
    "plane": ("where it is.svg", "image/svg+xml"),
}
_NAMES = uuid.UUID("6d5f5e0a-5c39-4b5b-9a7e-3a9f7e1f0c11")
_UNFINISHED = ("running", "waiting")


class Annotator:
    """Annotates the trials of a search, in a thread of its own, until it is closed.

    Args:
        search: the search, open.
    """

    def __init__(self, search: StoredSearch) -> None:
        self.search = search
        self.folder = search.folder / ARTIFACTS
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exme-annotate", daemon=True)
        self.done = self._known()
        self._told: tuple[int, int, Path | None] | None = None  # what the study's note says

    def start(self) -> None:
        """Begin; what is maximised gets its name first."""
        names = list(self.search.settled.objective.names)
        self.search.storage.set_system_attribute("dashboard:objective_names", names)
        self._thread.start()

    def close(self) -> None:
        """Stop after the trial in hand."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(Exception):  # a note less: the dashboard goes on
                self.annotate()
            self._over.wait(REFRESH)

    def _known(self) -> set[int]:
        """Trials that have their notes already."""
        prefix = "dashboard:"
        ids = {
            int(parts[1])
            for key in self.search.storage.system_attributes()
            if key.startswith(prefix)
            and len(parts := key.split(":")) == 3
            and parts[2] == "note_ver"
        }
        return {t for t, trial_id in self.search.storage.trial_ids().items() if trial_id in ids}

    def annotate(self) -> int:
        """Annotate what has ended and has no note yet; the number of trials that got one."""
        search = self.search
        trials = search.trials
        new = [t for t in trials if t.state not in _UNFINISHED and t.number not in self.done]
        self._tell_study(len(trials) - len(new))
        if not new:
            return 0
        outcome = Outcome(search.name, search.task, {}, tuple(trials), best_trial(trials))
        drawn = plane(outcome)
        known = standings(trials)
        inputs = [alone(name) for name in search.study.checkpoints]
        best_input = best_inputs(inputs_of(known, trials, inputs))
        ids = search.storage.trial_ids()
        for trial in new[::-1]:  # the latest first: it is looked for
            if self._over.is_set():
                break
            before = best_known([t for t in trials if t.number < trial.number])
            found = differences(trial, before, search.documents, search.folder)
            standing, rival = (
                standing_of(known, t.candidate.digest) if t is not None and t.candidate else None
                for t in (trial, before)
            )
            note = trial_note(trial, standing, before, best_input, found, rival)
            files = {"documents": documents_csv(trial, before)} if trial.is_scored else {}
            if drawn is not None and trial.candidate is not None:
                files["plane"] = plane_svg(drawn, plane_place(outcome, trial), alone=True)
            self._write(trial.number, ids[trial.number], note, files)
            self.done.add(trial.number)
        return len(new)

    def _tell_study(self, known: int) -> None:
        """The study's own note, where the verdict is looked for; again when more is known.

        Args:
            known: trials that have their notes.
        """
        state = (known, len(self.search.storage.record.proofs()), self.search.report)
        if state != self._told:
            save_note(
                self.search.storage, None, study_note(self.search.outcome(), self.search.report)
            )
            self._told = state

    def _write(self, number: int, trial_id: int, note: str, files: dict[str, str]) -> None:
        self.folder.mkdir(exist_ok=True)
        for kind, text in files.items():
            name, mimetype = _KINDS[kind]
            # The dashboard's addresses take hexadecimal digits only.
            artifact = str(uuid.uuid5(_NAMES, f"{self.search.storage.name}/{number}/{kind}"))
            (self.folder / artifact).write_text(text, encoding="utf-8")
            meta = {
                "artifact_id": artifact,
                "filename": name,
                "mimetype": mimetype,
                "encoding": None,
            }
            self.search.storage.set_system_attribute(
                f"dashboard:artifacts:{trial_id}:{artifact}", json.dumps(meta)
            )
        save_note(self.search.storage, trial_id, note)


def save_note(storage: StoredStudy, trial_id: int | None, note: str) -> None:
    """Write a trial's note where optuna-dashboard looks for it, which one that has ended can have; None is the study's."""
    from optuna_dashboard._note import save_note_with_version  # noqa: PLC0415  (slow to import)

    save_note_with_version(storage.study._storage, storage.study._study_id, trial_id, 1, note)


def differences(
    trial: TrialRecord,
    incumbent: TrialRecord | None,
    documents: Sequence[SuiteDocuments],
    folder: Path,
) -> list[Difference]:
    """Search documents on which a trial and another differ, with both answers where they are kept here."""
    if trial.candidate is None or incumbent is None or incumbent.candidate is None:
        return []
    if not trial.is_scored:
        return []
    ours, theirs = (
        load_answers(folder, t.candidate.digest, "search")
        for t in (trial, incumbent)
        if t.candidate
    )
    found = []
    for number, i, x, y in paired(trial, incumbent):
        suite = documents[number]
        name = suite.suite.suite
        mine, other = ours.get(name, ()), theirs.get(name, ())
        if x != y and len(mine) == len(other) == len(suite.search):
            document = suite.search[i]
            question = "\n".join(map(str, suite.suite.question_of(document.row)))
            found.append(Difference(document.id, question, mine[i], other[i], x > y))
    return found
