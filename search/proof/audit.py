"""Whether a gain may be one of format: answers that were cut, empty, or without an extractable answer.

A limit on the length of answers can make a gain and unmake it: models that answer at length lose what is cut, and
a merge that answers briefly gains that without solving more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exme.evaluators import Scores

if TYPE_CHECKING:
    from .outcome import Entry

# Kinds of answers that were not scored as meant, as the judge names them.
KINDS = ("cut", "empty", "unextracted")

# A gain is flagged where such answers can have made so much of it: one in five hundred is no matter of format.
WORTH = 0.1


@dataclass(frozen=True)
class Audit:
    """The winner beside the best input, on the report documents.

    Attributes:
        gain: difference of the mean scores.
        spared: the difference on the documents on which neither answer was cut, empty or without an
            extractable answer, suites weighing the same; None where there are none left.
        documents: number of these.
        fewer: kinds of which the winner has fewer, with the numbers of both.
        longer: the difference with room for answers of twice the length; None where no answer was cut.
        possible: what the winner's fewer such answers can have gained at most, were all of them right now and of a
            metric from 0 to 1.
    """

    gain: float
    spared: float | None
    documents: int
    fewer: tuple[tuple[str, int, int], ...]
    longer: float | None
    possible: float = 0.0

    @property
    def is_flagged(self) -> bool:
        """Whether fewer such answers can have made a good part of the gain, or it goes when answers may be longer."""
        lost = self.longer is not None and self.longer <= 0
        made = bool(self.fewer) and self.possible >= WORTH * self.gain
        return self.gain > 0 and (made or lost)

    def caution(self, name: str) -> str:
        """Why the gain over an input of this name may be one of format; empty where nothing says so."""
        if not self.is_flagged:
            return ""
        made = self.possible >= WORTH * self.gain
        counts = ", ".join(f"{kind}: {a} against {b}" for kind, a, b in self.fewer if made)
        reason = f"it has fewer such answers than {name} ({counts})" if counts else ""
        reason = reason or "it goes when answers may be longer"
        return f"Caution: the gain may be one of format, for {reason}."


def audit_of(merged: Entry, best: Entry) -> Audit:
    """Compare the winner with the best input.

    Args:
        merged: the winner.
        best: the best input, on the same report documents.
    """
    pairs = list(zip(merged.report.parts, best.report.parts, strict=True))
    fewer = []
    for kind in KINDS:
        both = [
            (a.audit[kind], b.audit[kind]) for a, b in pairs if kind in a.audit and kind in b.audit
        ]
        mine, other = (int(sum(sum(pair[k]) for pair in both)) for k in (0, 1))
        if mine < other:
            fewer.append((kind, mine, other))
    spared, count, possible = [], 0, 0.0
    for ours, theirs in pairs:
        more = [_odd(theirs.audit, i) - _odd(ours.audit, i) for i in range(ours.count)]
        possible += sum(more) / ours.count / len(pairs)
        kept = [i for i in range(ours.count) if not (_odd(ours.audit, i) or _odd(theirs.audit, i))]
        mean = _mean([ours.values[i] - theirs.values[i] for i in kept])
        spared += [mean] if mean is not None else []
        count += len(kept)
    longer = None
    if merged.longer is not None and best.longer is not None:
        longer = merged.longer.mean - best.longer.mean
    gain = merged.report.mean - best.report.mean
    return Audit(gain, _mean(spared), count, tuple(fewer), longer, possible)


def any_cut(scores: Scores) -> bool:
    """Whether an answer was cut by the limit on its length."""
    return any(sum(part.audit.get("cut", ())) > 0 for part in scores.parts)


def share_text(values: Sequence[float] | None) -> str:
    """The share of answers of one kind, of those that were seen: ``12.5%``; a dash where nobody counted."""
    seen = [value for value in values or () if not math.isnan(value)]
    return f"{100 * sum(seen) / len(seen):.1f}%" if seen else "–"


def _odd(outcomes: Mapping[str, Sequence[float]], i: int) -> bool:
    return any(outcomes[kind][i] > 0 for kind in KINDS if kind in outcomes)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
