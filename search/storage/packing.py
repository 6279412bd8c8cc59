"""How scores are written into a storage: without identifiers, and short where they are 0 or 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from exme.evaluators import DocumentScores, Scores, join
from exme.search.trials import Part

_DIGITS = {"0": 0.0, "1": 1.0}


def pack(scores: Scores) -> list[dict[str, Any]]:
    """Scores by suite, without their document identifiers.

    Values that are all 0 or 1 become one text of digits: an eighth of the memory, in the database
    and in the history that every worker holds.
    """
    packed = []
    for part in scores.parts:
        data = part.to_json()
        del data["documents"]
        data["values"] = _shorten(part.values)
        data["audit"] = {name: _shorten(values) for name, values in part.audit.items()}
        packed.append(data)
    return packed


def as_told(values: Sequence[float], parts: Sequence[DocumentScores | Part]) -> list[float]:
    """What is maximised of a trial as Optuna holds it, and back: of a suite by itself what lm-eval would say.

    Args:
        values: one, or of a Pareto front one a suite.
        parts: the trial's scores by suite.
    """
    if len(values) != len(parts):
        return list(values)
    return [part.scale.turn(value) for part, value in zip(parts, values, strict=True)]


def unpack(
    packed: Sequence[Mapping[str, Any]], documents: Callable[[str, str], Sequence[str]]
) -> Scores:
    """Inverse of `pack`; reads lists of numbers too, as earlier versions wrote them.

    Args:
        packed: what `pack` gave.
        documents: identifiers of the documents of a suite and split.
    """
    return join(
        [
            DocumentScores.from_json(
                {
                    **part,
                    "documents": documents(part["suite"], part["split"]),
                    "values": _lengthen(part["values"]),
                    "audit": {k: _lengthen(v) for k, v in part.get("audit", {}).items()},
                }
            )
            for part in packed
        ]
    )


def _shorten(values: Sequence[float]) -> str | list[float]:
    if all(value in (0, 1) for value in values):
        return "".join("1" if value else "0" for value in values)
    return [int(value) if value == int(value) else value for value in values]


def _lengthen(values: str | Sequence[float]) -> Sequence[float]:
    # The two floats are shared: 2,000 trials of 256 documents are 4 MB, not 16. So is a whole row that says one thing
    # of all documents, as most of an audit does.
    if not isinstance(values, str):
        return values
    if values == values[:1] * len(values):
        return _level(values)
    return tuple(_DIGITS[digit] for digit in values)


@lru_cache(maxsize=64)
def _level(digits: str) -> tuple[float, ...]:
    return (_DIGITS[digits[0]],) * len(digits) if digits else ()
