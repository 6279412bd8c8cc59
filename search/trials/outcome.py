"""What a search has found so far: plain values for the report, the export and the screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exme.evaluators.scores import Scores
from exme.search.merging.candidate import Candidate
from exme.search.racing.goal import Goal
from exme.search.racing.strata import Estimate

from .race_log import Course

# Origin of trials that score a finalist on all documents.
FINAL = "final"


@dataclass(frozen=True)
class TrialRecord:
    """One trial as the storage holds it.

    Attributes:
        number: Optuna's trial number.
        state: ``complete``, ``stopped`` (it lost its race), ``left`` (scored on some documents, and
            may be taken up again), ``running``, ``waiting``, ``failed`` (could not be scored,
            `message` says why) or ``cut off`` (its process was killed; it was taken up again).
        origin: where the proposal came from: the name of a known point (``sums alone``, ``mean``,
            ``ExPO 0.3 of sums``) or of the sampler (``gp``).
        candidate: None while it is waiting or running.
        scores: on the search documents; None unless complete.
        seconds: wall time; 0 unless it was scored.
        message: why it failed, else empty.
        duplicate_of: number of the trial with the same candidate whose scores it shares.
        documents: scored in this trial; while it is running, those that it may take.
        course: how its documents were drawn and what came, where it raced.
        continues: number of the trial in which this candidate was looked at last; this one goes on
            from there.
        value: what the search maximises, as far as it can be said of a complete trial; see `Goal`.
        feasible: it loses no more than the study's `keep` allows, and is not barred.
        shift: from `parent`, relative to that parent's task vector; None where the study does not ask.
        penalty: what its merit loses for that, in the metric's unit; `value` has lost it already.
        barred: it is beyond the bound on the shift.
    """

    number: int
    state: str
    origin: str
    candidate: Candidate | None = None
    scores: Scores | None = None
    seconds: float = 0.0
    message: str = ""
    duplicate_of: int | None = None
    documents: int = 0
    course: Course | None = None
    continues: int | None = None
    value: float | None = None
    feasible: bool = True
    parent: str = ""
    shift: float | None = None
    penalty: float = 0.0
    barred: bool = False

    @property
    def is_scored(self) -> bool:
        """Whether something is known of its candidate's score, be it of some documents only."""
        return self.scores is not None or self.course is not None

    @property
    def estimate(self) -> Estimate | None:
        """Of a trial that was scored in part: what that says about all documents."""
        return None if self.course is None or self.scores is not None else self.course.estimate


@dataclass(frozen=True)
class Entry:
    """A model on the report documents: an input or the winner.

    Attributes:
        name: ``base``, a checkpoint's name, or ``merged``.
        candidate: its coefficients (all zero for the base, a unit vector for a checkpoint).
        report: its scores on the report documents.
        search: its scores on the search documents, where it was a trial.
        proxy: minus target_nll on the report documents, where the study searches by that.
        longer: its scores there when answers may be twice as long; where some were cut.
    """

    name: str
    candidate: Candidate
    report: Scores
    search: Scores | None = None
    proxy: Scores | None = None
    longer: Scores | None = None


@dataclass(frozen=True)
class Outcome:
    """A search as a whole.

    Attributes:
        study: name of the study, `task` the suite or suites it searched on.
        bounds: bounds of each coefficient now, by checkpoint name; `widened` tells each change.
        blind: what was said of suites that cannot tell candidates apart.
        trials: all trials in order of their numbers.
        winner: the best complete trial on the search documents; None before the first.
        inputs: base and checkpoints on the report documents; empty before the proof.
        merged: the winner on the report documents; None before the proof, or when the winner is
            one of the inputs.
        use: which use of these report documents the proof is, 1 the first, over all studies that use them
            (`uses`); 0 before it.
        importance: share of the spread between trials that each parameter explains; empty where
            there are too few trials to say.
        aim: what is maximised over suites, as the study says; without its reference.
        work: seconds of all trials together by what they were spent on.
        names: of all inputs that the proof is about; by default the base and the winner's checkpoints.
        facts: versions, seeds, fingerprints, dtype, device, sampler, commands, by name.
    """

    study: str
    task: str
    bounds: Mapping[str, tuple[float, float]]
    trials: tuple[TrialRecord, ...]
    winner: TrialRecord | None
    inputs: tuple[Entry, ...] = ()
    merged: Entry | None = None
    use: int = 0
    widened: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    importance: Mapping[str, float] = field(default_factory=dict)
    aim: Goal = field(default_factory=Goal)
    work: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the base and of all checkpoints; directions computed from them are no inputs."""
        if self.names or self.winner is None or self.winner.candidate is None:
            return self.names
        return ("base", *self.winner.candidate.coefficients)


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
