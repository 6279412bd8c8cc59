"""That something goes on, where nothing was said for a while: a line that counts on a terminal, dots elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

# Seconds of silence before the first sign, and between two where there is no terminal.
SILENCE = 2.0
# Signs of a line where there is no terminal; the next line says again what goes on, and for how long.
WIDTH = 30


class Ticker:
    """Says in a thread of its own what goes on; use as a context manager around a command.

    It writes to standard error, so that what a command says on standard output is that alone.

    Args:
        what: goes on first.
        stream: where to; standard error by default.
    """

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._counts = self._stream.isatty()
        self._what, self._since = what, time.monotonic()
        self._said = self._since  # when something was said last
        self._signs = 0  # of the line that stands open
        self._lock, self._over = threading.Lock(), threading.Event()
        self._is_paused = False
        self._thread = threading.Thread(target=self._run, name="exme-ticker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(timeout=SILENCE)
        self.silence()

    def on(self, what: str) -> None:
        """Something else goes on from now."""
        with self._lock:
            self._end_line()
            self._what, self._since = what, time.monotonic()

    def silence(self) -> None:
        """Something is about to be said: leave it a line of its own."""
        with self._lock:
            self._end_line()
            self._said = time.monotonic()

    def pause(self, *, paused: bool = True) -> None:
        """Keep still, for a picture shows what goes on; or go on."""
        self.silence()
        self._is_paused = paused

    def _run(self) -> None:
        while not self._over.wait(0.5 if self._counts else SILENCE / 2):
            with self._lock:
                if time.monotonic() - self._said >= SILENCE and not self._is_paused:
                    self._tick()

    def _tick(self) -> None:
        seconds = int(time.monotonic() - self._since)
        if self._counts:
            self._signs = 1
            self._write(f"\r\x1b[2K{self._what}, {_duration(seconds)} ")
            return
        self._said = time.monotonic()
        if self._signs >= WIDTH:
            self._end_line()
        if not self._signs:
            told = f", {_duration(seconds)} so far" if seconds >= SILENCE * WIDTH else ""
            self._write(f"{self._what}{told} ")
        self._signs += 1
        self._write(".")

    def _end_line(self) -> None:
        if self._signs:
            self._signs = 0
            self._write("\r\x1b[2K" if self._counts else "\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody listens any more
            self._over.set()


def _duration(seconds: int) -> str:
    """As `exme.search.trials.duration`, which would have to be loaded first."""
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"
