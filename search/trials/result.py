"""What came of a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exme.evaluators.scores import Scores

from .race_log import Round
from .trial import Claim, TrialRecord


@dataclass(frozen=True)
class Result:
    """What came of a trial in hand: scores on all documents, or on some of them, or neither.

    Attributes:
        claim: the trial.
        scores: on all search documents; None where it was scored in part or not at all.
        values: what is maximised, as known now, of one that was scored on all documents.
        round: how it raced; None where it did not.
        seconds: wall time by what it was spent on.
        answers: given in this trial, by suite and document.
        message: why the candidate could not be scored, else empty.
        twin: the ended trial of the same candidate, whose scores it shares.
    """

    claim: Claim
    scores: Scores | None = None
    values: Sequence[float] = ()
    round: Round | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    message: str = ""
    twin: TrialRecord | None = None
