"""What is to be done about a candidate in one trial."""

from __future__ import annotations

from dataclasses import dataclass

from exme.search.racing.field import Field, Runner
from exme.search.racing.strata import Draw
from exme.search.trials.lineup import Lineup
from exme.search.trials.partial import Partial


@dataclass(frozen=True)
class Order:
    """A look that is to be made.

    Attributes:
        runner: the candidate, facing the incumbent.
        draw: of its documents.
        partial: its scores so far.
        lineup: those whom it races.
        legs: from which document on it races against which trial; several from one on are a front.
        most: documents to score at most.
        patient: it goes on though it is behind, until the test says that it has lost.
        continues: its last trial.
    """

    runner: Runner
    draw: Draw
    partial: Partial
    lineup: Lineup
    field: Field
    legs: tuple[tuple[int, int], ...]
    most: int
    patient: bool
    continues: int | None = None
