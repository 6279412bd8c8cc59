"""Runs that are only looked at: from a folder that cannot be written, or one whose database is gone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exme.search.cli.main import _run, app
from tests.helpers.malformed.given import REPORT, SEARCH, good_folder

TABLE = ("table", "study.yaml", "--runs", "runs", "--out", "table.csv")


def exme(*arguments: str) -> int:
    return _run(lambda: app(list(arguments), prog_name="exme", standalone_mode=False))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose search is over."""
    folder = good_folder(tmp_path_factory.mktemp("searched"))
    before = Path.cwd()
    try:
        os.chdir(folder)
        assert exme(*SEARCH) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def folder(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(searched, copy)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def read_only(folder: Path) -> Iterator[Path]:
    """The folder of runs, which nobody can write."""
    runs = folder / "runs"
    if os.geteuid():
        places = [runs, *(p for p in runs.rglob("*") if p.is_dir())]
        for place in places:
            place.chmod(0o555)
        yield runs
        for place in places:
            place.chmod(0o755)
        return
    mount = [
        "mount",
        "--bind",
        "-o",
        "ro",
        str(runs),
        str(runs),
    ]  # root writes whatever the mode says
    again = ["mount", "-o", "remount,ro,bind", str(runs)]
    if any(subprocess.run(c, check=False, capture_output=True).returncode for c in (mount, again)):
        pytest.skip("a folder cannot be mounted read-only here: that takes root's capabilities")
    yield runs
    subprocess.run(["umount", "-l", str(runs)], check=True)


@pytest.mark.parametrize(
    "command",
    [
        ("status", "study.yaml", "--runs", "runs"),
        ("status", "--runs", "runs"),
        TABLE,
        ("export", "study.yaml", "--runs", "runs", "--trial", "0", "--out", "out"),
    ],
    ids=" ".join,
)
def test_a_run_that_cannot_be_written_is_read(
    read_only: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exme(*command) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "study-own" in told or "table.csv" in told or "Exported candidate" in told


def test_no_search_is_begun_where_nothing_could_be_kept(
    read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exme(*SEARCH) == 2
    assert "cannot be written, and a search keeps its trials there" in capsys.readouterr().err


@pytest.mark.parametrize("command", [REPORT, SEARCH, TABLE], ids=lambda c: c[0])
def test_a_report_is_not_replaced_by_one_of_nothing_when_the_database_is_gone(
    folder: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "runs" / "study-own"
    for file in run.glob("study.db*"):
        file.unlink()
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    assert exme(*command) == 2
    assert re.search(
        "study.db, which holds its trials, is gone|not begun yet", capsys.readouterr().err
    )
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()} == before
