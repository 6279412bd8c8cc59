"""What is to be scored next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exme.search.merging import Candidate
from exme.search.study import Value

from .box import Box


@dataclass(frozen=True)
class Proposal:
    """A candidate that is to be scored.

    Attributes:
        parameters: that make it, by name.
        origin: who proposed it.
        candidate: itself.
        documents: that it may take; None for as many as a known point.
        box: within which the parameters were chosen.
        start: place in the search's order of documents at which a new candidate begins.
    """

    parameters: Mapping[str, Value]
    origin: str
    candidate: Candidate
    documents: int | None
    box: Box
    start: int = 0
