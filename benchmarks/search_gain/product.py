"""The product's own search on a landscape: `open_search`, with a scorer that reads the table."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from exme.evaluators.scores import DocumentScores, join
from exme.search.merging.candidate import Candidate
from exme.search.running.screen import Screen
from exme.search.running.search import Search, open_search
from exme.search.scoring.worker import Scored
from exme.search.study.study_file import StudyFile
from exme.search.trials.ranking import best_trial
from exme.tasks.documents import SuiteDocuments

from ..landscape import Floats
from .half import Half

# Any suite with as many documents does, and any models with as many tensors: none is read.
_SUITE, _MODELS = "gsm8k", ("mini/sums", "mini/products")
_TENSORS = "*layers.{}.*"
_SECONDS = {"materialise": 0.0, "model": 1.0, "judge": 0.0}


class Table:
    """A scorer that looks outcomes up; see `exme.search.scoring.worker.Scorer`."""

    def __init__(self, half: Half, documents: Sequence[SuiteDocuments]) -> None:
        (found,) = documents
        self.half, self.suite = half, found.suite
        self.documents = tuple(d.id for d in found.search)

    def score(self, candidate: Candidate, split: str) -> Scored:
        """On all search documents; nothing is proved here."""
        return self.score_part(candidate, range(len(self.documents)))

    def score_part(self, candidate: Candidate, documents: Sequence[int]) -> Scored:
        """On some of them."""
        values = self.half.seen(point_of(candidate, self.half))
        chosen = DocumentScores(
            self.suite.suite,
            "search",
            self.suite.metric_name,
            tuple(self.documents[i] for i in documents),
            tuple(float(values[i]) for i in documents),
            0,
        )
        return Scored(join([chosen]), _SECONDS)

    def score_longer(self, candidate: Candidate) -> Scored | None:
        """No answers were cut."""
        return None

    def seconds_per_document(self) -> float:
        """Any."""
        return 1.0


def point_of(candidate: Candidate, half: Half) -> Floats:
    """A candidate's place in the landscape, group by group, shape (d,)."""
    if not candidate.grouped:  # the same in every group
        return half.spread(list(candidate.coefficients.values()))
    return np.array([v for group in candidate.grouped.values() for v in group.values()])


def study_of(half: Half, budget: float, **more: Any) -> StudyFile:
    """The study file of a search on a landscape."""
    few = half.landscape.checkpoints
    groups = half.size // few
    patterns = {f"group {i}": [_TENSORS.format(i)] for i in range(groups - 1)}
    content: dict[str, Any] = {
        "base": "mini/base",
        "checkpoints": {f"c{i + 1}": _MODELS[i % 2] for i in range(few)},
        "data": "mini",
        "documents": {"search": half.count, "report": 1, "seed": half.seed},
        "groups": {"patterns": patterns} if groups > 1 else None,
        "sampler": {"name": "auto", "seed": half.seed},
        "budget": {"documents": round(budget * half.count)},
    }
    return StudyFile.model_validate(content | more)


@contextmanager
def opened(half: Half, study: StudyFile, runs: Path) -> Iterator[Search]:
    """A search that reads the table and says nothing."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        screen = Screen(Console(file=nowhere, width=200))
        with open_search(study, _SUITE, name="gain", runs=runs, screen=screen) as search:
            search._worker = Table(half, search.documents)
            yield search


def product(half: Half, budgets: Sequence[float], **more: Any) -> Mapping[float, Floats]:
    """The point named at each budget, every one a search of its own."""
    memory = Path("/dev/shm")
    found = {}
    for budget in budgets:
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            study = study_of(half, budget, **more)
            with opened(half, study, Path(folder)) as search:
                search.work()
                best = best_trial(search.trials)
                assert best is not None and best.candidate is not None
                found[budget] = point_of(best.candidate, half)
    return found
