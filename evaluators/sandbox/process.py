"""The near end of a keeper process: start it, ask it, end it.

The far end is `child`. Messages are JSON behind a four-byte length, both ways.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .scratch import empty

_START_SECONDS = 60.0
_END_SECONDS = 5.0

# The packages are stood in for: our folder alone is enough, and no site-packages are read.
_BOOT = """
import sys, types
for name in ("exme", "exme.evaluators", "exme.evaluators.sandbox"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [sys.argv[1]]
from exme.evaluators.sandbox.child import main
main()
"""
_INTERPRETER = "-s -S -P -B -X utf8 -c"
# Sets have the same order in every run. Nothing else of our environment is handed down.
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}


class SandboxBroken(RuntimeError):
    """A keeper process could not start, ended or fell silent; another may fare better."""


class SandboxRefused(SandboxBroken):
    """A keeper process said that it cannot do what it was asked to."""


@dataclass(frozen=True)
class Plan:
    """Which walls to ask for; the far end's is `walls.Plan`.

    Attributes:
        another_user: give up this user for one that owns nothing; root alone can.
        namespaces: own user, mount, process, network, IPC and host name namespaces.
        landlock: use Landlock where the kernel has it; false only in tests.
    """

    another_user: bool
    namespaces: bool
    landlock: bool = True


class KeeperProcess:
    """One keeper. Not for two threads at once.

    Attributes:
        folder: its folder under the system's temporary folder; with namespaces, long removed.
        state: what it said of the walls that stand.

    Raises:
        SandboxBroken: the walls that the plan asks for cannot be had.
    """

    def __init__(self, plan: Plan) -> None:
        here = str(Path(__file__).parent)
        try:
            self.folder = tempfile.mkdtemp(prefix=f"exme-sandbox-{os.getpid()}-")
        except OSError as problem:
            raise SandboxBroken(f"no temporary folder: {problem}") from problem
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        try:
            self._process = subprocess.Popen(
                [sys.executable, *_INTERPRETER.split(), _BOOT, here],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for us
                bufsize=0,
            )
        except OSError as problem:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise SandboxBroken(f"cannot start {sys.executable}: {problem}") from problem
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        try:
            self.state = self.ask({"folder": self.folder, **asdict(plan)}, _START_SECONDS)
            if plan.namespaces:  # it has a root folder of its own now, and left this one empty
                Path(self.folder).rmdir()
        except BaseException:
            self.close()
            raise

    def ask(self, message: dict[str, Any], patience: float) -> dict[str, Any]:
        """Send a message and wait for its answer.

        Args:
            message: what JSON can hold.
            patience: seconds to wait.
        Raises:
            SandboxBroken: no answer, or one that reports a failure (`SandboxRefused`). The keeper is
                of no use then.
        """
        data = json.dumps(message).encode()
        view = memoryview(struct.pack("<I", len(data)) + data)
        deadline = time.monotonic() + patience
        try:
            while view:
                view = view[os.write(self._to.fileno(), view) :]
            (size,) = struct.unpack("<I", self._read(4, deadline))
            answer: dict[str, Any] = json.loads(self._read(size, deadline))
        except (OSError, EOFError, ValueError) as problem:
            raise SandboxBroken(
                f"no answer from its process: {self._last_words(problem)}"
            ) from problem
        if "error" in answer:
            raise SandboxRefused(str(answer["error"]))
        return answer

    def _last_words(self, problem: Exception) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else str(problem)

    def _read(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._from, selectors.EVENT_READ)
            while len(data) < size:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise EOFError("it is silent")
                chunk = os.read(self._from.fileno(), size - len(data))
                if not chunk:
                    raise EOFError("it has ended")
                data += chunk
        return bytes(data)

    def close(self) -> None:
        """End the keeper and what runs in it, and remove its folder."""
        self._to.close()  # at which it ends its program, empties its folder and goes
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._from.close()
        self._errors.close()
        with suppress(OSError):
            empty(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
