"""What is compiled is kept for the next process, where nobody else can write; what cannot be compiled is done without."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from exme.evaluators.c_library import build

BUILD = """
import sys
from pathlib import Path
from exme.evaluators.c_library import build
print(build(Path(sys.argv[1]), ["-DSEVEN=7"]).seven())
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "seven.c"
    file.write_text('#include "seven.h"\nint seven(void) { return MORE + SEVEN; }\n')
    (tmp_path / "seven.h").write_text("#define MORE 0\n")
    if build(file, ["-DSEVEN=7"]) is None:
        pytest.skip("no C compiler here")
    return file


@pytest.fixture
def kept(source: Path) -> Path:
    return source.parent / "cache/exme/compiled"


def _seven(source: Path, *flags: str) -> int:
    library = build(source, flags or ["-DSEVEN=7"])
    assert isinstance(library, ctypes.CDLL)
    return int(library.seven())


def test_the_next_process_takes_what_the_last_one_compiled(source: Path, kept: Path) -> None:
    (library,) = kept.iterdir()
    before = library.stat()
    run = subprocess.run(
        [sys.executable, "-c", BUILD, str(source)], check=True, capture_output=True, text=True
    )
    assert run.stdout == "7\n"
    (after,) = kept.iterdir()
    assert after.stat().st_ino == before.st_ino


def test_another_source_header_or_flag_is_another_library(source: Path, kept: Path) -> None:
    assert _seven(source, "-DSEVEN=8") == 8
    (source.parent / "seven.h").write_text("#define MORE 100\n")
    assert _seven(source) == 107
    source.write_text("int seven(void) { return 2 * SEVEN; }\n")
    assert _seven(source) == 14
    assert len(list(kept.iterdir())) == 4


def test_a_library_that_was_cut_short_is_compiled_again(source: Path, kept: Path) -> None:
    (library,) = kept.iterdir()
    library.unlink()  # (it is mapped here)
    library.write_bytes(b"\x7fELF")
    library.chmod(0o600)
    assert _seven(source) == 7


@pytest.mark.parametrize("which", ["folder", "library"])
def test_what_others_may_write_is_not_loaded(source: Path, kept: Path, which: str) -> None:
    (library,) = kept.iterdir()
    other = source.parent / "other.c"
    other.write_text("int seven(void) { return 666; }\n")
    planted = source.parent / "planted.so"
    subprocess.run(["cc", "-shared", "-fPIC", str(other), "-o", str(planted)], check=True)
    library.unlink()
    planted.rename(library)
    (kept if which == "folder" else library).chmod(0o777)
    assert _seven(source) == 7


def test_a_link_in_the_place_of_the_folder_is_not_followed(source: Path, kept: Path) -> None:
    elsewhere = kept.rename(source.parent / "elsewhere")
    for library in elsewhere.iterdir():
        library.unlink()
    kept.symlink_to(elsewhere)
    assert _seven(source) == 7
    assert list(elsewhere.iterdir()) == []


def test_where_nothing_can_be_kept_nothing_is_left(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(room))
    assert _seven(source) == 7
    assert list(room.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert build(source, ["-DSEVEN=7"]) is None


def test_a_source_that_does_not_compile_is_none(source: Path) -> None:
    assert build(source, []) is None


def test_no_compiler_is_none(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert build(source, ["-DSEVEN=7"]) is None


def test_it_can_be_done_without(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXME_COMPILE", "0")
    assert build(source, ["-DSEVEN=7"]) is None
