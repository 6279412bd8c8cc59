"""Waiting for a database that is away."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.exc import OperationalError

from exme.search.storage import patience
from exme.search.storage.patience import Patience, hurry


def away(attempt: int) -> None:
    raise OperationalError("", {}, sqlite3.OperationalError("database is locked"))


def test_a_process_that_is_to_end_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LAST_WAIT", 0.2)
    said: list[str] = []
    waiting = Patience("The storage", said.append)
    hurry()
    try:
        with pytest.raises(OperationalError):  # (it would wait for an hour)
            waiting.call(away)
        answers: Iterator[Callable[[int], object]] = iter([away, lambda attempt: "here"])

        def in_turn(attempt: int) -> object:
            return next(answers)(attempt)

        monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
        # A busy database is waited for all the same, so that a trial in hand is given back.
        assert waiting.call(in_turn) == "here"
    finally:
        hurry(hurried=False)


def test_what_is_waited_for_is_given_when_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
    said: list[str] = []

    def twice(attempt: int) -> str:
        if attempt < 2:
            away(attempt)
        return "here"

    assert Patience("The storage", said.append).call(twice) == "here"
    assert said[0] == "The storage does not answer (database is locked); waiting for it."
    assert said[1].startswith("The storage answers again after ")
