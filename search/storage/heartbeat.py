"""Liveness: each running trial has a counter that its worker increments, and names its worker's process.

Nobody compares clocks. Another worker measures by its own monotonic clock for how long
the counter stood still. So neither clocks that differ
between machines nor a clock that jumps can declare a worker dead. Where a worker's process can be
looked up - same machine, same boot, same container - its death is known at once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

# Seconds between two beats, and without one until a worker counts as dead. Long against what a busy
# database or a stalled network takes: a worker declared dead too early loses its trial in hand.
BEAT = 10.0
GRACE = 90.0

# Hearts of this process: a member of this process that is not among them has been closed.
_beating: set[str] = set()


@dataclass(frozen=True)
class Member:
    """One worker of a study.

    Attributes:
        id: its name, unique.
        host: name of its machine, for people.
        place: where its process number means something: machine, boot and container.
        pid: its process.
        started: when the process began, in the system's own count: process numbers are reused.
    """

    id: str
    host: str
    place: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Self:
        """A new member in this process."""
        pid = os.getpid()
        host = socket.gethostname()
        return cls(uuid.uuid4().hex[:8], host, _place(host), pid, _started(pid) or "")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(**data)

    def is_gone(self) -> bool:
        """Whether its process is known to have ended; False where that cannot be known."""
        if self.place != _place(socket.gethostname()):
            return False
        if self.pid == os.getpid() and self.started == (_started(self.pid) or ""):
            return self.id not in _beating
        return _started(self.pid) != self.started


class Heart:
    """Beats in a thread of its own, from `start` to `stop`.

    Args:
        beat: writes the count given. What it raises is passed over: a trial may end between two
            lines, and of a storage that is away the worker hears by itself.
    """

    def __init__(self, member: Member, beat: Callable[[int], object]) -> None:
        self.member = member
        self._beat = beat
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exme-heart", daemon=True)

    def start(self) -> None:
        """Begin, at the first call; the first beat is due after one interval."""
        if self.member.id not in _beating:
            _beating.add(self.member.id)
            self._thread.start()

    def stop(self) -> None:
        """End; returns when no beat is under way any more."""
        self._stop.set()
        _beating.discard(self.member.id)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)  # (a beat may be waiting for a database that is away)

    def _run(self) -> None:
        count = 0
        while not self._stop.wait(BEAT):
            count += 1
            with contextlib.suppress(Exception):
                self._beat(count)


@dataclass
class Watch:
    """For how long the beats of others have stood still, by this process's clock.

    Attributes:
        grace: seconds without a beat until a worker counts as dead.
    """

    grace: float = GRACE
    clock: Callable[[], float] = time.monotonic
    _seen: dict[int, tuple[int, float]] = field(default_factory=dict)

    def is_dead(self, trial: int, member: Member | None, beat: int) -> bool:
        """Whether the worker of a running trial is dead, as far as can be told.

        Args:
            member: whose trial it is. None when its worker died before it wrote its name: workers
                do both under the study's lock, so that nobody sees the moment between.
            beat: the count of its beats now.
        """
        if member is None or member.is_gone():
            return True
        now = self.clock()
        last, since = self._seen.get(trial, (-1, now))
        if last != beat:
            since = now
        self._seen[trial] = (beat, since)
        return now - since > self.grace

    def forget(self) -> None:
        """Begin anew: while the storage was away, nobody could write a beat."""
        self._seen.clear()


def _place(host: str) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{host} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return f"{host} {psutil.boot_time():.0f}"


def _started(pid: int) -> str | None:
    """When a process began; None when there is none, or only what its parent has not buried yet."""
    try:
        # Field 22 counts from the boot: unlike a date, it stands when the clock is set.
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = line.rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except OSError:
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None
