"""A candidate's race as the storage keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exme.search.racing import Draw, Estimate

from .partial import Partial


@dataclass(frozen=True)
class RaceLog:
    """A candidate's race so far, over all of its trials.

    Attributes:
        draw: the order of its documents.
        partial: scores of the first of them.
        estimate: what they say about all documents, at the time.
        legs: from which document on it raced against which trial.
        lost_to: the trial to which it lost; None while it has not.
    """

    draw: Draw
    partial: Partial
    estimate: Estimate
    legs: tuple[tuple[int, int], ...] = ()
    lost_to: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` is the inverse."""
        return {
            "draw": self.draw.to_json(),
            "partial": self.partial.to_json(),
            "estimate": [self.estimate.mean, self.estimate.standard_error, self.estimate.count],
            "legs": [list(leg) for leg in self.legs],
            "lost_to": self.lost_to,
        }

    @classmethod
    def from_json(
        cls, data: Mapping[str, Any], documents: Callable[[str, str], Sequence[str]]
    ) -> RaceLog:
        """Inverse of `to_json`.

        Args:
            data: what it gave.
            documents: identifiers of the documents of a suite and split.
        """
        mean, error, count = data["estimate"]
        return cls(
            draw=Draw.from_json(data["draw"]),
            partial=Partial.from_json(data["partial"], documents),
            estimate=Estimate(float(mean), float(error), int(count)),
            legs=tuple((int(start), int(number)) for start, number in data["legs"]),
            lost_to=data["lost_to"],
        )


@dataclass(frozen=True)
class Round:
    """What was scored of a candidate in one trial of a race.

    Attributes:
        race_log: the candidate's race, over all of its trials.
        documents: scored in this trial.
        continues: see `TrialRecord`.
    """

    race_log: RaceLog
    documents: int
    continues: int | None = None
