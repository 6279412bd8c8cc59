"""A search on a terminal: a picture that stays, with what is said above it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Sequence

from rich.console import Console, RenderableType
from rich.live import Live

from exme.search.running import Screen, Ticker, View
from exme.search.trials import TrialRecord, duration

from .panel import SearchPanel

# Seconds after which the storage is read again, for what other workers have finished.
REFRESH = 2.0


class LiveScreen(Screen):
    """Shows a picture of the search that is redrawn as it goes on.

    Args:
        console: a terminal.
        ticker: see `Screen`; it keeps still while the picture is there.
    """

    def __init__(self, console: Console | None = None, ticker: Ticker | None = None) -> None:
        super().__init__(console or Console(highlight=False), ticker)
        self._live: Live | None = None
        self._view: View | None = None
        self._note, self._since = "", time.monotonic()
        self._watch: Refresher | None = None

    def begin(self, read: Callable[[], View]) -> None:
        """Start the picture; see `Screen.begin`."""
        if self._live is not None:
            return
        self._view, self._note = read(), ""
        if self.ticker is not None:
            self.ticker.pause()
        self._live = Live(
            get_renderable=self._picture, console=self.console, refresh_per_second=2,
            vertical_overflow="crop",
        )  # fmt: skip
        self._live.start()
        self._watch = Refresher(read, self._take)

    def _take(self, view: View) -> None:
        self._view = view

    def trial(
        self,
        trial: TrialRecord,
        trials: Sequence[TrialRecord],
        left: str,
        inputs: Collection[str] = (),
    ) -> None:
        """Redraw; the picture has the last trials."""
        if self._live is None or self._watch is None:
            super().trial(trial, trials, left, inputs)
            return
        self._since = time.monotonic()
        self._watch.now()

    def note(self, text: str) -> None:
        """Say in the picture what goes on now, or below it where there is none."""
        self._note, self._since = text, time.monotonic()
        super().note(text)

    def close(self) -> None:
        """Leave the picture as it is, with all that is known, and write plainly from now on."""
        watch, live, self._watch, self._live = self._watch, self._live, None, None
        if watch is not None:
            watch.close()
        if live is not None:
            self._note = ""
            live.refresh()
            live.stop()
            if self.ticker is not None:
                self.ticker.pause(paused=False)

    def _picture(self) -> RenderableType:
        assert self._view is not None
        note = self._note
        if self._live is not None:
            lasts = duration(time.monotonic() - self._since)
            note = f"{note or 'Working on the next trial'}, {lasts} so far. Ctrl-C stops; the same command resumes."
        rows = max(3, min(8, self.console.height - 24))
        return SearchPanel(self._view, rows, note)


class Refresher:
    """Looks at a search now and then, in a thread of its own.

    Args:
        read: reads the storage.
        take: is given each view.
    """

    def __init__(self, read: Callable[[], View], take: Callable[[View], None]) -> None:
        self._read, self._take = read, take
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="exme-watch", daemon=True)
        self._thread.start()

    def now(self) -> None:
        """Look at once."""
        with self._lock:
            self._take(self._read())

    def close(self) -> None:
        """Look a last time, and no more."""
        self._over.set()
        self._thread.join(timeout=REFRESH)
        with contextlib.suppress(Exception):  # the last picture is then the one before
            self.now()

    def _run(self) -> None:
        while not self._over.wait(REFRESH):
            try:
                self.now()
            except Exception:  # noqa: BLE001  (a picture less; the search itself will say)
                continue
