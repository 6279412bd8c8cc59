"""Taking turns: how the workers of a study divide its trials between them.

Proposals are made one at a time, under a lock: each sees what all the others have in hand, so that none
is made twice, known points are enqueued once, and the budget is not overrun. Scoring, which takes
nearly all of the time, is done by all workers at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exme.search.merging.candidate import Candidate
from exme.search.proposing.agenda import Agenda
from exme.search.proposing.auto import Looks
from exme.search.proposing.plan import Plan
from exme.search.proposing.sampler import distributions
from exme.search.storage.storage import Storage
from exme.search.study.study_file import StudyFile
from exme.search.trials.budget import has_ended, is_over
from exme.search.trials.outcome import Proposal, TrialRecord

from .screen import Screen

# Seconds between two looks at what the other workers have in hand.
WAIT = 0.5


@dataclass(frozen=True)
class Turn:
    """What a worker has in hand.

    Attributes:
        proposal: the trial.
        candidate: that it makes.
        trials: the study's, as they were before it was proposed.
    """

    proposal: Proposal
    candidate: Candidate
    trials: Sequence[TrialRecord]


class Turns:
    """One worker's turns.

    Args:
        study: the study file.
        plan: the study's space, known points and bounds.
        storage: what all workers share.
        screen: where lines go.
        dtype: of candidates.
        sources: fingerprints of the base and the checkpoints.
        per_trial: documents that a trial takes without a race.
        looks: how candidates race, or would.
    """

    def __init__(
        self,
        study: StudyFile,
        plan: Plan,
        storage: Storage,
        screen: Screen,
        looks: Looks,
        *,
        dtype: str,
        sources: Mapping[str, str],
        per_trial: int,
    ) -> None:
        self.looks = looks
        self.study, self.plan, self.storage, self.screen = study, plan, storage, screen
        self.agenda = Agenda(study, plan, looks, dtype=dtype, sources=sources, per_trial=per_trial)
        self._is_waiting = False
        self._outlook: tuple[int, float | None] | None = None

    def take(self) -> Turn | None:
        """The next point, this worker's alone; None, after a while, when there is none to be had.

        That is so at the search's end, and while the trials that others have in hand may use the
        budget up: should one of them be lost, it is there for the taking.

        Raises:
            TrialTaken: the lock was lost with the database, and another took the trial for dead.
        """
        with self.storage.hold("propose"):
            trials = self._take_stock()
            found = self._propose(trials)
        if found is None and not self.why_over(trials):
            if not self._is_waiting:
                self.screen.say("The rest of the budget is in other workers' hands; waiting.")
            time.sleep(WAIT)
        self._is_waiting = found is None
        return None if found is None else Turn(*found, trials)

    def why_over(self, trials: Sequence[TrialRecord]) -> str:
        """Why the search is at its end, finalists and all; or the empty string."""
        reason = self.is_used_up(trials) or self.agenda.why_nothing_left(trials)
        if not reason or not self.is_racing:
            return reason
        # (a finalist in another's hands may come back)
        if any(t.state == "running" for t in trials) or self.agenda.finalist(trials) is not None:
            return ""
        return reason

    def is_used_up(self, trials: Sequence[TrialRecord]) -> str:
        """Why nothing but finalists is to be tried, or the empty string."""
        reason = is_over(self.study.budget, trials)
        least = self.study.budget.gain_per_hour
        if reason or least is None:
            return reason
        found = self.outlook(trials)
        unit = 1.0 if self.study.objective == "target_nll" else 100.0
        if found is None or unit * found >= least:
            return ""
        return f"another hour is expected to bring {unit * found:.2g}, less than {least:g}"

    def outlook(self, trials: Sequence[TrialRecord]) -> float | None:
        """What another hour is expected to bring; see `Looks.outlook`."""
        ended = sum(has_ended(t) for t in trials)
        if self._outlook is None or self._outlook[0] != ended:
            self._outlook = ended, self.looks.outlook(trials, self.plan.bounds(trials)[0])
        return self._outlook[1]

    @property
    def is_racing(self) -> bool:
        """Whether candidates may be stopped."""
        return self.looks.is_racing

    def _propose(self, trials: Sequence[TrialRecord]) -> tuple[Proposal, Candidate] | None:
        bounds, widened = self.plan.bounds(trials)
        agenda = self.agenda
        given, may_ask = agenda.next(trials, bounds, self.is_used_up(trials))
        if given is None and not may_ask:
            return None
        for point in [] if given is not None else agenda.due(trials):
            self.storage.enqueue(self.plan.of_point(point), point.name)
        for sentence in widened:
            if self.storage.record.add_note(sentence):
                self.screen.say(sentence, "cyan")
        box = agenda.box(bounds)
        if given is not None:
            parameters = agenda.within(box.nearest(given.parameters))
            candidate = agenda.candidate(parameters)
            return self.storage.propose(
                parameters, distributions(box), given.origin, candidate, given.documents
            ), candidate
        proposal = self.storage.ask(agenda.sampler(trials, box))
        candidate = agenda.candidate(proposal.parameters)
        self.storage.claim(proposal, candidate, self.looks.first)
        return proposal, candidate

    def recover(self) -> None:
        """Take back the trials of workers that died."""
        with self.storage.hold("propose"):
            self._take_stock()

    def _take_stock(self) -> list[TrialRecord]:
        trials, told = self.storage.take_stock()
        for sentence in told:
            self.screen.say(sentence, "yellow")
        return trials

    def twin(self, turn: Turn) -> TrialRecord | None:
        """The ended trial of the same candidate; waits for one that is in another's hands.

        A candidate that was left is not ended: it may be taken up again.
        """
        known, digest, number = turn.trials, turn.candidate.digest, turn.proposal.number
        while True:
            trials = [
                t
                for t in known
                if t.candidate is not None and t.number != number and t.candidate.digest == digest
            ]
            done = [t for t in trials if t.scores is not None or t.state == "stopped"]
            if done:
                return done[0]
            # Only the later of two waits, or they would wait for each other.
            if not any(t.state == "running" and t.number < number for t in trials):
                return None
            time.sleep(WAIT)
            self.recover()
            known = self.storage.trials()


def describe_failure(error: Exception) -> str:
    """Why a candidate could not be scored, in one line."""
    said = " ".join(str(error).split())
    if isinstance(error, (ArithmeticError, ValueError)) and said:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
