"""A trial in hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class TrialTaken(Exception):
    """The trial in hand was given to another worker, because this one seemed dead."""


@dataclass(frozen=True)
class Proposal:
    """A trial in hand.

    Attributes:
        number: Optuna's trial number.
        trial_id: the storage's own identifier of it.
        parameters: what to try, by parameter name.
        origin: who proposed it.
        documents: that it is worth, where whoever proposed it has a view on that.
    """

    number: int
    trial_id: int
    parameters: Mapping[str, float | str]
    origin: str
    documents: int | None = None
