"""What tests of exports share: a resident model, a search, and the writing of an export."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.model_folder import ExportResult, export_model
from exme.search.merging.resident import ResidentModel
from exme.search.running.screen import Screen
from exme.search.running.search import Search, open_search
from exme.search.study.study_file import StudyFile
from tests.helpers.models.small_models import (
    make_family,
    open_resident,
)
from tests.helpers.searches.landscape import Landscape

NAMES = {"base": "mini/base", "math": "someone/math@v1", "code": "folders/code"}
POINT = {"math": 1.3, "code": 0.5}


def candidate(resident: ResidentModel, dtype: str = "bfloat16") -> Candidate:
    return Candidate(POINT, "exme", dtype, resident.sources.fingerprints)


def write(resident: ResidentModel, out: Path, **options: Any) -> ExportResult:
    dtype = str(resident.dtype).removeprefix("torch.")
    options = {"card": "# A card\n", "names": NAMES, **options}
    resident.materialise(candidate(resident, dtype))  # as it was scored
    return export_model(resident.sources, candidate(resident, dtype), out, **options)


@pytest.fixture(scope="module")
def resident(tmp_path_factory: pytest.TempPathFactory) -> ResidentModel:
    return open_resident(make_family(tmp_path_factory.mktemp("family")))


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def searched(tmp_path: Path) -> Iterator[Search]:
    """A search on a landscape whose top is at (1.3, 0.5), among tiny models that it never runs."""
    family = make_family(tmp_path)
    (family["base"] / "README.md").write_text("---\nlicense: mit\n---\n")
    study = StudyFile.model_validate(
        {
            "base": str(family.pop("base")),
            "checkpoints": {name: str(folder) for name, folder in family.items()},
            "data": "mini",
            "documents": {"search": 64, "report": 64},
            "budget": {"trials": 6},
            "sampler": {"name": "random"},
        }
    )
    screen = Screen(Console(file=io.StringIO()))
    with open_search(
        study,
        "gsm8k",
        name="mine",
        runs=tmp_path / "runs",
        screen=screen,
        worker=lambda d: Landscape(d, POINT),
    ) as search:
        yield search
