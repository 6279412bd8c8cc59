"""A scorer without a model for a study of a training run: what each checkpoint solves is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exme.search.merging.candidate import Candidate
from exme.search.scoring.worker import Scored
from exme.tasks.documents import SuiteDocuments
from tests.helpers.searches.landscape import Landscape


class Course(Landscape):
    """Inputs solve given shares of documents; a merge a mean of its checkpoints', and somewhat more.

    Every document has one threshold, so that whoever is better solves all that the others do.

    Args:
        documents: of each suite.
        shares: of the documents that the base and each checkpoint solve, by name.
        stops_after: calls after which the process is interrupted.
    """

    gain = 0.1

    def __init__(
        self,
        documents: Sequence[SuiteDocuments],
        shares: Mapping[str, float],
        stops_after: int | None = None,
    ) -> None:
        super().__init__(documents, {})
        self.shares, self.stops_after = shares, stops_after
        self.asked: list[tuple[str, str]] = []  # a candidate's name, and a document

    def share(self, coefficients: Mapping[str, float]) -> float:
        """See `Landscape.share`."""
        mine = {name: c for name, c in coefficients.items() if c}
        if not mine:
            return self.shares["base"]
        total = sum(mine.values())
        mean = sum(c * self.shares[name] for name, c in mine.items()) / total
        is_input = len(mine) == 1 and total == 1
        return mean + self.gain * (not is_input) - 0.2 * max(0.0, abs(total - 1.2) - 0.4)

    def score_part(self, candidate: Candidate, documents: Sequence[int]) -> Scored:
        """See `exme.search.scoring.worker.Scorer`."""
        if self.stops_after is not None:
            if not self.stops_after:
                raise KeyboardInterrupt
            self.stops_after -= 1
        scored = super().score_part(candidate, documents)
        mine = {name: c for name, c in candidate.coefficients.items() if c}
        (name, value) = next(iter(mine.items()), ("base", 1.0))
        named = name if len(mine) <= 1 and value == 1 else candidate.digest
        self.asked += [(named, d) for part in scored.scores.parts for d in part.documents]
        return scored


def of_run(run: Any, **changed: Any) -> dict[str, Any]:
    """What a study of a training run says, beside what others say."""
    return {
        "checkpoints": {"run": str(run), "best": 2},
        "racing": "on",
        "sampler": "auto",
        "budget": {"documents": 1500},
    } | changed
