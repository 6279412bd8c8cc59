"""Exports that are cut off, or written by a disk that lies, are whole or not there at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exme.search.merging.folders import model_folder as export, staging
from exme.search.merging.folders.model_folder import verify
from exme.search.merging.folders.stream import write_stream
from exme.search.merging.resident import ResidentModel
from exme.tasks.errors import UserError
from tests.helpers.models.exports import content, hidden, resident, write
from tests.helpers.models.small_models import make_family, open_resident

__all__ = ["resident"]  # fixtures


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device")])
@pytest.mark.parametrize(
    "step", ["write_stream", "copy_from_base", "write_text", "verify", "sync", "_replace"]
)
def test_an_interruption_leaves_nothing(
    resident: ResidentModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    for module in (export, staging):
        if hasattr(module, step):
            monkeypatch.setattr(module, step, fail)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write(resident, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["write_stream", "verify", "_replace"])
def test_an_interrupted_replacement_leaves_the_old_export(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write(resident, tmp_path / "out", card="old")
    before = content(tmp_path / "out")

    def fail(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    for module in (export, staging):
        if hasattr(module, step):
            monkeypatch.setattr(module, step, fail)
    with pytest.raises(KeyboardInterrupt):
        write(resident, tmp_path / "out", card="new", force=True)
    assert content(tmp_path / "out") == before
    assert hidden(tmp_path) == []


def test_the_old_export_comes_back_when_the_new_one_cannot_take_its_place(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(resident, tmp_path / "out", card="old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match="could not be written"):
        write(resident, tmp_path / "out", card="new", force=True)
    assert (tmp_path / "out" / "README.md").read_text() == "old"
    assert hidden(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from exme.search.merging.folders import model_folder as export
from exme.search.merging.candidate import Candidate
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.sources import Sources

root, step = Path(sys.argv[1]), sys.argv[2]
opened = {n: Checkpoint(n, root / n) for n in ("base", "math", "code")}
sources = Sources(opened.pop("base"), opened)
if step == "rename":
    rename = Path.rename
    def killed(self, target):
        if ".partial-" in self.name:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)
    Path.rename = killed
else:
    setattr(export, step, lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))
export.export_model(
    sources, Candidate({"math": 1.3, "code": 0.5}, "exme", "bfloat16", sources.fingerprints),
    root / "out", force=True, card="new", names={"base": "b", "math": "m", "code": "c"},
)
"""


@pytest.mark.parametrize("step", ["verify", "rename"])
def test_a_killed_export_leaves_the_old_one_and_the_next_cleans_up(
    tmp_path: Path, step: str
) -> None:
    resident = open_resident(make_family(tmp_path))
    write(resident, tmp_path / "out", card="old")
    before = content(tmp_path / "out")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, step], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert any(".out.partial-" in name for name in hidden(tmp_path))
    if step == "rename":  # killed between putting the old one aside and renaming the new one
        assert not (tmp_path / "out").exists()
    else:
        assert content(tmp_path / "out") == before
    with pytest.raises(UserError, match="--force"):
        write(resident, tmp_path / "out", card="newer")
    assert content(tmp_path / "out") == before
    assert hidden(tmp_path) == []
    write(resident, tmp_path / "out", card="newest", force=True)
    assert (tmp_path / "out" / "README.md").read_text() == "newest"
    assert hidden(tmp_path) == []


def test_an_export_that_is_being_written_is_not_taken_for_a_leftover(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*args: Any) -> str:
        staging.clear_leftovers(tmp_path / "out")
        return verify(*args)

    monkeypatch.setattr(export, "verify", meanwhile)
    write(resident, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_folder_that_appears_while_an_export_is_written_is_kept(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*args: Any) -> str:
        digest = verify(*args)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("years of work")
        return digest

    monkeypatch.setattr(export, "verify", meanwhile)
    with pytest.raises(UserError, match="something other than an export"):
        write(resident, tmp_path / "out")
    assert content(tmp_path / "out") == {"thesis.tex": b"years of work"}
    assert hidden(tmp_path) == []


def test_a_disk_that_gives_back_other_bytes_is_noticed(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flip(folder: Path, *args: Any, **options: Any) -> dict[str, str]:
        made = write_stream(folder, *args, **options)
        file = folder / "model.safetensors"
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)
        return made

    monkeypatch.setattr(export, "write_stream", flip)
    with pytest.raises(UserError, match="read back, the weights are not those written"):
        write(resident, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_loads_other_weights_is_noticed(
    resident: ResidentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = export.config_file(resident.sources, "bfloat16").replace(
        '"dtype": "bfloat16"', '"dtype": "float16"'
    )
    monkeypatch.setattr(export, "config_file", lambda *given: config)
    with pytest.raises(UserError, match="from_pretrained gives another model"):
        write(resident, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
