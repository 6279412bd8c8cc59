"""What a search has found so far: plain values for the report, the export and the screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from exme.evaluators import Scores
from exme.search.merging import Candidate
from exme.search.racing import Goal
from exme.search.trials import TrialRecord, counted

from .also import Also
from .gain import share_of_error
from .left_out import LeftOut
from .training_curve import CurvePoint
from .verdict import Verdict, verdict


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
        bounds: bounds of each coefficient, by checkpoint name.
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
        dropped: checkpoints of a training run that the search did not go on with.
        left_out: those of them that the proof need not score.
        curve: the base and the training run's checkpoints on the search documents.
        also: the winner and the best input on suites that were not searched on.
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
    blind: tuple[str, ...] = ()
    importance: Mapping[str, float] = field(default_factory=dict)
    aim: Goal = field(default_factory=Goal)
    work: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    also: tuple[Also, ...] = ()

    def __repr__(self) -> str:
        """In a few lines, for people."""
        done = f"study {self.study}, {self.task}: {counted(self.trials)}"
        best = "no winner yet" if self.winner is None else f"winner {self.winner!r}"
        return f"<{done}; {best}; {self.verdict.sentence}>"

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the winner is better than its inputs, and which model to use."""
        return verdict(self)

    @property
    def level(self) -> float:
        """One-sided level of the proof; see `share_of_error`."""
        return share_of_error(max(1, self.use), spares=bool(self.dropped))

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the base and of all checkpoints; directions computed from them are no inputs."""
        if self.names or self.winner is None or self.winner.candidate is None:
            return self.names
        return ("base", *self.winner.candidate.coefficients)
