"""Runs generated programs where they can do no harm, and says which ran to their end.

    with Sandbox() as sandbox:
        verdict = sandbox.run("assert 1 + 1 == 2")

A program passes iff ``exec(program, {})`` in a fresh process returns, which is what lm-eval's
``code_eval`` calls passing. What is covered, what is not, and what is lost on which machine:
docs/sandbox.md. Where a program cannot be kept from the network and from others' files, and within
limits, nothing is run.

A `Sandbox` holds warm keeper processes (`process`), each of which forks once per program.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Self

from exme.tasks.errors import UserError

from .layers import Layer, in_words, layers, possible_plans, proven_keeper
from .process import KeeperProcess, SandboxBroken

_PATIENCE_SECONDS = 60.0  # beyond a program's own wall time: the machine may be busy
_LEAST_MEMORY = 128 << 20


class SandboxUnavailable(UserError):
    """This machine cannot keep generated code from doing harm."""


class GeneratedCodeRefused(UserError):
    """A suite runs generated code and the study does not say that it may."""


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    Attributes:
        wall_seconds: from start to end. Generous, so that a busy machine fails no correct program;
            it is there to end programs that sleep.
        cpu_seconds: processor time, whole seconds. code_eval allows 3 s of wall time; twice that
            because processor time, too, grows on a busy machine.
        memory_bytes: address space, the interpreter's own included.
        processes: threads at once, the first included. New processes are always refused.
        output_bytes: kept of standard output and error together; what goes beyond is dropped.
        disk_bytes: the files of the scratch folder together.

    Raises:
        ValueError: a limit is not above zero, or is too small for Python itself.
    """

    wall_seconds: float = 30.0
    cpu_seconds: int = 6
    memory_bytes: int = 1 << 30
    processes: int = 32
    output_bytes: int = 1 << 16
    disk_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}, expected above 0")
        if self.memory_bytes < _LEAST_MEMORY:
            raise ValueError(
                f"memory_bytes is {self.memory_bytes}, expected {_LEAST_MEMORY} or more"
            )


@dataclass(frozen=True)
class Verdict:
    """What became of a program.

    Attributes:
        passed: it ran to its end without an exception, within its limits.
        reason: ``passed``, or why not, e.g. ``raised line 7: AssertionError`` or ``left with
            status 0 before its end``.
        output: what it wrote, as far as it is kept.

    The output, and what follows ``raised``, are the program's own words: show them, trust neither.
    """

    passed: bool
    reason: str
    output: str


class Sandbox:
    """Runs programs, each in a process of its own, between the strongest walls to be had here.

    Keepers start when first needed and stay warm until `close`. Several threads may use it at
    once; a forked process starts its own keepers.

    Args:
        namespaces: false does without user namespaces, as where there are none.
        landlock: false does without Landlock, as on a kernel before 5.13.
    """

    def __init__(self, *, namespaces: bool = True, landlock: bool = True) -> None:
        self._plans = possible_plans(namespaces, landlock)
        self._lock = threading.Lock()
        self._idle: list[KeeperProcess] = []
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, source: str, limits: Limits | None = None) -> Verdict:
        """Run one program.

        Raises:
            SandboxUnavailable: this machine offers too little; nothing was run.
        """
        limits = limits or Limits()
        problem = ""
        for _ in range(2):
            keeper = self._take()
            try:
                verdict = _ask(keeper, source, limits)
            except SandboxBroken as broken:
                problem = str(broken)
                keeper.close()
            except BaseException:
                keeper.close()
                raise
            else:
                self._put_back(keeper)
                return verdict
        self._put_back(self._take())  # if a new keeper proves itself, the program is to blame
        return Verdict(False, f"broke its sandbox twice: {problem}", "")

    def run_many(
        self, sources: Sequence[str], limits: Limits | None = None, workers: int | None = None
    ) -> list[Verdict]:
        """Run programs side by side.

        Args:
            sources: the programs.
            limits: of each program.
            workers: programs at once; by default as many as there are processors for us.
        Returns:
            The verdicts, in the order of the programs.
        Raises:
            SandboxUnavailable: as `run`.
        """
        workers = max(1, min(workers or processors(), len(sources)))
        with ThreadPoolExecutor(workers, "exme-sandbox") as pool:
            try:
                return list(pool.map(lambda source: self.run(source, limits), sources))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def layers(self) -> tuple[Layer, ...]:
        """The protections, and which of them stand on this machine.

        Raises:
            SandboxUnavailable: as `run`.
        """
        keeper = self._take()
        self._put_back(keeper)
        return layers(keeper.state)

    def describe(self) -> str:
        """The layers as text, one a line."""
        return "\n".join(
            f"{'yes' if layer.active else 'no':3} {layer.name}: {layer.detail}"
            for layer in self.layers()
        )

    def close(self) -> None:
        """End every idle keeper. The sandbox can be used again; it starts new ones."""
        self._disown()
        with self._lock:
            idle, self._idle = self._idle, []
        for keeper in idle:
            keeper.close()

    def _disown(self) -> None:
        if self._owner != os.getpid():  # after a fork, keepers and lock are the parent's
            self._lock, self._idle, self._owner = threading.Lock(), [], os.getpid()

    def _take(self) -> KeeperProcess:
        self._disown()
        if not sys.platform.startswith("linux"):
            raise SandboxUnavailable(
                f"generated code is not run on {sys.platform}: the sandbox is made of what Linux"
                " offers; use a Linux machine or container, or suites that run no code"
            )
        with self._lock:
            if self._idle:
                return self._idle.pop()
            plans = list(self._plans)
        failures = []
        for plan in plans:
            try:
                keeper = proven_keeper(plan)
            except SandboxBroken as broken:
                failures.append(f"{in_words(plan)}: {broken}")
            else:
                with self._lock:
                    self._plans = [plan]
                return keeper
        raise SandboxUnavailable(
            "generated code is not run: this machine cannot keep it from the network and from"
            " others' files, within limits. It takes seccomp, and user namespaces or Landlock"
            f" (Linux 5.13); docs/sandbox.md. Found: {'; '.join(failures)}"
        )

    def _put_back(self, keeper: KeeperProcess) -> None:
        with self._lock:
            self._idle.append(keeper)


def _ask(keeper: KeeperProcess, source: str, limits: Limits) -> Verdict:
    request = {
        "source": source,
        "wall": limits.wall_seconds,
        "cpu": limits.cpu_seconds,
        "memory": limits.memory_bytes,
        "processes": limits.processes,
        "output": limits.output_bytes,
        "disk": limits.disk_bytes,
    }
    return Verdict(**keeper.ask(request, limits.wall_seconds + _PATIENCE_SECONDS))


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_shared = Sandbox()
atexit.register(_shared.close)


def shared_sandbox() -> Sandbox:
    """The sandbox of this process; its keepers end with it."""
    return _shared


def run_many(
    sources: Sequence[str], limits: Limits | None = None, workers: int | None = None
) -> list[Verdict]:
    """Run programs side by side in the shared sandbox; see `Sandbox.run_many`."""
    return _shared.run_many(sources, limits, workers)


def require_run_generated_code(allowed: bool, suite: str, study: str) -> None:
    """Refuse a suite that runs generated code unless the study asks for it.

    Args:
        allowed: the study's ``run_generated_code``.
        suite: the suite's name, for the message.
        study: the study file's name, for the message.
    Raises:
        GeneratedCodeRefused: it does not ask for it.
    """
    if not allowed:
        raise GeneratedCodeRefused(
            f"{study}: suite '{suite}' runs code that the model writes, and run_generated_code is"
            " not true; if you accept that, in the sandbox that docs/sandbox.md describes, add"
            " 'run_generated_code: true'"
        )
