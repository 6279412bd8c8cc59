"""Taking turns: how the workers of a study divide its trials between them.

Proposals are made one at a time, under a lock: each sees what all the others have in hand, so that none
is made twice, known points are enqueued once, and the budget is not overrun. Scoring, which takes
nearly all of the time, is done by all workers at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from .candidate import Candidate
from .outcome import TrialRecord
from .plan import Plan, complete, has_room, is_over
from .sampler import BoundedSampler
from .screen import Screen
from .storage import Proposal, Storage
from .study_file import StudyFile

# Seconds between two looks at what the other workers have in hand.
WAIT = 0.5


class Turns:
    """One worker's turns.

    Args:
        study: the study file.
        plan: the study's space, known points and bounds.
        storage: what all workers share.
        screen: where lines go.
        dtype: of candidates.
        sources: fingerprints of the base and the checkpoints.
        per_trial: documents that one trial takes.
    """

    def __init__(
        self,
        study: StudyFile,
        plan: Plan,
        storage: Storage,
        screen: Screen,
        *,
        dtype: str,
        sources: Mapping[str, str],
        per_trial: int,
    ) -> None:
        self.study, self.plan, self.storage, self.screen = study, plan, storage, screen
        self.dtype, self.sources, self.per_trial = dtype, sources, per_trial
        self._is_waiting = False

    def take(self) -> tuple[Proposal, Candidate] | None:
        """The next point, this worker's alone; None, after a while, when there is none to be had.

        That is so at the search's end, and while the trials that others have in hand may use the
        budget up: should one of them be lost, it is there for the taking.

        Raises:
            TrialTaken: the lock was lost with the database, and another took the trial for dead.
        """
        with self.storage.hold("propose"):
            found = self._propose()
        if found is None and not is_over(self.study.budget, self.storage.trials()):
            if not self._is_waiting:
                self.screen.say("The rest of the budget is in other workers' hands; waiting.")
            time.sleep(WAIT)
        self._is_waiting = found is None
        return found

    def _propose(self) -> tuple[Proposal, Candidate] | None:
        self._say_recovered()
        trials, budget, space = self.storage.trials(), self.study.budget, self.plan.proposals
        if is_over(budget, trials) or not has_room(budget, trials, self.per_trial):
            return None
        known = {t.origin for t in trials}
        for point in self.plan.due_points(trials):
            if point.name not in known:
                self.storage.enqueue(self.plan.of_point(point), point.name)
        bounds, widened = self.plan.bounds(trials)
        for sentence in widened:
            if self.storage.add_note(sentence):
                self.screen.say(sentence, "cyan")
        settings, known_count = self.study.sampler, self.plan.known_count
        sampler = BoundedSampler(settings.name, settings.seed, bounds, known_count, space.choices)
        proposal = self.storage.ask(sampler)
        candidate = space.candidate(proposal.parameters, dtype=self.dtype, sources=self.sources)
        self.storage.claim(proposal, candidate)
        return proposal, candidate

    def recover(self) -> None:
        """Take back the trials of workers that died."""
        with self.storage.hold("propose"):
            self._say_recovered()

    def _say_recovered(self) -> None:
        for sentence in self.storage.recover():
            self.screen.say(sentence, "yellow")

    def twin(self, proposal: Proposal, candidate: Candidate) -> TrialRecord | None:
        """The complete trial of the same candidate; waits for one that is in another's hands."""
        while True:
            trials = [
                t
                for t in self.storage.trials()
                if t.candidate is not None
                and t.number != proposal.trial.number
                and t.candidate.digest == candidate.digest
            ]
            done = complete(trials)
            if done:
                return done[0]
            # Only the later of two waits, or they would wait for each other.
            if not any(t.state == "running" and t.number < proposal.trial.number for t in trials):
                return None
            time.sleep(WAIT)
            self.recover()


def describe_failure(error: Exception) -> str:
    """Why a candidate could not be scored, in one line."""
    said = " ".join(str(error).split())
    if isinstance(error, (ArithmeticError, ValueError)) and said:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
