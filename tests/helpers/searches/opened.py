"""A search on a landscape, opened as Python opens one."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from exme.search.running.screen import Screen
from exme.search.running.search import Search, open_search
from exme.search.study.study_file import StudyFile
from tests.helpers.searches.landscape import PEAK, Landscape


def study_file(**changed: Any) -> StudyFile:
    return StudyFile.model_validate(
        {
            "base": "mini/base",
            "checkpoints": {"sums": "mini/sums", "products": "mini/products"},
            "data": "mini",
            "documents": {"search": 128, "report": 400},
            "budget": {"trials": 12},
            "sampler": {"name": "random"},  # the quickest; what is tested is the search around it
            "racing": "off",
        }
        | changed
    )


class Opened:
    """A search on a landscape, with the lines that it wrote."""

    def __init__(
        self,
        runs: Path,
        peak: Mapping[str, float] = PEAK,
        fork: bool = False,
        task: str = "gsm8k",
        **changed: Any,
    ) -> None:
        self.text = io.StringIO()
        screen = Screen(Console(file=self.text, width=200, soft_wrap=True))
        self.search: Search = open_search(
            study_file(**changed), task, name="test", runs=runs, screen=screen, fork=fork
        )
        self.landscape = Landscape(self.search.documents, peak)
        self.search._worker = self.landscape

    @property
    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()


def close(opened: Opened) -> None:
    opened.search.__exit__(None, None, None)


def racing(folder: Path, **changed: Any) -> Opened:
    """A search of 1500 documents in which candidates race."""
    settings = {"racing": "on", "sampler": "auto", "budget": {"documents": 1500}, **changed}
    return Opened(folder, **settings)
