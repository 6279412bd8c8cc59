"""Programs of the docs, each in a process of its own that has its imports behind it.

A walk through the docs starts `exme` and `python` a hundred times, and importing torch, transformers and lm-eval takes
eight seconds each time. So one process imports them once, listens, and forks for every program that is
started. The program on the PATH is a client: it hands over its arguments, folder, environment and
descriptors, passes on what signals it gets, and ends with the program's exit code.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_DESCRIPTORS = 3
# What commands import while they run.
_LATE = (
    "torch datasets matplotlib.pyplot optuna_dashboard pandas peft pyarrow.parquet PIL.PngImagePlugin pygments.lexers "
    "optuna.storages._rdb.storage optuna.storages._rdb.models alembic.command alembic.script "
    "sqlalchemy.dialects.sqlite psycopg lm_eval.tasks"
).split()
_LONGEST = 1 << 20

# Everything is handed over in one message; then a byte for each signal, and the exit code comes back.
CLIENT = """#!{python} -IS
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda n, _: server.send(bytes([n])))
asked = json.dumps([{program!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
descriptors = array.array("i", [0, 1, 2])
server.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
server.sendall(asked)
code = server.recv(1)
os._exit(code[0] if code else 137)
"""


def write_client(path: Path, program: str, address: Path) -> None:
    """Make a program that a warm process runs: ``exme``, ``python`` or ``pytest``."""
    path.unlink(missing_ok=True)
    text = CLIENT.format(python=sys.executable, address=str(address), program=program)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


class Warm:
    """The process that listens; started once, and gone when this is closed.

    Args:
        folder: for the program that starts workers.
        environment: what libraries read when they are imported.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        # The address of a socket has a hundred characters at most, which a test's folder may exceed.
        self._place = tempfile.TemporaryDirectory(prefix="exme-warm-")
        self.address = Path(self._place.name) / "socket"
        # What starts workers is read at import: a client, so that they are warm, too.
        write_client(folder / "python", "python", self.address)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.address), str(folder / "python")],
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        while not self.address.exists():
            assert self._process.poll() is None, "the warm process has ended"
            time.sleep(0.05)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()
        self._place.cleanup()


def _serve(address: str, python: str) -> None:
    _import_all(python)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{address}.new")
    listening.listen(64)
    Path(f"{address}.new").rename(address)
    listening.settimeout(1.0)
    parent = os.getppid()
    while os.getppid() == parent:  # the tests may have been killed
        try:
            asking, _ = listening.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listening.close()
            _answer(asking)
        asking.close()


def _import_all(python: str) -> None:
    own, sys.executable = sys.executable, python
    importlib.import_module("exme.search.cli.processes")
    sys.executable = own
    for name in ("exme.search", "exme.evaluators", "exme.tasks"):
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            # What a sandbox's process runs changes the process that imports it.
            if not found.name.startswith("exme.evaluators.sandbox."):
                try:
                    importlib.import_module(found.name)
                except ModuleNotFoundError as error:
                    if error.name != "vllm":  # only its own processes need it
                        raise
    for name in _LATE:
        with contextlib.suppress(ImportError):  # some are of optional packages
            importlib.import_module(name)
    gc.freeze()  # or each program goes over all of this when it gives memory back


def _answer(asking: socket.socket) -> None:
    """Fork the program, and stand between it and its client."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    descriptors = array.array("i")
    head, ancillary, _, _ = asking.recvmsg(4, socket.CMSG_SPACE(_DESCRIPTORS * 4))
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    asked = b""
    while len(asked) < int.from_bytes(head, "big"):
        asked += asking.recv(_LONGEST)
    program, arguments, folder, environment = json.loads(asked)
    child = os.fork()
    if child == 0:
        asking.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os._exit(_run(program, arguments))
    for descriptor in descriptors:
        os.close(descriptor)
    asking.setblocking(False)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            with contextlib.suppress(OSError):
                asking.send(bytes([code if code >= 0 else 128 - code]))
            os._exit(0)
        try:
            numbers = asking.recv(1)
            os.kill(child, numbers[0] if numbers else signal.SIGKILL)
        except BlockingIOError:
            time.sleep(0.01)


def _run(program: str, arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        _start(program, arguments)
        code: Any = 0
    except SystemExit as left:
        code = left.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  (as the interpreter does)
        sys.excepthook(*sys.exc_info())
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code if isinstance(code, int) else int(code is not None)


def _start(program: str, arguments: Sequence[str]) -> None:
    first = arguments[0] if arguments else ""
    sys.argv = [program, *arguments]
    if program == "exme":
        if "--push" in arguments:
            _stand_in_for_the_hub()
        importlib.import_module("exme.search.cli.main").main()
    elif "PYTHONPATH" in os.environ:  # other modules than those that are loaded
        os.execv(sys.executable, [sys.executable, *arguments])
    elif program == "pytest":
        sys.exit(importlib.import_module("pytest").main(list(arguments)))
    elif first == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
    elif first == "-m":
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = list(arguments[1:])
        sys.modules.pop(arguments[1], None)  # it is run, not imported
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif first.endswith(".py"):
        sys.path.insert(0, str(Path(first).parent.resolve()))
        sys.argv = list(arguments)
        runpy.run_path(first, run_name="__main__")
    else:  # an option of the interpreter's own
        os.execv(sys.executable, [sys.executable, *arguments])


def _stand_in_for_the_hub() -> None:
    sys.path.insert(0, str(Path(__file__).parents[3]))
    import huggingface_hub

    from tests.helpers.docs.stand_ins import Hub

    huggingface_hub.HfApi = Hub  # type: ignore[assignment, misc]


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose modules are not the program's
    _serve(*sys.argv[1:])
