"""Ctrl-C and SIGTERM: heard once, and not lost where Python drops what is raised."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from exme.search.storage import hurry

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# Seconds until what was dropped is raised once more: by then the destructor is over.
AGAIN = 0.05

# That a process was asked to stop.
_asked = threading.Event()


class Interrupts:
    """Ctrl-C and SIGTERM: the first stops in order, the second at once.

    Args:
        say: writes a line.
        leave: ends the process at once.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self.say, self.leave = say, leave
        self._came = False
        self._report = sys.unraisablehook

    def install(self) -> None:
        """Be called for both signals, from now on."""
        _asked.clear()
        hurry(hurried=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)
        signal.signal(signal.SIGALRM, self._again)
        sys.unraisablehook = self._dropped

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            self.say("\nStopped at once. The same command takes the running trial up again.")
            self.leave(130)
        self._came = True
        _asked.set()
        hurry()
        raise KeyboardInterrupt

    def _dropped(self, what: UnraisableHookArgs) -> None:
        """Hear of an exception that Python drops, in a destructor or a callback from C."""
        if _asked.is_set() and issubclass(what.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
        else:
            self._report(what)

    def _again(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt


def was_asked() -> bool:
    """Whether a signal came."""
    return _asked.is_set()


def stop_if_asked() -> None:
    """Raise once more what the first signal raised.

    An import that may fail swallows it, if it was written with a bare `except`.
    """
    if _asked.is_set():
        signal.setitimer(
            signal.ITIMER_REAL, 0
        )  # once is enough: giving a trial back is not to be interrupted
        raise KeyboardInterrupt
