"""One trial: a turn is taken, its candidate scored, and what came of it kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exme.evaluators.scores import Scores
from exme.evaluators.vllm.logs import EngineDied
from exme.search.merging.candidate import Candidate
from exme.search.proposing.auto import Looks
from exme.search.proposing.plan import Plan
from exme.search.scoring.answers import Answers, load_answers, merge_answers, save_answers
from exme.search.scoring.worker import Scorer
from exme.search.storage.storage import Storage
from exme.search.trials.outcome import TrialTaken
from exme.search.trials.race_log import Look
from exme.tasks.documents import SuiteDocuments
from exme.tasks.errors import UserError

from .interrupts import stop_if_asked
from .round import look as look_at
from .screen import Screen
from .turns import Turn, Turns, describe_failure

# Engines that end one after the other, before the search gives up.
MOST_DEATHS = 3


@dataclass
class Attempts:
    """Trials of this process, one after the other.

    Attributes:
        turns: whose turn it is, and what is tried.
        plan: the bounds.
        looks: how a candidate of a race is looked at.
        storage: where results go.
        documents: of each suite.
        folder: the run's, where answers go.
        screen: where lines go.
        worker: gives who scores; models are loaded then.
        restart: forget who scored; the next to do so loads the models again.
        deaths: how many engines have ended since the last trial.
    """

    turns: Turns
    plan: Plan
    looks: Looks
    storage: Storage
    documents: Sequence[SuiteDocuments]
    folder: Path
    screen: Screen
    worker: Callable[[], Scorer]
    restart: Callable[[], None] = lambda: None
    deaths: int = 0

    def make(self) -> int | None:
        """One trial, and its number; None when there is none to be had now, or another worker was given it."""
        start = time.perf_counter()
        try:
            turn = self.turns.take()
            if turn is None:
                return None
            try:
                self.score(turn, time.perf_counter() - start)
            except TrialTaken:
                raise
            except EngineDied as error:
                self.screen.say(self.storage.release(turn.proposal), "yellow")
                self._bury(error)
                return None
            except BaseException:  # Ctrl-C as well: no other worker shall wait for this one
                self.screen.say(self.storage.release(turn.proposal), "yellow")
                raise
        except TrialTaken:
            self.screen.say("A trial was given to another worker while this one stood still.")
            return None
        return turn.proposal.number

    def score(self, turn: Turn, proposing: float) -> None:
        """Score a turn's candidate and store what comes; `proposing` is the seconds that it took to come to it."""
        proposal, candidate = turn.proposal, turn.candidate
        twin = self.turns.twin(turn)
        if twin is not None:
            self.storage.save_duplicate(proposal, twin)
            return
        stop_if_asked()  # a candidate may take minutes
        try:
            if not self.looks.is_racing:
                scored = self.worker().score(candidate, "search")
                scores: Scores | None = scored.scores
                look, answers, seconds = None, scored.answers, scored.seconds
            else:
                look, answers, seconds = self._look(turn)
                partial = look.course.partial
                scores = partial.whole() if partial.is_complete else None
        except (UserError, EngineDied):
            raise
        except Exception as error:  # noqa: BLE001  (one candidate's failure is not the search's)
            self.storage.fail(proposal, describe_failure(error))
            return
        self.deaths = 0
        self._keep_answers(candidate, answers)
        seconds = {"propose": proposing, **seconds}
        if scores is not None:
            trials = self.storage.trials()
            penalty = trials[proposal.number].penalty
            values = self.looks.objective.told(scores, trials, penalty)
            self.storage.save(proposal, scores, seconds, values, look)
        elif look is not None:
            self.storage.save_look(proposal, look, seconds)

    def _bury(self, error: EngineDied) -> None:
        """Have the next trial start the engine again; an engine that always ends is not the trials' fault."""
        self.deaths += 1
        if self.deaths >= MOST_DEATHS:
            raise UserError(
                f"the engine has ended {self.deaths} times in a row ({error}); put that right; the same command resumes"
            )
        self.screen.say(f"{error}; the engine is started again.", "yellow")
        self.restart()

    def _look(self, turn: Turn) -> tuple[Look, Answers, Mapping[str, float]]:
        """Look at a candidate; its answers are blank where documents were not asked yet."""
        candidate, number = turn.candidate, turn.proposal.number
        trials = [t for t in turn.trials if t.number != number]
        order = self.looks.begin(
            candidate,
            turn.proposal.origin,
            number,
            trials,
            self.plan.bounds(trials)[0],
            turn.proposal.documents,
        )
        look, seconds, said = look_at(order, self.looks.racing, candidate, self.worker())
        before = load_answers(self.folder, candidate.digest, "search")
        answers = merge_answers(self.documents, before, said)
        return look, answers, seconds

    def _keep_answers(self, candidate: Candidate, answers: Answers) -> None:
        """For the dashboard's notes: a trial is a trial without them."""
        if any(any(found) for found in answers.values()):
            with contextlib.suppress(OSError):
                save_answers(self.folder, candidate.digest, answers, "search")
