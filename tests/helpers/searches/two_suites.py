"""Studies over two suites, the mini gsm8k and one of our own, and scores on several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exme.evaluators.scores import DocumentScores
from exme.search.study.study_file import StudyFile
from exme.tasks.mini import DATA
from tests.helpers.places import ROOT

OWN = ROOT / "docs" / "examples" / "own-suite"


def scores(suite: str, values: list[float], split: str = "search") -> DocumentScores:
    ids = tuple(str(i) for i in range(len(values)))
    return DocumentScores(suite, split, "acc,none", ids, tuple(values), 0)


def study_file(**changed: Any) -> StudyFile:
    return StudyFile.model_validate(
        {
            "base": "mini/base",
            "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
            "suites": ["gsm8k", str(OWN / "shop.yaml")],
            "data": "mini",
            "documents": {"search": 60, "report": 60},
            "budget": {"trials": 8},
            "sampler": {"name": "random"},
        }
        | changed
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with data of both suites."""
    mini = DATA / "gsm8k"
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "gsm8k").symlink_to(mini)
    (folder / "shop").symlink_to(OWN / "data" / "shop")
    return folder
