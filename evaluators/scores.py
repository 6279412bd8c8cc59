"""Per-document scores: what an evaluation gives back."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Protocol

from .scale import HIGHER, TARGET_NLL, Scale

# As it was written before scores had a direction.
_MINUS_TARGET_NLL = f"-{TARGET_NLL}"


@dataclass(frozen=True)
class DocumentScores:
    """The outcome of one candidate on the documents of one suite and split.

    Attributes:
        suite: name of the suite, e.g. ``gsm8k``.
        split: ``search`` or ``report``.
        metric: name of lm-eval's metric and filter, e.g. ``exact_match,strict-match``.
        documents: identifiers of the documents, in order; unique.
        values: one score per document, better when higher, shape (n,); for accuracies 0 or 1. See `Scale`.
        seed: seed with which the documents were chosen.
        audit: further per-document outcomes by name, shape (n,) each (``empty``, ``cut``,
            ``unextracted``), for the reader of the report; not part of the score.
        higher_is_better: of the metric's own values.
    """

    suite: str
    split: str
    metric: str
    documents: tuple[str, ...]
    values: tuple[float, ...]
    seed: int
    audit: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    higher_is_better: bool = True

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

    def __repr__(self) -> str:
        """In one line, for people: the mean of the metric's values, without the documents."""
        return f"{self.suite} {self.metric} {self.scale.turn(self.mean):.4f} on {self.count} {self.split} documents"

    @property
    def parts(self) -> tuple[DocumentScores, ...]:
        """These scores by suite: themselves. See `Scorecard`."""
        return (self,)

    @property
    def scale(self) -> Scale:
        """How these scores and the metric's values become each other."""
        return Scale.of(self.metric, self.higher_is_better)

    @property
    def count(self) -> int:
        """Number of documents."""
        return len(self.values)

    @cached_property
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
        data = asdict(self)
        if self.higher_is_better:
            del data["higher_is_better"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DocumentScores:
        """Inverse of `to_json`; reads what earlier versions wrote."""
        metric, higher = metric_of(data)
        return cls(
            suite=sys.intern(data["suite"]),
            split=sys.intern(data["split"]),
            metric=sys.intern(metric),
            documents=tuple(data["documents"]),
            values=_floats(data["values"]),
            seed=int(data["seed"]),
            audit={k: _floats(values) for k, values in data.get("audit", {}).items()},
            higher_is_better=higher,
        )


def metric_of(data: Mapping[str, Any]) -> tuple[str, bool]:
    """Metric and direction of scores as JSON; those of earlier versions too."""
    metric = str(data["metric"])
    if metric == _MINUS_TARGET_NLL:
        return TARGET_NLL, False
    return metric, bool(data.get("higher_is_better", True))


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    """As a tuple of floats; one that is that already is kept, for rows may be shared."""
    if isinstance(values, tuple) and all(type(v) is float for v in values):
        return values
    return tuple(float(v) for v in values)


@dataclass(frozen=True)
class Scorecard:
    """The scores of one candidate on several suites; its mean is the mean over the suites.

    Suites weigh the same, however many documents each has.

    Attributes:
        parts: scores on each suite, in the study's order; two or more, of one split.
    """

    parts: tuple[DocumentScores, ...]

    def __post_init__(self) -> None:
        names = [part.suite for part in self.parts]
        if len(names) < 2 or len(set(names)) != len(names):
            raise ValueError(f"a scorecard needs several suites, each once; found {names}")
        if len({part.split for part in self.parts}) != 1:
            raise ValueError("a scorecard holds one split")

    def __repr__(self) -> str:
        """In one line, for people."""
        return "; ".join(map(repr, self.parts))

    @property
    def suite(self) -> str:
        """Names of the suites, joined by ``+``."""
        return "+".join(part.suite for part in self.parts)

    @property
    def split(self) -> str:
        """``search`` or ``report``."""
        return self.parts[0].split

    @property
    def scale(self) -> Scale:
        """As `DocumentScores.scale`; scores themselves are shown where suites' directions differ."""
        return scale_of([part.scale for part in self.parts])

    @property
    def metric(self) -> str:
        """``mean of gsm8k exact_match,strict-match; ...``; of differing directions ``1 - err,none``."""
        names = [part.metric for part in self.parts]
        if not self.scale.is_turned:
            tops = [part.scale.top for part in self.parts]
            pairs = zip(names, tops, strict=True)
            names = [n if top is None else f"{f'{top:g} ' if top else ''}- {n}" for n, top in pairs]
        each = zip(self.parts, names, strict=True)
        return "mean of " + "; ".join(f"{part.suite} {name}" for part, name in each)

    @property
    def seed(self) -> int:
        """Seed with which the documents were chosen."""
        return self.parts[0].seed

    @property
    def documents(self) -> tuple[str, ...]:
        """Identifiers of all documents, with their suites' names in front."""
        return tuple(f"{part.suite}/{d}" for part in self.parts for d in part.documents)

    @property
    def values(self) -> tuple[float, ...]:
        """All values, in the order of `documents`."""
        return tuple(v for part in self.parts for v in part.values)

    @property
    def audit(self) -> Mapping[str, tuple[float, ...]]:
        """Further outcomes by name, for those that every suite has."""
        names = [n for n in self.parts[0].audit if all(n in part.audit for part in self.parts)]
        return {n: tuple(v for part in self.parts for v in part.audit[n]) for n in names}

    @property
    def count(self) -> int:
        """Number of documents."""
        return sum(part.count for part in self.parts)

    @cached_property
    def mean(self) -> float:
        """Mean over the suites of their means."""
        return sum(part.mean for part in self.parts) / len(self.parts)

    @property
    def standard_error(self) -> float:
        """Of the mean: the suites' documents are independent samples."""
        squares = sum(part.standard_error**2 for part in self.parts)
        return math.sqrt(squares) / len(self.parts)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"parts": [part.to_json() for part in self.parts]}


Scores = DocumentScores | Scorecard


class Metric(Protocol):
    """Whatever has scores by a metric."""

    @property
    def metric(self) -> str:
        """Its name."""
        ...

    @property
    def scale(self) -> Scale:
        """How its values and scores become each other."""
        ...


def metric_text(scores: Metric) -> str:
    """The metric's name, and its direction where that is not upwards."""
    return scores.metric + " (lower is better)" * scores.scale.is_turned


def scale_of(scales: Sequence[Scale]) -> Scale:
    """Of the mean of scores over suites: that of the metrics' mean where lower is better in all."""
    tops = [scale.top for scale in scales if scale.top is not None]
    return Scale(sum(tops) / len(tops)) if tops and len(tops) == len(scales) else HIGHER


def join(parts: Sequence[DocumentScores]) -> Scores:
    """The scores of one candidate on one or several suites."""
    return parts[0] if len(parts) == 1 else Scorecard(tuple(parts))


def paired_values(a: DocumentScores, b: DocumentScores) -> tuple[Sequence[float], Sequence[float]]:
    """Values of two candidates on the same documents, in the same order.

    Raises:
        ValueError: the two were not scored on the same documents.
    """
    if (a.suite, a.split, a.documents) != (b.suite, b.split, b.documents):
        raise ValueError(f"{a.suite}/{a.split} and {b.suite}/{b.split}: not the same documents")
    return a.values, b.values
