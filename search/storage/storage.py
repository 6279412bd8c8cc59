"""The Optuna storage: the only place where a study's results live.

Everything a search has finished is in the storage before it is spoken of, so that a process may be
killed at any moment. Document identifiers are written once per study, values per trial. Many workers
share one study: a trial in hand carries its worker's name and beat (`heartbeat`), and what must not
happen twice happens under a lock (`lock`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from exme.evaluators.scores import Scores
from exme.search.merging.candidate import Candidate
from exme.search.proposing.sampler import BoundedSampler
from exme.search.trials.outcome import Proposal, TrialRecord, TrialTaken
from exme.search.trials.race_log import Look

from .heartbeat import Heart, Member
from .packing import pack
from .records import claim_to_json, look_to_json
from .recovery import Recovery, Told, end_trial
from .stored_study import StoredStudy


class Storage(StoredStudy):
    """One study in an Optuna storage, worked on: its trials are begun, closed and taken back here.

    Args and errors: see `StoredStudy`.

    Attributes:
        member: this process among the study's workers.
    """

    def __init__(
        self,
        url: str,
        name: str,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
        objectives: int = 1,
    ) -> None:
        super().__init__(url, name, folder, say, objectives)
        self.member = Member.here()
        self._heart = Heart(self.member, self._beat)
        self._in_hand: int | None = None  # the storage's identifier
        self._recovery = Recovery(self.study, self.record)

    def close(self) -> None:
        """Stop the heart; trials still in hand are then anyone's."""
        self._heart.stop()

    # Trials ------------------------------------------------------------------------------------

    def take_stock(self) -> tuple[list[TrialRecord], list[str]]:
        """Finish or requeue the trials that dead workers left running, then read all trials.

        Call under the lock ``propose``. The database is read once where nobody has died.

        Returns:
            As `trials`, and a sentence per trial that was taken back.
        """
        found = self._read()
        dead = [t for t in found if t.state == TrialState.RUNNING and self._is_dead(t)]
        # Read again: what was read may be older than the death, and its worker have ended
        # the trial between the two.
        told = [self._recovery.close(self._backend.get_trial(t._trial_id)) for t in dead]
        if any(told):
            found = self._read()
        if self._recovery.requeue(found):
            found = self._read()
        return self.known.records(found), [sentence for sentence in told if sentence]

    def enqueue(self, parameters: Mapping[str, float | str], origin: str) -> None:
        """Have a point tried next."""
        self.study.enqueue_trial(dict(parameters), user_attrs={"origin": origin})

    def ask(self, sampler: BoundedSampler) -> Proposal:
        """Take up the next enqueued point, or have the sampler propose one.

        Call under the lock ``propose``, with `claim` in the same block.

        Raises:
            TrialTaken: the lock was lost with the database, and another took the trial for dead.
        """
        self.study.sampler = sampler
        trial = self.study.ask()
        try:
            trial.set_user_attr("worker", self.member.to_json())
            self._take_in_hand(trial._trial_id)
            parameters: dict[str, float | str] = {
                **{n: trial.suggest_float(n, *b) for n, b in sampler.box.bounds.items()},
                **{n: trial.suggest_categorical(n, c) for n, c in sampler.box.choices.items()},
            }
            origin = str(trial.user_attrs.get("origin", sampler.name))
            if "origin" not in trial.user_attrs:
                trial.set_user_attr("origin", origin)
        except UpdateFinishedTrialError:
            raise TrialTaken from None
        return Proposal(trial.number, trial._trial_id, parameters, origin)

    def claim(self, proposal: Proposal, candidate: Candidate, documents: int = 0) -> None:
        """Let the other workers see what is being scored here, and how many documents it may take.

        Raises:
            TrialTaken: see `ask`.
        """
        self._write(proposal, **claim_to_json(candidate, documents))

    def propose(
        self,
        parameters: Mapping[str, float | str],
        distributions: Mapping[str, BaseDistribution],
        origin: str,
        candidate: Candidate,
        documents: int,
    ) -> Proposal:
        """Begin a trial of a proposal that is made already: `ask` and `claim` in one transaction.

        Call under the lock ``propose``.

        Args:
            parameters: what to try; `distributions` says within what.
            distributions: by parameter name.
            origin: who proposed it.
            candidate: that it makes.
            documents: that it is worth.
        """
        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(parameters),
            distributions=dict(distributions),
            user_attrs={
                "worker": self.member.to_json(),
                "origin": origin,
                **claim_to_json(candidate, documents),
            },
        )
        made = self._backend.create_new_trial(self.study._study_id, trial)
        self._take_in_hand(made)
        number = self._backend.get_trial_number_from_id(made)
        return Proposal(number, made, parameters, origin, documents)

    def _take_in_hand(self, trial_id: int) -> None:
        self._in_hand = trial_id
        self._heart.start()

    def save(
        self,
        proposal: Proposal,
        scores: Scores,
        seconds: Mapping[str, float],
        values: Sequence[float] = (),
        look: Look | None = None,
    ) -> None:
        """Record a candidate that was scored on all documents; its trial is then complete.

        Args:
            proposal: the trial in hand.
            scores: on the search documents.
            seconds: wall time by what it was spent on.
            values: what is maximised; the mean score by default.
            look: how it raced, where it did.

        Raises:
            TrialTaken: the trial was given to another worker.
        """
        told = list(values) or [scores.mean]
        self._write(
            proposal,
            look=look_to_json(seconds, scores.count, look),
            value=told,
            scores=pack(scores),  # last: with it, anyone can finish the trial
        )
        self._tell(proposal, TrialState.COMPLETE, told)

    def save_look(self, proposal: Proposal, look: Look, seconds: Mapping[str, float]) -> None:
        """Record a look that ended before all documents were scored; its trial is then pruned.

        Optuna's value of it is the estimate of the score on all documents.

        Raises:
            TrialTaken: the trial was given to another worker.
        """
        written = look_to_json(seconds, look.documents, look)
        # (one attribute: with it, anyone can finish the trial)
        self._write(proposal, look={**written, "course": look.course.to_json()})
        self._tell(proposal, TrialState.PRUNED, look.course.estimate)

    def save_duplicate(self, proposal: Proposal, of: TrialRecord) -> None:
        """Record that a candidate is that of an earlier trial, whose scores it shares.

        Raises:
            TrialTaken: the trial was given to another worker.
        """
        self._write(proposal, duplicate_of=of.number)
        if of.scores is not None:
            told = self._read()[of.number].values or [of.scores.mean]
            self._write(proposal, value=told, scores=pack(of.scores))
            self._tell(proposal, TrialState.COMPLETE, told)
        elif of.course is not None:
            self._write(proposal, look={"documents": 0, "course": of.course.to_json()})
            self._tell(proposal, TrialState.PRUNED, of.course.estimate)
        else:
            raise ValueError(f"trial {of.number} has no scores to share")

    def fail(self, proposal: Proposal, message: str) -> None:
        """Record that a candidate could not be scored, and why.

        Raises:
            TrialTaken: the trial was given to another worker.
        """
        self._write(proposal, message=message)
        self._tell(proposal, TrialState.FAIL)

    def release(self, proposal: Proposal) -> str:
        """Give a trial in hand back, to be taken up again by whoever proposes next.

        Returns:
            A sentence about it; empty when it had ended.
        """
        self._in_hand = None
        return self._recovery.close(self._backend.get_trial(proposal.trial_id))

    def _is_dead(self, trial: FrozenTrial) -> bool:
        """Whether a running trial has a worker no more."""
        worker = trial.user_attrs.get("worker")
        member = None if worker is None else Member.from_json(worker)
        is_mine = member is not None and member.id == self.member.id
        if is_mine and trial._trial_id == self._in_hand:
            return False
        return self.watch.is_dead(trial.number, member, int(trial.user_attrs.get("beat", 0)))

    def _write(self, proposal: Proposal, **attributes: Any) -> None:
        try:
            for key, value in attributes.items():
                self._backend.set_trial_user_attr(proposal.trial_id, key, value)
        except UpdateFinishedTrialError:
            self._in_hand = None
            raise TrialTaken from None

    def _tell(self, proposal: Proposal, state: TrialState, values: Told = None) -> None:
        self._in_hand = None
        try:
            end_trial(self.study, proposal.trial_id, state, values)
        except UpdateFinishedTrialError:
            if self._backend.get_trial(proposal.trial_id).state != state:
                raise TrialTaken from None

    def _beat(self, count: int) -> None:
        trial_id = self._in_hand
        if trial_id is not None:
            self._backend.set_trial_user_attr(trial_id, "beat", count)
