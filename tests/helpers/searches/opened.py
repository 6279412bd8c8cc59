"""A search on a landscape, opened as Python opens one."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from exme.search.running.screen import Screen
from exme.search.running.search import Search, open_search
from exme.search.study.study_file import StudyFile
from exme.tasks.documents import SuiteDocuments
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
        scorer: Callable[[Sequence[SuiteDocuments]], Landscape] | None = None,
        **changed: Any,
    ) -> None:
        self.text = io.StringIO()
        screen = Screen(Console(file=self.text, width=200, soft_wrap=True))
        made: list[Landscape] = []

        def make(documents: Sequence[SuiteDocuments]) -> Landscape:
            made.append(scorer(documents) if scorer else Landscape(documents, peak))
            return made[0]

        self.search: Search = open_search(
            study_file(**changed),
            task,
            name="test",
            runs=runs,
            screen=screen,
            fork=fork,
            worker=make,
        )
        (self.landscape,) = made

    @property
    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()


def close(opened: Opened) -> None:
    opened.search.__exit__(None, None, None)


def racing(folder: Path, **changed: Any) -> Opened:
    """A search of 1500 documents in which candidates race."""
    settings = {"racing": "on", "sampler": "auto", "budget": {"documents": 1500}, **changed}
    return Opened(folder, **settings)
