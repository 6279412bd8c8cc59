"""A trial: one entry of a study, as the storage holds it, and as a worker has it in hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exme.evaluators import Scores
from exme.search.merging import Candidate
from exme.search.racing import Estimate

from .clock import Clock
from .race_log import RaceLog, Round

# Origin of the trial that scores the model that is named on the documents it lacks.
FINAL = "final"
# State of a first stage's trial of a checkpoint that the search does not go on with.
DROPPED = "dropped"


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the storage holds it.

    Attributes:
        number: Optuna's trial number.
        state: ``complete``, ``rejected`` (it lost its race), ``paused`` (scored on some documents, and
            may be taken up again), ``running``, ``waiting``, ``failed`` (could not be scored,
            `message` says why), ``cut off`` (its process was killed; it was taken up again) or ``dropped`` (of a
            checkpoint that a first stage has not kept).
        origin: where the proposal came from: the name of a known point (``sums alone``, ``mean``,
            ``ExPO 0.3 of sums``) or of the sampler (``gp``).
        candidate: None while it is waiting or running.
        scores: on the search documents; None unless complete.
        seconds: wall time; 0 unless it was scored.
        proposing: the part of it that choosing the candidate took.
        clock: when that was; None where the storage does not say.
        message: why it failed, else empty.
        duplicate_of: number of the trial with the same candidate whose scores it shares.
        documents: scored in this trial; while it is running, those that it may take.
        race_log: how its documents were drawn and what came, where it raced.
        continues: number of the trial in which this candidate was looked at last; this one goes on
            from there.
        value: what the search maximises, as far as it can be said of a complete trial; see `Goal`.
        feasible: it loses no more than the study's `keep` allows, and is not barred.
        shift: from `parent`, relative to that parent's task vector; None where the study does not ask.
        penalty: what its merit loses for that, in the metric's unit; `value` has lost it already.
        barred: it is beyond the bound on the shift.
        means: what is believed now of its candidate's score on documents like those of each suite; None before that was asked.
        belief: what is believed now of what the search maximises, less its penalty; the best is named by it. None where
            nothing was scored, and on a Pareto front.
    """

    number: int
    state: str
    origin: str
    candidate: Candidate | None = None
    scores: Scores | None = None
    seconds: float = 0.0
    proposing: float = 0.0
    clock: Clock | None = None
    message: str = ""
    duplicate_of: int | None = None
    documents: int = 0
    race_log: RaceLog | None = None
    continues: int | None = None
    value: float | None = None
    feasible: bool = True
    parent: str = ""
    shift: float | None = None
    penalty: float = 0.0
    barred: bool = False
    means: tuple[float, ...] | None = None
    belief: float | None = None

    def __repr__(self) -> str:
        """In one line, for people; identifiers and scores of documents are left out."""
        sums = "" if self.candidate is None else f": {self.candidate.in_words}"
        told = ""
        if self.scores is not None:
            told = f", {self.scores!r}"
        elif self.race_log is not None:
            seen = self.race_log.estimate
            told = f", score about {seen.mean:.4f} from {seen.count} documents"
        return f"<trial {self.number} ({self.origin}, {self.state}){sums}{told}>"

    @property
    def is_scored(self) -> bool:
        """Whether something is known of its candidate's score, be it of some documents only."""
        return self.scores is not None or self.race_log is not None

    @property
    def estimate(self) -> Estimate | None:
        """Of a trial that was scored in part: what that says about all documents."""
        return None if self.race_log is None or self.scores is not None else self.race_log.estimate


class TrialTaken(Exception):
    """The trial in hand was given to another worker, because this one seemed dead."""


@dataclass(frozen=True)
class Claim:
    """A trial that a worker of this process has in hand.

    Attributes:
        number: Optuna's trial number.
        trial_id: the storage's own identifier of it.
        origin: who proposed it.
        candidate: to be scored.
        documents: that it may take, where whoever proposed it has a view on that.
        start: place in the search's order of documents at which a candidate that was not scored yet begins.
    """

    number: int
    trial_id: int
    origin: str
    candidate: Candidate
    documents: int | None = None
    start: int = 0


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
