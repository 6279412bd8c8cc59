"""What searches have found so far, from their storage alone: no model, no document is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from exme.search.opening.settling import settle_objective, shift_of
from exme.search.proof.proving import stored_outcome
from exme.search.running.view import View, view_of
from exme.search.storage.backend import sqlite_url, study_names
from exme.search.storage.storage import Storage
from exme.search.study.space import alone
from exme.search.study.study_file import load_study_file
from exme.search.study.study_sections import BudgetSection
from exme.search.study.suites import pick_suites
from exme.search.trials.unit import Unit
from exme.tasks.errors import UserError
from exme.tasks.suite import load_suite

DATABASE = "study.db"
OLDER = (
    "Begun by another version of ExMe: what its trials scored in part cannot be read, "
    "and it cannot be gone on with (--fork begins a new study next to it)."
)


class Status:
    """One study's storage, opened to be looked at.

    Args:
        study: path of the study file.
        task: suites, as `exme search` takes them.
        runs: folder of all runs.

    Raises:
        UserError: the study file cannot be used, or the search was never begun.
    """

    def __init__(self, study: Path, task: str | None, runs: Path) -> None:
        self.study = load_study_file(study)
        task = task or load_suite(self.study.suites[0]).suite
        suites = pick_suites(self.study, task, str(study))
        self.folder = latest_fork(runs / f"{study.stem}-{task.replace(',', '+')}")
        url = self.study.storage or sqlite_url(self.folder)
        is_there = bool(self.study.storage) or (self.folder / DATABASE).is_file()
        if not is_there or self.folder.name not in study_names(url):
            raise UserError(
                f"study {self.folder.name}: not begun yet, in {url if self.study.storage else runs}; "
                f"`exme search {study} --task {task}` begins it"
            )
        self.storage = Storage(url, self.folder.name, self.folder)
        # Who is best goes by the goal, by what is to be kept and by the shift, as in the search.
        sizes = {suite.suite: 0 for suite in suites}  # (which decide nothing here)
        objective = settle_objective(self.study, sizes, list(self.study.checkpoints))
        self.objective = replace(objective, shift=shift_of(self.study, self.storage.record))

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

    def view(self) -> View:
        """The search as it is now."""
        proved = len(self.storage.record.proofs())
        trials = self.objective.rate(self.storage.trials())
        view = view_of(self.study, self.folder.name, trials, proved)
        if self.storage.record.is_older:
            return view
        names = list(self.study.checkpoints)
        found = stored_outcome(self.storage, trials, self.objective.goal, names, self.folder.parent)
        return replace(view, verdict=found.verdict)


def latest_fork(folder: Path) -> Path:
    """The run's folder, or the last of its forks."""
    number = 0
    while folder.with_name(f"{folder.name}-fork{number + 1}").is_dir():
        number += 1
    return folder.with_name(f"{folder.name}-fork{number}") if number else folder


@dataclass(frozen=True)
class Run:
    """A search in a folder of runs.

    Attributes:
        view: as it is now.
        changed: time of its last change.
        is_older: another version of ExMe wrote it; see `OLDER`.
    """

    view: View
    changed: datetime | None
    is_older: bool


def all_runs(runs: Path) -> list[Run]:
    """Every search in a folder of runs that has a storage of its own there; the latest first."""
    found = []
    for database in runs.glob(f"*/{DATABASE}"):
        folder = database.parent
        storage = Storage(sqlite_url(folder), folder.name, folder)
        record, names = storage.record, storage.record.checkpoints()
        inputs, proved = tuple(alone(name) for name in names), len(record.proofs())
        trials = storage.trials()
        view = View(folder.name, BudgetSection(), inputs, tuple(trials), proved)
        if not record.is_older:
            outcome = stored_outcome(storage, trials, record.goal(), names, runs)
            view = replace(view, verdict=outcome.verdict)
        found.append(Run(view, storage.last_change(), record.is_older))
    return sorted(found, key=lambda run: run.changed or datetime.min, reverse=True)  # noqa: DTZ901


def runs_table(found: Sequence[Run]) -> Table:
    """Runs as a table for people."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for name in ("run", "trials", "best", "gain over the best input", "verdict", "last change"):
        table.add_column(name, justify="right" if name == "trials" else "left")
    for run in found:
        view, changed = run.view, run.changed
        best, gain = view.best, view.proved_gain or view.gain
        score, told = "–", "–"
        if best is not None:
            unit = Unit(percent=best.is_share)
            score = unit.score(best.mean)
            told = "–" if gain is None else unit.line(gain, sign=True)
        proof = view.verdict.state if view.verdict is not None and view.verdict.is_final else "–"
        told = "of another version" if run.is_older else told
        when = changed.strftime("%Y-%m-%d %H:%M") if changed else "–"
        cells = (view.study, str(view.used[0]), score, told, proof, when)
        table.add_row(*map(Text, cells))
    return table
