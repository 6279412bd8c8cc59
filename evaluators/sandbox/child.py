"""The sandbox's keeper: a process of its own that runs one program at a time, in a fork of itself.

Started by `exme.evaluators.sandbox` as ``python -s -S -P -B`` with an empty environment. It puts up
the walls (`walls`) before it sees a program, then answers requests over its standard input
and output until the first closes. It holds nothing worth stealing.
"""

import gc
import json
import os
import select
import signal
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from exme.evaluators.sandbox import filter as call_filter, kernel, program, walls as wall
from exme.evaluators.sandbox.scratch import empty, used

_SETUP_SECONDS = 30.0
_WATCH_SECONDS = 0.02
_CHUNK, _CHUNKS = 1 << 16, 64
_TAIL = 1000  # bytes at the output's end that are kept for the reason

# Loaded once, before the walls: what solutions import most, and what is linked with libraries
# outside the interpreter's own folders, which programs cannot read.
_COMMON = """array bisect cmath collections copy ctypes dataclasses datetime decimal enum fractions
functools hashlib heapq itertools json math operator queue random re statistics string textwrap
threading typing _bz2 _hashlib _lzma _sqlite3 _ssl _uuid pyexpat zlib"""

_THREADS = """
import _thread, time
started = 0
try:
    for _ in range(16):
        _thread.start_new_thread(time.sleep, (5,))
        started += 1
except RuntimeError:
    pass
assert 2 <= started <= 6, started
"""


@dataclass
class _Run:
    """One program while it runs.

    Attributes:
        process: its process.
        output: descriptor of what it writes.
        deadline: on the monotonic clock.
        keep: bytes of output to keep, in `head`; `tail` overlaps it, `lost` counts the others.
        seconds: processor time, once it has stopped or ended.
    """

    process: int
    output: int
    deadline: float
    keep: int
    head: bytearray = field(default_factory=bytearray)
    tail: bytes = b""
    lost: int = 0
    seconds: float = 0.0

    def drain(self) -> bool:
        """Read what there is to read, or much of it; false at the end of the output."""
        for _ in range(_CHUNKS):
            try:
                chunk = os.read(self.output, _CHUNK)
            except BlockingIOError:
                break
            if not chunk:
                return False
            room = self.keep - len(self.head)
            self.head += chunk[:room]
            self.lost += max(0, len(chunk) - room)
            self.tail = (self.tail + chunk)[-_TAIL:]
        return True

    def text(self) -> str:
        """What the program wrote, cut after `keep` bytes."""
        text = self.head.decode("utf-8", "replace")
        return text + (f"\n[{self.lost} more bytes]" if self.lost else "")


class Keeper:
    """Runs programs between walls that stand already.

    Attributes:
        end_check: whether the kernel lets us look at a program's stack; settled by `try_out`, so
            that no program can undo it.
        threads: whether programs may start threads, that is, whether their number can be limited.
    """

    def __init__(self, walls: wall.Walls) -> None:
        self.walls = walls
        self.end_check = True
        self.threads = walls.alone
        for threads in (True, False):
            call_filter.program(0, threads)  # keeps what is the same for every fork
        self._bell, ringer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ringer, warn_on_full_buffer=False)

    def try_out(self) -> None:
        """Find out what the kernel lets us do, before there is a program to be watched."""
        trial = {"wall": 30, "cpu": 5, "memory": 1 << 30, "disk": 1 << 20, "output": 1000}
        try:
            self.run({**trial, "processes": 4, "source": ""})
        except OSError:
            self.end_check = False
        if self.threads:
            self.threads = self.run({**trial, "processes": 4, "source": _THREADS})["passed"]

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run one program to its end or to a limit."""
        self.walls.fresh_scratch(request["disk"])
        output, end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(end, True)
        keeper = os.getpid()
        child = os.fork()
        if not child:
            try:
                signal.set_wakeup_fd(-1)
                kernel.die_with_parent(signal.SIGKILL)
                if os.getppid() == keeper:
                    program.become_program(request, self.walls, self.threads, end)
            except BaseException as problem:  # noqa: BLE001 - nothing may return from a fork
                with suppress(OSError):
                    os.write(2, str(problem).encode())
            finally:
                os._exit(1)
        os.close(end)
        now = time.monotonic()
        run = _Run(child, output, now + _SETUP_SECONDS, request["output"])
        try:
            reason = self._oversee(run, request)
        finally:
            os.close(output)
        # The limit counts ticks, which on a busy machine run ahead of the time that was used.
        if reason in ("signal SIGKILL", "signal SIGXCPU") and run.seconds > request["cpu"] / 2:
            reason = f"used more than {request['cpu']} s of processor time"
        return {"passed": reason == "passed", "reason": reason, "output": run.text()}

    def _oversee(self, run: _Run, request: dict[str, Any]) -> str:
        start, ready, status, reason = None, False, None, ""
        try:
            status, reason = self._wait(run, 0)
            if status is not None and os.WIFSTOPPED(status):
                ready, start = True, self._position(run.process)
                run.deadline = time.monotonic() + request["wall"]
                os.kill(run.process, signal.SIGCONT)
                status, reason = self._wait(run, 0 if self.walls.namespaces else request["disk"])
            if status is not None and os.WIFSTOPPED(status):
                stopped = os.WSTOPSIG(status)
                at_end = stopped == signal.SIGSTOP and self._position(run.process) == start
                reason = "passed" if at_end else "stopped before its end"
        finally:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(run.process, signal.SIGKILL)
                while status is None or os.WIFSTOPPED(status):
                    _, status, usage = os.wait4(run.process, 0)
                    run.seconds = usage.ru_utime + usage.ru_stime
            run.drain()
        if not ready or status is None:
            raise OSError(f"a fork could not give up its rights: {run.text() or reason or status}")
        return reason or _ending(status, run.tail)

    def _position(self, process: int) -> tuple[int, int] | None:
        return kernel.position(process) if self.end_check else None

    def _wait(self, run: _Run, disk: int) -> tuple[int | None, str]:
        """Wait until the program stops or ends, a limit is passed, or our own caller is gone."""
        poll = select.poll()
        poll.register(run.output, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        poll.register(0, 0)  # hang-up alone
        while True:
            found, status, usage = os.wait4(run.process, os.WNOHANG | os.WUNTRACED)
            if found:
                run.seconds = usage.ru_utime + usage.ru_stime
                return status, ""
            left = run.deadline - time.monotonic()
            if left <= 0:
                return None, "ran longer than its wall time"
            if disk and used(self.walls.scratch, disk) > disk:
                return None, f"wrote more than {disk} bytes"
            for descriptor, event in poll.poll(
                1000 * (min(left, _WATCH_SECONDS) if disk else left)
            ):
                if descriptor == run.output and not run.drain():
                    poll.unregister(run.output)
                elif descriptor == self._bell:
                    with suppress(BlockingIOError):
                        os.read(self._bell, _CHUNK)
                elif descriptor == 0 and event:
                    _leave(self.walls, run.process)


def _ending(status: int, tail: bytes) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"signal {signal.Signals(number).name if number < 32 else number}"
    if os.WEXITSTATUS(status) == program.RAISED:
        lines = tail.decode("utf-8", "replace").strip().splitlines()
        return f"raised {lines[-1]}" if lines else "raised an exception"
    return f"left with status {os.WEXITSTATUS(status)} before its end"


def _leave(walls: wall.Walls, process: int = 0) -> NoReturn:
    if process:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    if not walls.namespaces:
        with suppress(OSError):
            empty(walls.scratch)
            Path(walls.scratch).rmdir()
            Path(walls.scratch).parent.rmdir()
    os._exit(0)


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = os.read(0, size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def _receive() -> dict[str, Any]:
    (size,) = struct.unpack("<I", _read(4))
    message: dict[str, Any] = json.loads(_read(size))
    return message


def _send(message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    data = struct.pack("<I", len(data)) + data
    while data:
        data = data[os.write(1, data) :]


def main() -> NoReturn:
    """Put up the walls that the first message asks for, then run what the others bring."""
    plan = wall.Plan(**_receive())
    for name in _COMMON.split():
        with suppress(ImportError):
            __import__(name)
    gc.collect()
    gc.freeze()  # a fork's collector need not touch, and copy, what is ours
    os.environ.clear()
    sys.argv[:] = [""]
    try:
        walls = wall.put_up(plan)
        keeper = Keeper(walls)
        keeper.try_out()
    except OSError as problem:
        _send({"error": str(problem)})
        os._exit(0)
    _send(
        {
            "namespaces": walls.namespaces,
            "landlock": walls.landlock,
            "user": walls.user,
            "end_check": keeper.end_check,
            "threads": keeper.threads,
        }
    )
    while True:
        try:
            request = _receive()
        except EOFError:
            _leave(walls)
        try:
            reply = keeper.run(request)
        except OSError as problem:
            reply = {"error": str(problem)}
        _send(reply)
