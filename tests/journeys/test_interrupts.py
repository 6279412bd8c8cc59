"""Ctrl-C and SIGTERM: the first stops in order, the second at once, none is lost."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from exme.search.merging.candidate import Candidate
from exme.search.running import interrupts
from exme.search.running.interrupts import Interrupts, stop_if_asked
from exme.search.running.search import Search
from exme.search.scoring.worker import Scored
from tests.helpers.searches.crew import Crew, Slow, command, complaints, ended, said, wait_for_lines
from tests.helpers.searches.landscape import Landscape

pytestmark = pytest.mark.slow  # kills, outages, and waits


def test_the_first_signal_stops_in_order_and_the_second_at_once() -> None:
    said: list[str] = []
    left: list[int] = []
    heard = Interrupts(said.append, left.append)
    try:
        with pytest.raises(KeyboardInterrupt):
            heard(signal.SIGINT, None)
        assert not left
        with pytest.raises(KeyboardInterrupt):  # what Python dropped is raised once more
            stop_if_asked()
        with pytest.raises(KeyboardInterrupt):
            heard(signal.SIGTERM, None)
    finally:
        interrupts._asked.clear()
    assert left == [130]
    assert said[0].startswith("\nStopped at once.")
    stop_if_asked()


class _Meets:
    """An object in whose destructor the signal comes: Python drops what is raised there."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_destructor_stops_what_comes_after_it(number: int) -> None:
    start = time.monotonic()
    pid = os.fork()
    if not pid:
        try:
            Interrupts(print).install()
            _Meets(number)
            time.sleep(30)
        except KeyboardInterrupt:
            os._exit(130)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert time.monotonic() - start < 20


def test_what_was_dropped_is_raised_once() -> None:
    """Not again by the timer, while a trial is given back."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            Interrupts(print).install()
            _Meets(signal.SIGTERM)
            stop_if_asked()
        except KeyboardInterrupt:
            time.sleep(10 * interrupts.AGAIN)
            code = 130
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130


def test_what_else_is_dropped_is_reported_as_before() -> None:
    class Broken:
        def __del__(self) -> None:
            raise ZeroDivisionError("in a destructor")

    pid = os.fork()
    if not pid:
        reported: list[type[BaseException]] = []
        sys.unraisablehook = lambda what: reported.append(what.exc_type)
        Interrupts(print).install()
        Broken()
        os._exit(0 if reported == [ZeroDivisionError] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_trial_in_hand_back_at_once(tmp_path: Path, number: int) -> None:
    crew = Crew(tmp_path, 8, seconds=0.1)
    pid = command(crew, lambda search: setattr(search.worker, "seconds", 30 * 1.0))
    wait_for_lines(crew, 1, crew.said)
    time.sleep(0.5)
    sent = time.monotonic()
    os.kill(pid, number)
    assert ended(pid) == 130
    assert time.monotonic() - sent < 10
    (stopped,) = said(crew)
    assert re.fullmatch(r"Stopped\. Nothing that was finished is lost; `exme.*` resumes\.", stopped)
    assert crew.said()[-1] == "So far: no candidate was scored."
    with crew.open() as search:
        trials = search.storage.trials()
        assert [t.state for t in trials].count("running") == 0  # nobody has to wait for a beat
        assert [t.state for t in trials].count("cut off") == 1
        search.work()
        assert complaints(search, crew.said(), 8) == []


def test_a_database_that_is_away_keeps_nobody_who_wants_an_end(tmp_path: Path) -> None:
    def prepare(search: Search) -> None:
        """Two trials are scored, then the third takes long, and the database does not answer any more."""
        landscape, storage = search.worker, search.storage

        def away(attempt: int) -> None:
            raise OperationalError("", {}, sqlite3.OperationalError("database is locked"))

        def close(trial: object) -> str:
            storage._patience.call(away)
            return ""

        def score(candidate: Candidate, split: str) -> Scored:
            if len(search.trials) > 2:
                storage._recovery.close = close  # type: ignore[method-assign]
                (tmp_path / "away").touch()
                time.sleep(30)
            return Landscape.score(landscape, candidate, split)  # type: ignore[arg-type]

        landscape.score = score  # type: ignore[method-assign]

    crew = Crew(tmp_path, 8)
    pid = command(crew, prepare)
    wait_for_lines(crew, 1, lambda: [p.name for p in tmp_path.glob("away")])
    os.kill(pid, signal.SIGINT)
    assert ended(pid) == 130  # (it would wait for an hour)
    assert said(crew)[-1].startswith("Stopped. Nothing that was finished is lost; `exme")
    lines = crew.said()
    assert lines[-1].startswith("So far: 2 candidates in 3 trials, ") and "  best " in lines[-1]
    assert any("could not be given back, for the database does not answer" in x for x in lines)


def test_a_second_signal_ends_at_once_and_loses_no_more_than_a_kill(tmp_path: Path) -> None:
    class Stubborn(Slow):
        def score(self, candidate: Candidate, split: str) -> Scored:
            try:
                (tmp_path / "begun").touch()
                time.sleep(30)
            except KeyboardInterrupt:
                (tmp_path / "first").touch()
                time.sleep(30)
            return super().score(candidate, split)

    crew = Crew(tmp_path, 8, kind=Stubborn)
    pid = command(crew, lambda _: None)
    wait_for_lines(crew, 1, lambda: [p.name for p in tmp_path.glob("begun")])
    os.kill(pid, signal.SIGINT)
    wait_for_lines(crew, 1, lambda: [p.name for p in tmp_path.glob("first")])
    sent = time.monotonic()
    os.kill(pid, signal.SIGINT)
    assert ended(pid) == 130
    assert time.monotonic() - sent < 5
    assert said(crew)[-1].startswith("Stopped at once.")
    with crew.open() as search:
        search.work()
        assert complaints(search, crew.said(), 8) == []
