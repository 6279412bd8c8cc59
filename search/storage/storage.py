"""The Optuna storage: the only place where a study's results live.

Everything a search has finished is in the storage before it is spoken of, so that a process may be
killed at any moment. Document identifiers are written once per study, values per trial. Many workers
share one study: a trial in hand carries its worker's name and beat (`heartbeat`), and what must not
happen twice happens under a lock (`lock`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from exme.search.proposing import BoundedSampler, Proposal, distributions
from exme.search.trials import (
    Claim,
    Clock,
    Result,
    TrialRecord,
    TrialTaken,
    Way,
    this_moment,
)

from .backend import open_backend
from .heartbeat import Heart, Member
from .packing import as_told, pack
from .patience import Patience
from .records import claim_to_json, ending_of
from .recovery import Recovery, Told, end_trial
from .stored_study import StoredStudy

# Seconds before a trial that may be its own: choosing it, and saying what came of the one before. More was waiting.
BETWEEN = 5.0


class Storage(StoredStudy):
    """One study in an Optuna storage, worked on: it is begun where it is not there yet; its trials are begun, closed and taken back.

    Args:
        url: see `StoredStudy`; so are `name`, `folder`, `say`, and errors.
        directions: of each value of a trial, as Optuna calls them.

    Attributes:
        member: this process among the study's workers.
        sitting: when this sitting began, in seconds since 1970; see `Clock`.
    """

    def __init__(
        self,
        url: str,
        name: str,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
        directions: Sequence[Way] = ("maximize",),
    ) -> None:
        self._directions = list(directions)
        super().__init__(url, name, folder, say)
        self.member = Member.here()
        self._heart = Heart(self.member, self._beat)
        self._in_hand: int | None = None  # the storage's identifier
        self.sitting = this_moment()
        self._free: float | None = (
            None  # since when nothing was in hand; None before the first trial
        )
        self._recovery = Recovery(self.study, self.record)

    def _open(self, patience: Patience) -> optuna.Study:
        with self._locks.hold("tables"):
            return optuna.create_study(
                storage=open_backend(self.url, patience),
                study_name=self.name,
                directions=self._directions,
                load_if_exists=True,
            )

    def close(self) -> None:
        """Stop the heart; trials still in hand are then anyone's."""
        self._heart.stop()

    # Trials ------------------------------------------------------------------------------------

    def take_back(self) -> list[str]:
        """Finish or requeue the trials that dead workers left running; call under the lock ``propose``.

        Returns:
            A sentence per trial that was taken back.
        """
        found = self._read()
        dead = [t for t in found if t.state == TrialState.RUNNING and self._is_dead(t)]
        # Read again: what was read may be older than the death, and its worker have ended
        # the trial between the two.
        told = [self._recovery.close(self._backend.get_trial(t._trial_id)) for t in dead]
        self._recovery.requeue(self._read() if any(told) else found)
        return [sentence for sentence in told if sentence]

    def begin(self, found: Proposal | BoundedSampler) -> Claim:
        """Begin a trial for all workers to see: of a proposal, or of what Optuna's sampler proposes.

        Call under the lock ``propose``.

        Raises:
            TrialTaken: the lock was lost with the database, and another took the trial for dead.
        """
        return self._ask(found) if isinstance(found, BoundedSampler) else self._propose(found)

    def _propose(self, made: Proposal) -> Claim:
        """A trial in one transaction."""
        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(made.parameters),
            distributions=distributions(made.box),
            user_attrs={
                "worker": self.member.to_json(),
                "origin": made.origin,
                **claim_to_json(made.candidate, made.documents or 0),
            },
        )
        trial_id = self._backend.create_new_trial(self.study._study_id, trial)
        self._take_in_hand(trial_id)
        number = self._backend.get_trial_number_from_id(trial_id)
        return Claim(number, trial_id, made.origin, made.candidate, made.documents, made.start)

    def _ask(self, sampler: BoundedSampler) -> Claim:
        """A trial that waits to be taken up again, else one of the sampler's."""
        own, self.study.sampler = self.study.sampler, sampler
        try:
            trial = self.study.ask()
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
        finally:
            self.study.sampler = own  # (the other one holds the whole history)
        candidate = sampler.settled.candidate(parameters)
        claim = Claim(trial.number, trial._trial_id, origin, candidate)
        self._write(claim, **claim_to_json(candidate, sampler.settled.first_chunk))
        return claim

    def _take_in_hand(self, trial_id: int) -> None:
        self._in_hand = trial_id
        now = this_moment()
        self._free = now if self._free is None else max(self._free, now - BETWEEN)
        self._heart.start()

    def _clock(self) -> Clock:
        """Of a trial that ends now; what lay between it and the one before is its own."""
        now = this_moment()
        begin, self._free = self._free or now, now
        return Clock(self.sitting or begin, begin, now)

    def save(self, result: Result) -> None:
        """Record what came of a trial in hand; it is then complete, pruned (scored in part) or failed.

        Raises:
            TrialTaken: the trial was given to another worker.
        """
        claim = result.claim
        if result.twin is not None:
            self._save_duplicate(claim, result.twin)
            return
        attributes, state, told = ending_of(result, self._clock)
        self._write(claim, **attributes)
        self._tell(claim, state, told)

    def _save_duplicate(self, claim: Claim, of: TrialRecord) -> None:
        """Its candidate is that of an ended trial, whose scores it shares."""
        self._write(claim, duplicate_of=of.number)
        if of.scores is not None:
            told = self._read()[of.number].values or as_told([of.scores.mean], of.scores.parts)
            self._write(claim, value=told, scores=pack(of.scores))
            self._tell(claim, TrialState.COMPLETE, told)
        elif of.race_log is not None:
            self._write(claim, look={"documents": 0, "course": of.race_log.to_json()})
            self._tell(claim, TrialState.PRUNED, of.race_log)
        else:
            raise ValueError(f"trial {of.number} has no scores to share")

    def release(self, claim: Claim) -> str:
        """Give a trial in hand back, to be taken up again by whoever proposes next.

        Returns:
            A sentence about it; empty when it had ended.
        """
        self._in_hand = None
        return self._recovery.close(self._backend.get_trial(claim.trial_id))

    def _is_dead(self, trial: FrozenTrial) -> bool:
        """Whether a running trial has a worker no more."""
        worker = trial.user_attrs.get("worker")
        member = None if worker is None else Member.from_json(worker)
        is_mine = member is not None and member.id == self.member.id
        if is_mine and trial._trial_id == self._in_hand:
            return False
        return self.watch.is_dead(trial.number, member, int(trial.user_attrs.get("beat", 0)))

    def _write(self, claim: Claim, **attributes: Any) -> None:
        try:
            for key, value in attributes.items():
                self._backend.set_trial_user_attr(claim.trial_id, key, value)
        except UpdateFinishedTrialError:
            self._in_hand = None
            raise TrialTaken from None

    def _tell(self, claim: Claim, state: TrialState, values: Told = None) -> None:
        self._in_hand = None
        try:
            end_trial(self.study, claim.trial_id, state, values)
        except UpdateFinishedTrialError:
            if self._backend.get_trial(claim.trial_id).state != state:
                raise TrialTaken from None

    def _beat(self, count: int) -> None:
        trial_id = self._in_hand
        if trial_id is not None:
            self._backend.set_trial_user_attr(trial_id, "beat", count)
