"""What is to be done about a candidate in one trial."""

from __future__ import annotations

from dataclasses import dataclass

from .field import Field, Runner
from .lineup import Lineup
from .partial import Partial
from .strata import Draw


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
