"""A PostgreSQL server of one's own: on the loopback, as an ordinary user, gone when it is closed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# Where Debian and Ubuntu put the programs, which are not on the PATH there.
_DEBIAN = Path("/usr/lib/postgresql")


def find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest first; None where there is none."""
    folders = sorted(_DEBIAN.glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


def binaries_or_skip() -> Path:
    """See `find_binaries`; skips the test where they or the driver are not here."""
    import pytest

    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL here (Debian and Ubuntu: apt install postgresql)")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no driver of PostgreSQL here: pip install 'exme[postgres]'")
    return binaries


@contextlib.contextmanager
def storage_url(kind: str) -> Iterator[str | None]:
    """The URL of a ``postgres`` server that waits for its disk; None for ``sqlite``, which needs none.

    Raises:
        SystemExit: there is no PostgreSQL here.
    """
    if kind == "sqlite":
        yield None
        return
    binaries = find_binaries()
    if binaries is None:
        sys.exit("no PostgreSQL here (Debian and Ubuntu: apt install postgresql)")
    with Postgres(binaries, durable=True) as server:
        yield server.url


class Postgres:
    """A server that can be stopped and started again.

    Args:
        binaries: see `find_binaries`.
        durable: wait for the disk at each change, as a real one does.
    """

    def __init__(self, binaries: Path, *, durable: bool = False) -> None:
        self.binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="exme-postgres-"))
        self.port = _free_port()
        self._durable = durable
        # The server refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        options = ["-U", "exme", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [binaries / "initdb", "-D", self.folder / "data", *options],
            check=True,
            capture_output=True,
            **self._as_user(),
        )
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of its database."""
        return f"postgresql+psycopg://exme:secret@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "on" if self._durable else "off",
            "max_connections": "200",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [
                    self.binaries / "postgres",
                    "-D",
                    self.folder / "data",
                    "-p",
                    str(self.port),
                    *options,
                ],
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        deadline = time.monotonic() + 60
        ready = [str(self.binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        while subprocess.run(ready, check=False).returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop as an operator would, cutting its clients off."""
        if self._server is not None:
            self._server.send_signal(2)  # SIGINT: "fast shutdown"
            self._server.wait(timeout=60)
            self._server = None

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        user = pwd.getpwnam(self._user)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": self.folder}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
