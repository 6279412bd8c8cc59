"""What cannot be compiled is done without."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from exme.evaluators.c_library import build


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "seven.c"
    file.write_text("int seven(void) { return SEVEN; }\n", encoding="utf-8")
    return file


def test_a_source_is_compiled_and_nothing_is_left(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    library = build(source, ["-DSEVEN=7"])
    if library is None:
        pytest.skip("no C compiler here")
    assert isinstance(library, ctypes.CDLL)
    assert library.seven() == 7
    assert list(room.iterdir()) == []


def test_a_source_that_does_not_compile_is_none(source: Path) -> None:
    assert build(source, []) is None


def test_no_compiler_is_none(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert build(source, ["-DSEVEN=7"]) is None


def test_it_can_be_done_without(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXME_COMPILE", "0")
    assert build(source, ["-DSEVEN=7"]) is None


def test_nowhere_to_write_is_none(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert build(source, ["-DSEVEN=7"]) is None
