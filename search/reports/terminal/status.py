"""What searches have found so far, from their storage alone: no model, no document is opened."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from exme.search.running import View, open_stored
from exme.search.storage import StoredStudy, folders_with_a_database, sqlite_url
from exme.search.study import BudgetSection, alone
from exme.tasks import UserError


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
    for folder in folders_with_a_database(runs):
        storage = StoredStudy(sqlite_url(folder), folder.name, folder)
        record, names = storage.record, storage.record.checkpoints()
        inputs, proved = tuple(alone(name) for name in names), len(record.proofs())
        view = View(folder.name, BudgetSection(), inputs, tuple(storage.trials()), proved)
        if record.description():
            with contextlib.suppress(UserError, ValueError):  # (a suite's file may be gone)
                opened = open_stored(folder)
                view = replace(opened.view(), verdict=opened.outcome().verdict)
        found.append(Run(view, storage.last_change(), record.is_older))
    return sorted(found, key=lambda run: run.changed or datetime.min, reverse=True)  # noqa: DTZ901


def runs_table(found: Sequence[Run]) -> Table:
    """Runs as a table for people."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for name in ("run", "candidates", "best", "gain over the best input", "verdict", "last change"):
        table.add_column(name, justify="right" if name == "candidates" else "left")
    for run in found:
        view, changed = run.view, run.changed
        best, gain = view.best, view.proved_gain or view.gain
        score, told = "–", "–"
        if best is not None:
            unit = best.unit
            score = unit.score(best.mean)
            told = "–" if gain is None else unit.line(gain, sign=True)
        proof = view.verdict.state if view.verdict is not None and view.verdict.is_final else "–"
        told = "of another version" if run.is_older else told
        when = changed.strftime("%Y-%m-%d %H:%M") if changed else "–"
        cells = (view.study, str(view.used[0]), score, told, proof, when)
        table.add_row(*map(Text, cells))
    return table
