"""Bad input of every kind: one clear line, exit code 2, nothing written, no code run."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from exme.search.cli.main import _run, app
from tests.helpers.malformed.cases import all_cases
from tests.helpers.malformed.given import MATERIALISE, REPORT, SEARCH, Case, good_folder

pytestmark = pytest.mark.slow  # 745 cases

CASES = all_cases()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return good_folder(tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the good folder as the current one; the command's signal handlers are undone."""
    copy = tmp_path / "copy"
    shutil.copytree(good, copy)
    monkeypatch.chdir(copy)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield copy
    for number, handler in before.items():
        signal.signal(number, handler)


def exme(*arguments: str) -> int:
    """The command, in this process; its exit code."""
    return _run(lambda: app(list(arguments), prog_name="exme", standalone_mode=False))


def content(folder: Path) -> set[tuple[str, int]]:
    """Files and their sizes.

    Not counted are locks, which stay behind empty, and what a study that could be opened left: a
    database that is whole, with nothing scored in it, and drafts.
    """
    found = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    sizes = {str(p.relative_to(folder)): p.stat().st_size for p in found}
    database = folder / "runs" / "study-own" / "study.db"
    if database.is_file() and database.stat().st_size > 1000:
        scored = "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
        with (
            contextlib.suppress(sqlite3.DatabaseError),
            contextlib.closing(sqlite3.connect(database)) as connection,
        ):
            assert connection.execute(scored).fetchone() == (0,)
            whole = ("/study.db", "/drafts.jsonl")
            sizes = {n: size for n, size in sizes.items() if not any(w in n for w in whole)}
    return {item for item in sizes.items() if not (item[0].endswith(".lock") and not item[1])}


@pytest.mark.parametrize("arguments", [REPORT, SEARCH, MATERIALISE], ids=lambda a: a[0])
def test_the_good_folder_is_good(arguments: tuple[str, ...], folder: Path) -> None:
    assert exme(*arguments) == 0


def test_there_are_enough_cases_and_no_two_are_the_same() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 150


@pytest.mark.timeout(30, method="signal")
@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name)[1:-1])
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    case: Case, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case.change(folder)
    before = content(folder)
    assert exme(*case.arguments) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    lines = [line for line in lines if not re.fullmatch(r"[A-Z].* \.+", line)]  # on a busy machine
    assert len(lines) == 1, lines
    assert lines[0].startswith("exme: ")
    assert lines[0].isprintable()
    assert "hunter2" not in lines[0]  # the password of the storages' URLs
    assert len(lines[0]) < 1500
    assert case.expected in lines[0]
    assert content(folder) == before
