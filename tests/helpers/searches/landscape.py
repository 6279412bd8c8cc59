"""A scorer without a model: a known landscape over the coefficients, for tests of the search."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from exme.evaluators.scores import DocumentScores, join
from exme.search.merging.candidate import Candidate
from exme.search.scoring.probing import DocumentTime
from exme.search.scoring.worker import Scored
from exme.tasks.documents import SuiteDocuments

PEAK = {"sums": 0.9, "products": 0.6}


class Landscape:
    """A hill: the chance to solve a document falls with the distance from the peak.

    Every document has a threshold of its own, so that nearby candidates solve nearly the same
    documents, as nearby models do.

    Args:
        documents: the documents of each suite; all suites have the same hill.
        peak: coefficients at which most documents are solved.
        top: share of documents solved there.
        width: distance at which the share has fallen by a factor e**-0.5.
    """

    def __init__(
        self,
        documents: Sequence[SuiteDocuments],
        peak: Mapping[str, float],
        top: float = 0.8,
        width: float = 0.6,
    ) -> None:
        self.documents, self.peak, self.top, self.width = documents, peak, top, width
        self.calls: list[tuple[str, str]] = []

    def share(self, coefficients: Mapping[str, float]) -> float:
        """Expected share of documents solved."""
        squared = sum((coefficients[n] - p) ** 2 for n, p in self.peak.items())
        return self.top * math.exp(-squared / (2 * self.width**2))

    def score(self, candidate: Candidate, split: str) -> Scored:
        """See `exme.search.scoring.worker.Scorer`."""
        self.calls.append((candidate.digest, split))
        share = self.share(candidate.coefficients)
        parts = []
        for documents in self.documents:
            suite, ids = documents.suite, tuple(d.id for d in documents.of(split))
            values = tuple(float(uniform(f"{split}{i}") < share) for i in ids)
            parts.append(DocumentScores(suite.suite, split, suite.metric_name, ids, values, 0))
        return Scored(join(parts), {"materialise": 0.1, "model": 0.8, "judge": 0.1})

    def score_part(self, candidate: Candidate, documents: Sequence[int]) -> Scored:
        """See `exme.search.scoring.worker.Scorer`."""
        whole = self.score(candidate, "search").scores
        parts, start = [], 0
        for part in whole.parts:
            mine = [d - start for d in documents if start <= d < start + part.count]
            start += part.count
            if mine:
                ids = tuple(part.documents[i] for i in mine)
                values = tuple(part.values[i] for i in mine)
                parts.append(replace(part, documents=ids, values=values))
        return Scored(join(parts), {"materialise": 0.1, "model": 0.8, "judge": 0.1})

    def score_longer(self, candidate: Candidate) -> Scored | None:
        """See `exme.search.scoring.worker.Scorer`."""
        return self.score(candidate, "report")

    def document_time(self) -> DocumentTime:
        """See `exme.search.scoring.worker.Scorer`."""
        return DocumentTime(1 / sum(len(d.search) for d in self.documents))


def uniform(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


class Flat(Landscape):
    """Every candidate solves the same documents."""

    def __init__(self, documents: Any, peak: Any) -> None:
        super().__init__(documents, peak, top=0.3, width=1e9)
