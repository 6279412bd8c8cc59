"""Ctrl-C and SIGTERM: the first stops in order, the second at once, none is lost."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from exme.search import interrupts
from exme.search.interrupts import Interrupts, stop_if_asked


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
