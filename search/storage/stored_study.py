"""A study in an Optuna storage, as it is read: by the search itself, and by all that shows or exports it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from exme.search.proposing import History, Settled
from exme.search.trials import TrialRecord, covered, this_moment

from .backend import open_backend, opening, whole_trial
from .heartbeat import Watch
from .known_trials import KnownTrials
from .lock import locks_for
from .patience import LONGEST_WAIT, Patience
from .study_record import StudyRecord, uses_in


class StoredStudy:
    """One study in an Optuna storage: its trials, and what is kept of it as a whole. Any thread may read.

    Args:
        url: an SQLAlchemy URL.
        name: name of the study in it.
        folder: the run's folder, for locks where the database has none.
        say: where "waiting for the database" goes.

    Attributes:
        study: Optuna's.
        record: what is kept of the study as a whole.
        sitting: when this process sat down to work on it; None where it only reads.
        known: its trials, as they were read.

    Raises:
        UserError: the storage cannot be opened.
    """

    def __init__(
        self,
        url: str,
        name: str,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.url, self.name = url, name
        self.watch = Watch()
        self.sitting: float | None = None
        patience = Patience(f"The storage of study '{name}'", say, self.watch.forget, longest=0)
        with opening(f"storage of study '{name}'"):
            self._locks = locks_for(url, name, folder or Path(), patience)
            self.study = self._open(patience)
            self._backend = self.study._storage
        self.record = StudyRecord(self.study, name)
        self.known = KnownTrials(
            self.record.identifiers, lambda trial: whole_trial(self._backend, trial._trial_id)
        )
        self._patience = patience
        patience.longest = LONGEST_WAIT  # what was reached once is waited for

    def _open(self, patience: Patience) -> optuna.Study:
        """The study, which must be there."""
        return optuna.load_study(storage=open_backend(self.url, patience), study_name=self.name)

    def hold(
        self, name: str, waiting: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        """Hold one of the study's locks for the length of a block; see `Locks`."""
        return self._locks.hold(name, waiting)

    def hold_all(self, name: str, folder: Path) -> AbstractContextManager[None]:
        """Hold a lock of all studies in this storage, or in a folder of runs, for the length of a block."""
        return locks_for(self.url, "all studies", folder, self._patience).hold(name)

    def last_change(self) -> datetime | None:
        """When the last trial ended or was begun, by the clock of the machine that did it."""
        trials = self._read()
        times = [time for t in trials for time in (t.datetime_start, t.datetime_complete) if time]
        return max(times, default=None)

    def trials(self) -> list[TrialRecord]:
        """All trials, in order of their numbers; only what is new since the last call is read."""
        return self.known.records(self._read())

    def history(self, settled: Settled) -> History:
        """All trials, rated; what a decision goes by."""
        timed = settled.study.budget.hours is not None
        return self.known.history(
            self._read(), settled, self.on_the_clock if timed else lambda trials: 0.0
        )

    def on_the_clock(self, trials: Sequence[TrialRecord]) -> float:
        """Seconds on the clock in which somebody worked on the study, all sittings together, this one up to now."""
        clocks = [t.clock for t in trials if t.clock is not None]
        clocks += [proof.clock for proof in self.record.timed()]
        spans = [(clock.sitting, clock.end) for clock in clocks]
        return covered(spans if self.sitting is None else [*spans, (self.sitting, this_moment())])

    def frozen(self, number: int) -> FrozenTrial:
        """A trial as Optuna has it, with all its attributes."""
        return whole_trial(self._backend, self._read()[number]._trial_id)

    def _read(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def importance(self) -> dict[str, float]:
        """Share of the spread that each parameter explains; see `KnownTrials.importance`."""
        return self.known.importance(self._read())

    def work(self) -> dict[str, float]:
        """Seconds of all trials together, by what they were spent on."""
        self.trials()
        return self.known.work()

    def trial_ids(self) -> dict[int, int]:
        """The storage's own identifier of each trial, by its number."""
        return {t.number: t._trial_id for t in self._read()}

    def uses(self) -> list[Mapping[str, Any]]:
        """Uses of report documents by all studies in this storage."""
        return [use for s in self._backend.get_all_studies() for use in uses_in(s.user_attrs)]

    def system_attributes(self) -> dict[str, Any]:
        """What Optuna and its dashboard keep with the study."""
        return self._backend.get_study_system_attrs(self.study._study_id)

    def set_system_attribute(self, key: str, value: Any) -> None:
        """Write what optuna-dashboard will look for."""
        self._backend.set_study_system_attr(self.study._study_id, key, value)
