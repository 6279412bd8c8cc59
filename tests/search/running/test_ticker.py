"""What is shown while nothing is said."""

from __future__ import annotations

import io
import re
import time

import pytest

from exme.search.running import ticker as ticker_module
from exme.search.running.screen import Screen
from exme.search.running.ticker import Ticker


class Stream(io.StringIO):
    """A stream that is a terminal, or is not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def wait_for(stream: io.StringIO, text: str) -> str:
    deadline = time.monotonic() + 30
    while text not in stream.getvalue():
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.01)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker_module, "SILENCE", 0.05)


def test_dots_tell_what_goes_on_and_every_line_begins_with_it() -> None:
    stream = Stream(terminal=False)
    with Ticker("Loading", stream) as ticker:
        wait_for(stream, "Loading ...")
        ticker.on("Comparing")
        wait_for(stream, "Comparing ..")
        ticker.silence()
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("Loading ...") and set(lines[0][8:]) == {"."}
    assert lines[1].startswith("Comparing ..")
    assert stream.getvalue().endswith("\n")


def test_a_long_line_of_dots_is_begun_anew_with_how_long_it_has_lasted() -> None:
    stream = Stream(terminal=False)
    with Ticker("Loading", stream):
        text = wait_for(stream, " so far .")
    first, second = text.splitlines()[:2]
    assert first == f"Loading {'.' * ticker_module.WIDTH}"
    assert second.startswith("Loading")
    assert re.search(r"^Loading, \d+ s so far \.", text, re.MULTILINE)


def test_a_terminal_has_one_line_that_counts_and_is_cleared() -> None:
    stream = Stream(terminal=True)
    with Ticker("Loading", stream) as ticker:
        wait_for(stream, "\r\x1b[2KLoading, 0 s ")
        ticker.pause()
        assert stream.getvalue().endswith("\r\x1b[2K")
        before = stream.getvalue()
        time.sleep(0.7)
        assert stream.getvalue() == before  # a picture stands there
    assert "\n" not in stream.getvalue()


def test_a_line_of_a_search_stands_by_itself() -> None:
    stream = Stream(terminal=False)
    with Ticker("Loading", stream) as ticker:
        screen = Screen(ticker=ticker)
        screen.console.file = stream
        screen.note("Reading")
        wait_for(stream, "Reading .")
        screen.say("Here it is.")
    assert "Here it is." in stream.getvalue().splitlines()
