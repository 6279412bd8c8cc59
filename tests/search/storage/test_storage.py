"""Reading and writing one storage from several threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from exme.search.storage import known_trials, records
from exme.search.storage.known_trials import KnownTrials
from exme.search.storage.records import is_whole
from tests.helpers.searches.crew import Crew
from tests.helpers.searches.opened import Opened


def known(opened: Opened, database: list[FrozenTrial] | None = None) -> KnownTrials:
    """Records of a finished search, as another reader would make them; with the trials that its database would give."""
    by_number = {t.number: t for t in database or []}
    identifiers = opened.search.storage.record.identifiers
    return KnownTrials(identifiers, lambda trial: by_number.get(trial.number, trial))


def frozen(opened: Opened) -> list[FrozenTrial]:
    """The trials with all their attributes, in objects that nobody else has."""
    storage = opened.search.storage
    return [storage.frozen(t.number) for t in storage.trials()]


@pytest.fixture
def searched(tmp_path: Path) -> Opened:
    opened = Opened(tmp_path, racing="on", sampler="random", budget={"trials": 9})
    opened.search.work()
    return opened


def torn(trial: FrozenTrial, *kept: str) -> FrozenTrial:
    """The same trial, read between two of its attributes."""
    found = FrozenTrial(**{name: getattr(trial, name) for name in FIELDS}, trial_id=trial._trial_id)
    found.user_attrs = {k: v for k, v in trial.user_attrs.items() if k in kept}
    return found


def told(trials: Sequence[Any]) -> list[Any]:
    """What is compared of records."""
    return [
        (
            t.number,
            t.state,
            t.origin,
            t.candidate,
            t.scores,
            t.value,
            t.documents,
            t.seconds,
            None if t.race_log is None else t.race_log.to_json(),
        )
        for t in trials
    ]


FIELDS = (
    "number", "state", "value", "datetime_start", "datetime_complete", "params", "distributions",
    "user_attrs", "system_attrs", "intermediate_values",
)  # fmt: skip


@pytest.mark.parametrize("kept", [(), ("origin",), ("origin", "candidate"), ("origin", "look")])
def test_a_finished_trial_that_was_read_in_part_is_read_again(
    searched: Opened, kept: tuple[str, ...]
) -> None:
    whole = frozen(searched)
    wanted = searched.search.storage.trials()
    half = [torn(t, *kept) for t in whole]
    assert not any(is_whole(t) for t in half if t.state != TrialState.FAIL)
    # From the database at once; where that says no more either, at the next time.
    asked = known(searched, frozen(searched))
    assert told(asked.records(half)) == told(wanted)
    later = known(searched)
    assert all(t.scores is None for t in later.records([torn(t, *kept) for t in whole]))
    assert told(later.records(whole)) == told(wanted)
    assert later.work() == searched.search.storage.work()


def test_two_readers_of_one_trial_never_see_each_others_half(
    searched: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second reads while the first has the trial's attributes in hand and is about to let go of them."""
    trials, wanted = frozen(searched), searched.search.storage.trials()
    readers = known(searched)
    make, let_go, inside = records.record_of, records.condense, threading.Event()
    found: dict[str, Any] = {}

    def slowly(trial: FrozenTrial, documents_of: Any) -> Any:
        inside.set()
        return make(trial, documents_of)

    def condensed(trial: FrozenTrial) -> dict[str, float]:
        if threading.current_thread() is first:
            second.join(0.02)  # time for the other to come between
        return let_go(trial)

    monkeypatch.setattr(known_trials, "record_of", slowly)
    monkeypatch.setattr(known_trials, "condense", condensed)

    def read(name: str) -> None:
        found[name] = readers.records(trials)

    first = threading.Thread(target=read, args=("first",))

    def read_second() -> None:
        inside.wait(5)
        read("second")

    second = threading.Thread(target=read_second)
    for thread in (second, first):
        thread.start()
    for thread in (first, second):
        thread.join(30)
    assert told(found["first"]) == told(found["second"]) == told(wanted)
    assert readers.work() == searched.search.storage.work()  # counted once


def test_threads_that_read_while_trials_are_saved_lose_no_score(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 16)
    over, bad = threading.Event(), list[str]()
    with crew.open() as search:

        def read() -> None:
            while not over.is_set():
                _check(search.storage.trials(), bad)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for _ in range(16):
            assert search.loop.trial() is not None
        over.set()
        for reader in readers:
            reader.join(30)
        assert bad == []
        with crew.open() as other:
            assert told(search.storage.trials()) == told(other.storage.trials())
            assert search.storage.work() == other.storage.work()


def _check(trials: Sequence[Any], bad: list[str]) -> None:
    for trial in trials:
        is_lost = trial.state == "complete" and trial.scores is None
        if is_lost or (trial.state in ("paused", "rejected") and trial.race_log is None):
            bad.append(f"trial {trial.number} has lost its scores")
        if trial.state in ("complete", "paused", "rejected") and trial.candidate is None:
            bad.append(f"trial {trial.number} has lost its candidate")
