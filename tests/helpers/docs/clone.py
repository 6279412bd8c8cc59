"""A clone of the project that is set up, small studies and stand-ins in it, and a shell to type in."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.helpers.docs.pages import Command
from tests.helpers.docs.stand_ins import lead_elsewhere
from tests.helpers.docs.warm import Warm, write_client
from tests.helpers.places import ROOT

_LEFT = ("__pycache__", ".git", ".venv", "build", "dist", "site", "runs", ".*_cache", ".hypothesis")
# What `make test` and a developer's shell pass down.
_OURS = set(
    "MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES STUDY TASK VENV UV TRIALS WORKERS ARGS OUT FORCE BENCH PYTEST_ARGS "
    "PYTEST_ADDOPTS PYTHONPATH EXME_DATA EXME_SWEEP VIRTUAL_ENV".split()
)
SMALL = {
    "documents": {"search": 8, "report": 8},
    "budget": {"trials": 5},
    "sampler": {"name": "random"},
}
_SECONDS = 240


class Failed(AssertionError):
    """A command of the docs that did not do what the page says."""


class Clone:
    """The project in a folder of its own, as after ``make setup``, with nothing in the home folder.

    Args:
        folder: to make.
        warm: runs `exme` and `python`.
        environment: of its shell.
        activated: whether its programs are on the PATH from the start.
    """

    def __init__(
        self, folder: Path, warm: Warm, environment: Mapping[str, str], *, activated: bool = True
    ) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_LEFT))
        self._set_up(warm)
        home = folder.parent / f"{folder.name}-home"
        home.mkdir()
        # Where the tests run in an environment that is activated, its programs are not the clone's.
        place = str(Path(sys.executable).parent)
        path = [part for part in os.environ["PATH"].split(os.pathsep) if part != place]
        own = {
            "HOME": str(home),
            "PATH": os.pathsep.join([*([str(folder / ".venv" / "bin")] if activated else []), *path]),
            # Nothing may be installed into what the tests run in, whatever a page or the Makefile says.
            "PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV": "",
            "EXME_DATA": "data",
            "COLUMNS": "200",
        }  # fmt: skip
        kept = {k: v for k, v in os.environ.items() if k not in _OURS}
        self.environment = {**kept, **environment, **own}
        self._said_before: list[str] = []
        elsewhere = folder.parent / "elsewhere"
        lead_elsewhere(elsewhere, folder)
        self.elsewhere = {"PYTHONPATH": str(elsewhere)}
        self.shrink("studies/mini.yaml")
        self.shrink("docs/examples/own-suite/study.yaml")

    def _set_up(self, warm: Warm) -> None:
        """A virtual environment whose programs are those of the one that the tests run in."""
        own = self.folder / ".venv"
        venv.EnvBuilder(with_pip=False, symlinks=True).create(own)
        for existing in Path(sys.executable).parent.iterdir():
            target = own / "bin" / existing.name
            if not target.exists() and not existing.name.lower().startswith("activate"):
                target.symlink_to(existing)
        for name in ("exme", "pytest", "python", "python3"):
            write_client(own / "bin" / name, name.rstrip("3"), warm.address)
        state = own / ".exme"
        state.mkdir()
        (state / "created").write_text(f"{own.resolve()}\n", encoding="utf-8")
        self.stamp()

    def stamp(self) -> None:
        """Mark the set-up as finished, in the way of tests/test_makefile.py."""
        environment = {k: v for k, v in os.environ.items() if k not in _OURS}
        planned = subprocess.run(
            ["make", "-n", "--no-print-directory", "UV=", "setup", "check", "docs"],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for stamps in re.findall(r"^touch (.*)$", planned, re.MULTILINE):
            for stamp in stamps.split():
                (self.folder / stamp).touch()

    def shrink(self, study: str, **changes: object) -> None:
        """Have a study take seconds, and change more of it."""
        path = self.folder / study
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        text = yaml.safe_dump(content | SMALL | changes, sort_keys=False)
        path.write_text(text, encoding="utf-8")

    def stand_in(self, program: str, text: str) -> None:
        """Replace a program of the virtual environment by a script of Python."""
        path = self.folder / ".venv" / "bin" / program
        path.unlink(missing_ok=True)
        path.write_text(f"#!{sys.executable} -IS\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def storage_of(self, study: str) -> object:
        """Where a study says that it lives."""
        return yaml.safe_load((self.folder / study).read_text(encoding="utf-8")).get("storage")

    def prepare(self, text: str) -> None:
        """Run what no page says, so that what a page says can be."""
        self.type(Command("what was prepared", 0, text))

    def type(self, command: Command, text: str | None = None, **environment: str) -> str:
        """Run a command as it stands, by a shell; what it said.

        Args:
            command: as the page has it.
            text: as it is typed, where that differs.
            environment: besides.
        Raises:
            Failed: names the page and the command.
        """
        typed = text or command.text
        with self._started(typed, stderr=subprocess.STDOUT, **environment) as process:
            try:
                said, _ = process.communicate(timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise Failed(f"{command}\n{typed}\nhas not ended after {_SECONDS} s") from None
        if process.returncode != 0:
            raise Failed(f"{command}\n{typed}\nexit code {process.returncode}\n{said}")
        if typed.startswith((". ", "cd ", "export ", "source ")):
            self._said_before.append(typed)
        if " init " in typed:
            self.shrink(shlex.split(typed)[2])
        return said

    def _started(
        self, typed: str, *, stderr: int = subprocess.PIPE, **environment: str
    ) -> subprocess.Popen[str]:
        # A `.` that was typed before has changed the shell that reads what comes now.
        text = "\n".join([*self._said_before, typed])
        return subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", text],
            cwd=self.folder, env={**self.environment, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
        )  # fmt: skip

    @contextmanager
    def serving(self, command: Command) -> Iterator[str]:
        """Run a command that serves until Ctrl-C; its address.

        Raises:
            Failed: it does not answer, or does not end as it should.
        """
        with self._started(command.text) as process:
            assert process.stdout is not None
            try:
                said = process.stdout.readline()
                found = re.search(r"http://127\.0\.0\.1:\d+/", said)
                if not found:
                    raise Failed(f"{command}\nsaid {said!r}, no address")
                yield found[0]
            finally:
                os.killpg(process.pid, signal.SIGINT)
                out, error = process.communicate(timeout=60)
        if "Dashboard closed." not in out:
            raise Failed(f"{command}\nexit code {process.returncode}\n{out}\n{error}")

    def run_script(self, command: Command, **environment: str) -> subprocess.Popen[str]:
        """Start a script of a page, as a batch system does: a file, and variables of its own."""
        path = self.folder / "job.sh"
        path.write_text(command.text, encoding="utf-8")
        path.chmod(0o755)
        return subprocess.Popen(
            [path], cwd=self.folder, env={**self.environment, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip


MakeClone = Callable[..., Clone]


def answers(address: str) -> str:
    """What an address on this machine answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=60) as response:
        text: str = response.read().decode()
        return text


def events(path: Path) -> list[dict[str, object]]:
    """JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
