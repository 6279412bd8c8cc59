"""The loop of one worker: a trial is claimed, its candidate scored, and what came of it saved.

Proposals are made one at a time, under a lock: each sees the running trials of all workers, so that none
is made twice and the budget is not overrun. Scoring, which takes nearly all of the time, is done by all at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from exme.evaluators.vllm import EngineDied
from exme.search.merging import Candidate
from exme.search.merging.methods import KnownPoint
from exme.search.proposing import History, Proposal, next_proposal, why_over
from exme.search.scoring import load_answers, merge_answers, save_answers
from exme.search.study import BY_HAND
from exme.search.trials import Claim, Result, TrialRecord, TrialTaken
from exme.tasks import UserError

from .interrupts import stop_if_asked
from .opened_search import OpenedSearch
from .round import run_round

# Seconds after which the running trials of other workers are read again.
WAIT = 0.5
# Engines that end one after the other, before the search gives up.
MOST_DEATHS = 3
UNREACHED = "trial {number} could not be given back, for the database does not answer; it is taken up again all the same"


class Loop:
    """Trials of this process, one after the other.

    Args:
        search: the study, with its storage and documents.
    """

    def __init__(self, search: OpenedSearch) -> None:
        self.search, self.storage, self.screen = search, search.storage, search.screen
        self._is_waiting = False
        self._deaths = 0  # of engines, since the last trial

    def trial(self) -> int | None:
        """One trial, and its number; None when there is none to be had now, or another worker was given it."""
        return self._carried_out(self.claim)

    def by_hand(self, point: KnownPoint) -> int:
        """Score a point that a person names on all search documents, and its trial's number; what is known of it is not scored again.

        Raises:
            UserError: the engine died, or another worker was given the trial.
        """
        settled = self.search.settled
        parameters = settled.plan.of_point(point)
        candidate = settled.candidate(parameters)
        done = self._complete(candidate)
        if done is not None:
            return done.number

        def claim() -> tuple[Claim, History]:
            with self.storage.hold("propose"):
                self._take_back()
                history = self.search.history()
                box = history.box.holding(parameters)
                found = Proposal(parameters, point.name, candidate, settled.count, box)
                return self.storage.begin(found), history

        number = self._carried_out(claim)
        if number is None:
            raise UserError("the trial was given back; the same command scores it again")
        return number

    def _complete(self, candidate: Candidate) -> TrialRecord | None:
        """The trial in which a candidate was scored on all search documents."""
        known = (t for t in self.search.history().trials if t.scores is not None)
        return next(
            (t for t in known if t.candidate and t.candidate.digest == candidate.digest), None
        )

    def _carried_out(self, claimed: Callable[[], tuple[Claim, History] | None]) -> int | None:
        """A trial from its claim to what came of it; see `trial`."""
        start = time.perf_counter()
        try:
            found = claimed()
            if found is None:
                return None
            claim, history = found
            try:
                self.score(claim, history, time.perf_counter() - start)
            except TrialTaken:
                raise
            except EngineDied as error:
                self.screen.say(self.storage.release(claim), "yellow")
                self._bury(error)
                return None
            except BaseException as error:
                # Ctrl-C as well: no other worker shall wait for this one.
                self._give_back(claim, error)
                raise
        except TrialTaken:
            self.screen.say("A trial was given to another worker while this one stood still.")
            return None
        return claim.number

    def _give_back(self, claim: Claim, reason: BaseException) -> None:
        """Release a trial, and say so; where a person wants an end and the database is away, that it will be taken up later."""
        try:
            self.screen.say(self.storage.release(claim), "yellow")
        except Exception:
            if not isinstance(reason, KeyboardInterrupt):
                raise
            self.screen.say(UNREACHED.format(number=claim.number), "yellow")

    def claim(self) -> tuple[Claim, History] | None:
        """The next trial, this worker's alone, and what it was proposed by; None, after a while, when there is none to be had.

        That is so at the search's end, and while running trials of others may use the
        budget up: should one of them be lost, it is there for the taking.

        Raises:
            TrialTaken: the lock was lost with the database, and another took the trial for dead.
        """
        with self.storage.hold("propose"):
            self._take_back()
            history = self.search.history()
            proposal = next_proposal(history)
            claim = None if proposal is None else self.storage.begin(proposal)
        if claim is None and not why_over(history):
            if not self._is_waiting:
                self.screen.say("The rest of the budget is in other workers' hands; waiting.")
            time.sleep(WAIT)
        self._is_waiting = claim is None
        return None if claim is None else (claim, history)

    def score(self, claim: Claim, history: History, proposing: float = 0.0) -> None:
        """Score a claimed candidate and save what comes.

        Args:
            claim: the trial.
            history: that it was proposed by.
            proposing: seconds that this took.
        """
        twin = self._twin(claim)
        if twin is not None:
            self.storage.save(Result(claim, twin=twin))
            return
        stop_if_asked()  # a candidate may take minutes
        result = run_round(claim, history, self.search.worker)
        self._deaths = 0
        if result.scores is not None:
            trials = self.search.history().trials
            penalty = trials[claim.number].penalty
            told = history.settled.objective.told(result.scores, trials, penalty)
            result = replace(result, values=told)
        self._keep_answers(result)
        self.storage.save(replace(result, seconds={"propose": proposing, **result.seconds}))

    def _bury(self, error: EngineDied) -> None:
        """Have the next trial start the engine again; an engine that always ends is not the trials' fault."""
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            raise UserError(
                f"{error}, {self._deaths} times in a row; put that right; the same command resumes"
            )
        self.screen.say(f"{error}; the engine is started again.", "yellow")
        self.search.rest()

    def recover(self) -> None:
        """Take back the trials of workers that died."""
        with self.storage.hold("propose"):
            self._take_back()

    def _take_back(self) -> None:
        for sentence in self.storage.take_back():
            self.screen.say(sentence, "yellow")

    def _twin(self, claim: Claim) -> TrialRecord | None:
        """The ended trial of the same candidate; waits for one that is in another's hands.

        A candidate that is paused is not ended: it may be taken up again; nor is one that was rejected, where a person
        wants all of it scored.
        """
        while True:
            same = [
                t
                for t in self.search.history().trials
                if t.number != claim.number
                and t.candidate is not None
                and t.candidate.digest == claim.candidate.digest
            ]
            ended = () if claim.origin == BY_HAND else ("rejected",)
            done = [t for t in same if t.scores is not None or t.state in ended]
            if done:
                return done[0]
            # Only the later of two waits, or they would wait for each other.
            if not any(t.state == "running" and t.number < claim.number for t in same):
                return None
            time.sleep(WAIT)
            self.recover()

    def _keep_answers(self, result: Result) -> None:
        """For the dashboard's notes: a trial is a trial without them."""
        if not any(result.answers.values()):
            return
        folder, digest = self.search.folder, result.claim.candidate.digest
        with contextlib.suppress(OSError):
            before = load_answers(folder, digest, "search")
            answers = merge_answers(self.search.documents, before, result.answers)
            if any(any(found) for found in answers.values()):
                save_answers(folder, digest, answers, "search")
