"""Scores on some of the search documents: what a candidate has while it races."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from exme.evaluators import DocumentScores, Scale, Scores, join, metric_of
from exme.search.racing import Floats

Values = tuple[float, ...]
_NOT_SEEN = "-"


@dataclass(frozen=True)
class Part:
    """One suite's scores; NaN where a document was not seen.

    Attributes:
        suite: its name; `split`, `metric` and `higher_is_better` as in `DocumentScores`.
        documents: identifiers of all documents, in order.
        values: one per document, shape (n,).
        seed: seed with which the documents were chosen.
        audit: further outcomes by name, shape (n,) each.
    """

    suite: str
    documents: tuple[str, ...]
    values: Values
    split: str = "search"
    metric: str = ""
    seed: int = 0
    audit: Mapping[str, Values] = field(default_factory=dict)
    higher_is_better: bool = True

    @property
    def scale(self) -> Scale:
        """How these scores and the metric's values become each other."""
        return Scale.of(self.metric, self.higher_is_better)

    def add(self, scores: DocumentScores) -> Part:
        """With the scores of further documents."""
        place = {d: i for i, d in enumerate(self.documents)}
        places = [place[d] for d in scores.documents]
        blank = (math.nan,) * len(self.documents)
        names = {*self.audit, *scores.audit}
        return replace(
            self,
            metric=scores.metric,
            higher_is_better=scores.higher_is_better,
            seed=scores.seed,
            values=_filled(self.values, places, scores.values),
            audit={
                n: _filled(self.audit.get(n, blank), places, scores.audit.get(n, ())) for n in names
            },
        )

    def seen(self) -> DocumentScores:
        """The scores on the documents that were seen."""
        places = [i for i, value in enumerate(self.values) if not math.isnan(value)]

        def kept(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[i] for i in places)

        return DocumentScores(
            self.suite, self.split, self.metric, kept(self.documents), kept(self.values), self.seed,
            {name: kept(values) for name, values in self.audit.items()}, self.higher_is_better,
        )  # fmt: skip


@dataclass(frozen=True)
class Partial:
    """Scores of one candidate on some of the search documents of each suite."""

    parts: tuple[Part, ...]

    @classmethod
    def blank(cls, documents: Mapping[str, Sequence[str]]) -> Partial:
        """Nothing seen yet.

        Args:
            documents: identifiers by suite, in the study's order.
        """
        return cls(tuple(Part(s, tuple(d), (math.nan,) * len(d)) for s, d in documents.items()))

    def add(self, scores: Scores) -> Partial:
        """With the scores of further documents."""
        new = {part.suite: part for part in scores.parts}
        return Partial(tuple(p.add(new[p.suite]) if p.suite in new else p for p in self.parts))

    @property
    def values(self) -> Floats:
        """Of all suites, one after the other, shape (n,)."""
        return np.array([v for part in self.parts for v in part.values])

    @property
    def count(self) -> int:
        """Documents seen."""
        return int((~np.isnan(self.values)).sum())

    @property
    def is_complete(self) -> bool:
        """Whether all documents were seen."""
        return self.count == sum(len(part.documents) for part in self.parts)

    def whole(self) -> Scores:
        """The scores as a complete trial has them.

        Raises:
            ValueError: some documents were not seen.
        """
        return join(
            [
                DocumentScores(
                    p.suite,
                    p.split,
                    p.metric,
                    p.documents,
                    p.values,
                    p.seed,
                    p.audit,
                    p.higher_is_better,
                )
                for p in self.parts
            ]
        )

    def seen(self) -> Scores:
        """The scores on the documents that were seen, which were drawn with unequal chances.

        Raises:
            ValueError: none was.
        """
        some = [part for part in self.parts if not all(math.isnan(v) for v in part.values)]
        return join([part.seen() for part in some])

    def to_json(self) -> list[dict[str, Any]]:
        """Plain JSON types, without the identifiers."""
        return [
            {
                "suite": part.suite,
                "split": part.split,
                "metric": part.metric,
                **({} if part.higher_is_better else {"higher_is_better": False}),
                "seed": part.seed,
                "values": _shorten(part.values),
                "audit": {name: _shorten(values) for name, values in part.audit.items()},
            }
            for part in self.parts
        ]

    @classmethod
    def from_json(
        cls, data: Sequence[Mapping[str, Any]], documents: Callable[[str, str], Sequence[str]]
    ) -> Partial:
        """Inverse of `to_json`.

        Args:
            data: what it gave.
            documents: identifiers of the documents of a suite and split.
        """
        return cls(
            tuple(
                Part(
                    suite=part["suite"],
                    documents=tuple(documents(part["suite"], part["split"])),
                    values=_lengthen(part["values"]),
                    split=part["split"],
                    metric=metric,
                    seed=part["seed"],
                    audit={name: _lengthen(values) for name, values in part["audit"].items()},
                    higher_is_better=higher,
                )
                for part in data
                for metric, higher in (metric_of(part),)
            )
        )


def _filled(old: Values, places: Sequence[int], new: Sequence[float]) -> Values:
    values = list(old)
    for place, value in zip(places, new, strict=bool(new)):
        values[place] = value
    return tuple(values)


def _shorten(values: Values) -> str | list[float | None]:
    if all(value in (0, 1) or math.isnan(value) for value in values):
        return "".join(_NOT_SEEN if math.isnan(v) else "1" if v else "0" for v in values)
    return [None if math.isnan(value) else value for value in values]


def _lengthen(values: str | Sequence[float | None]) -> Values:
    if isinstance(values, str):
        return tuple(math.nan if v == _NOT_SEEN else float(v) for v in values)
    return tuple(math.nan if v is None else float(v) for v in values)
