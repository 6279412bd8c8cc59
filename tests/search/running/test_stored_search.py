"""A run is read from its storage alone: whatever became of the study file and of the models since."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from exme.search.cli.main import app
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.running.screen import Screen
from exme.search.running.search import open_search
from exme.search.running.stored_search import open_stored
from exme.tasks.errors import UserError
from tests.helpers.models.small_models import make_family
from tests.helpers.searches.landscape import Landscape

PEAK = {"math": 1.3, "code": 0.5}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The file of a study whose search, in ``runs`` beside it, is over."""
    family = make_family(tmp_path / "models")
    content = {
        "base": str(family.pop("base")),
        "checkpoints": {name: str(folder) for name, folder in family.items()},
        "suites": ["gsm8k"],
        "data": "mini",
        "documents": {"search": 64, "report": 64},
        "budget": {"trials": 7},
        "sampler": {"name": "random"},
    }
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    screen = Screen(Console(file=io.StringIO()))
    with open_search(
        file, runs=tmp_path / "runs", screen=screen, worker=lambda d: Landscape(d, PEAK)
    ) as search:
        search.run()
    return file


def files(folder: Path) -> dict[str, int]:
    """Size of every file in a folder, but what SQLite keeps beside its database while it is open."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p): p.stat().st_size for p in found if not p.name.endswith(("-wal", "-shm"))}


def exme(study: Path, *words: str) -> str:
    runs = ["--runs", str(study.parent / "runs")]
    result = CliRunner().invoke(app, [words[0], str(study), *words[1:], *runs])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.slow
def test_what_is_read_is_what_the_search_itself_says(study: Path) -> None:
    read = open_stored(study, None, study.parent / "runs")
    with open_search(study, runs=study.parent / "runs") as search:
        ours, theirs = read.outcome(), search.outcome()
    assert ours.verdict == theirs.verdict
    assert [(t.candidate, t.value) for t in ours.trials] == [
        (t.candidate, t.value) for t in theirs.trials
    ]
    assert (ours.bounds, ours.inputs, ours.merged, ours.use) == (
        theirs.bounds, theirs.inputs, theirs.merged, theirs.use,
    )  # fmt: skip
    assert ours.facts["base"] == theirs.facts["base"] and "versions" in ours.facts


def test_a_run_is_read_after_its_models_moved_and_its_study_file_was_edited(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_stored(study, None, study.parent / "runs").outcome().verdict
    shutil.rmtree(study.parent / "models")
    study.write_text(study.read_text().replace("search: 64", "search: 32"))
    assert open_stored(study, None, study.parent / "runs").outcome().verdict == before
    assert before.sentence in exme(study, "report")
    assert "7 of 7" in exme(study, "status")
    assert "Wrote " in exme(study, "table", "--out", str(study.parent / "trials.csv"))
    with pytest.raises(UserError, match="base"):  # only an export needs the models
        _ = open_stored(study, None, study.parent / "runs").sources


def test_reading_writes_nothing_and_hashes_no_weights(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoint, "__init__", lambda *a: pytest.fail("a model was opened"))
    before = files(study.parent / "runs")
    exme(study, "status")
    exme(study, "table", "--out", str(study.parent / "trials.csv"))
    assert files(study.parent / "runs") == before


def test_a_run_can_be_named_by_its_folder(study: Path) -> None:
    folder = study.parent / "runs" / "mine-gsm8k"
    study.unlink()
    assert "7 of 7" in exme(folder, "status")


def test_a_study_that_was_never_begun_is_refused_and_leaves_nothing(
    study: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "none"
    with pytest.raises(UserError, match="not begun yet"):
        open_stored(study, None, empty)
    assert not empty.exists()
