"""Per-document scores: what an evaluation gives back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class DocumentScores:
    """The outcome of one candidate on the documents of one suite and split.

    Attributes:
        suite: name of the suite, e.g. ``gsm8k``.
        split: ``search`` or ``report``.
        metric: name of lm-eval's metric and filter, e.g. ``exact_match,strict-match``.
        documents: identifiers of the documents, in order; unique.
        values: one value per document, shape (n,); for accuracies 0 or 1.
        seed: seed with which the documents were chosen.
        audit: further per-document outcomes by name, shape (n,) each (``empty``, ``cut``,
            ``unextracted``), for the reader of the report; not part of the score.
    """

    suite: str
    split: str
    metric: str
    documents: tuple[str, ...]
    values: tuple[float, ...]
    seed: int
    audit: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.documents) != len(self.values):
            raise ValueError(f"{len(self.documents)} documents but {len(self.values)} values")
        if len(set(self.documents)) != len(self.documents):
            raise ValueError("document identifiers are not unique")
        if not self.values:
            raise ValueError(f"no documents in {self.suite}/{self.split}")
        for name, outcomes in self.audit.items():
            if len(outcomes) != len(self.values):
                raise ValueError(f"audit '{name}': {len(outcomes)} of {len(self.values)} values")
        bad = [d for d, v in zip(self.documents, self.values, strict=True) if not math.isfinite(v)]
        if bad:
            raise ValueError(f"score of document {bad[0]} is not finite ({len(bad)} in all)")

    @property
    def count(self) -> int:
        """Number of documents."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean of the values; lm-eval's ``mean`` aggregation."""
        return sum(self.values) / len(self.values)

    @property
    def standard_error(self) -> float:
        """Sample standard error of the mean (ddof 1, as lm-eval's ``mean_stderr``)."""
        n = len(self.values)
        if n < 2:
            return math.nan
        mean = self.mean
        return math.sqrt(sum((v - mean) ** 2 for v in self.values) / (n - 1) / n)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DocumentScores:
        """Inverse of `to_json`."""
        return cls(
            suite=data["suite"],
            split=data["split"],
            metric=data["metric"],
            documents=tuple(data["documents"]),
            values=tuple(float(v) for v in data["values"]),
            seed=int(data["seed"]),
            audit={k: tuple(float(v) for v in vs) for k, vs in data.get("audit", {}).items()},
        )


def paired_values(a: DocumentScores, b: DocumentScores) -> tuple[Sequence[float], Sequence[float]]:
    """Values of two candidates on the same documents, in the same order.

    Raises:
        ValueError: the two were not scored on the same documents.
    """
    if (a.suite, a.split, a.documents) != (b.suite, b.split, b.documents):
        raise ValueError(f"{a.suite}/{a.split} and {b.suite}/{b.split}: not the same documents")
    return a.values, b.values
