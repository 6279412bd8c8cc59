"""The Optuna storage: the only place where a study's results live.

Everything a search has finished is in the storage before it is spoken of, so that a process may be
killed at any moment. Document identifiers are written once per study, values per trial. Many workers
share one study: a trial in hand carries its worker's name and beat (`heartbeat`), and what must not
happen twice happens under a lock (`lock`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from exme.evaluators.scores import Scores

from .backend import open_backend, opening, whole_trial
from .candidate import Candidate
from .course import Look
from .heartbeat import Heart, Member, Watch
from .importance import importance
from .lock import locks_for
from .outcome import TrialRecord
from .packing import pack
from .patience import LONGEST_WAIT, Patience
from .records import claim_to_json, condense, look_to_json, record_of
from .recovery import Recovery, Told, end_trial
from .sampler import BoundedSampler
from .study_record import StudyRecord, uses_in
from .uses import Use


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


class Storage:
    """One study in an Optuna storage: its trials, and what is kept of it as a whole.

    Args:
        url: an SQLAlchemy URL, or ``grpc://host:port``.
        name: name of the study in it.
        folder: the run's folder, for locks where the database has none.
        say: where "waiting for the database" goes.
        objectives: how many values a trial has.

    Attributes:
        study: Optuna's.
        record: what is kept of the study as a whole.
        rate: fills in what is maximised of all trials, given all of them.

    Raises:
        UserError: the storage cannot be opened.
    """

    def __init__(
        self,
        url: str,
        name: str,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
        objectives: int = 1,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.url, self.name = url, name
        self.rate: Callable[[list[TrialRecord]], list[TrialRecord]] = lambda trials: trials
        self.watch = Watch()
        self.member = Member.here()
        self._heart = Heart(self.member, self._beat)
        self._in_hand: int | None = None  # the storage's identifier
        self._finished: dict[int, TrialRecord] = {}
        self._work: dict[str, float] = {}  # seconds of the finished trials
        patience = Patience(f"The storage of study '{name}'", say, self.watch.forget, longest=0)
        with opening(f"storage of study '{name}'"):
            self._locks = locks_for(url, name, folder or Path(), patience)
            with self._locks.hold("tables"):
                self._backend = open_backend(url, patience)
                self.study = optuna.create_study(
                    storage=self._backend,
                    study_name=name,
                    directions=["maximize"] * objectives,
                    load_if_exists=True,
                )
        self.record = StudyRecord(self.study, name)
        self._recovery = Recovery(self.study, self.record)
        patience.longest = LONGEST_WAIT  # what was reached once is waited for

    def close(self) -> None:
        """Stop the heart; trials still in hand are then anyone's."""
        self._heart.stop()

    def hold(
        self, name: str, waiting: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        """Hold one of the study's locks for the length of a block; see `Locks`."""
        return self._locks.hold(name, waiting)

    def last_change(self) -> datetime | None:
        """When the last trial ended or was begun, by the clock of the machine that did it."""
        trials = self._read()
        times = [time for t in trials for time in (t.datetime_start, t.datetime_complete) if time]
        return max(times, default=None)

    # Trials ------------------------------------------------------------------------------------

    def trials(self) -> list[TrialRecord]:
        """All trials, in order of their numbers; only what is new since the last call is read."""
        return self._records(self._read())

    def frozen(self, number: int) -> FrozenTrial:
        """A trial as Optuna has it, with all its attributes."""
        return whole_trial(self._backend, self._read()[number]._trial_id)

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
        return self._records(found), [sentence for sentence in told if sentence]

    def _read(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _records(self, trials: Sequence[FrozenTrial]) -> list[TrialRecord]:
        found = []
        for trial in trials:
            record = self._finished.get(trial.number)
            if record is None:
                record = record_of(trial, self.record.identifiers)
                if trial.state.is_finished():
                    self._finished[trial.number] = record
                    for work, seconds in condense(trial).items():
                        self._work[work] = self._work.get(work, 0.0) + seconds
            found.append(record)
        rated = self.rate(found)
        # Kept as rated: ratings seldom change, and copying 2,000 records at every read takes longer than all else.
        new = [t for t, before in zip(rated, found, strict=True) if t is not before]
        self._finished |= {t.number: t for t in new if t.number in self._finished}
        return rated

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

    def recover(self) -> list[str]:
        """Finish or requeue the trials that dead workers left running; see `take_stock`."""
        return self.take_stock()[1]

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

    def importance(self) -> dict[str, float]:
        """Share of the spread that each parameter explains (`importance`)."""
        scored = []
        for trial in self._read():
            record = self._finished.get(trial.number)
            if record is None or record.duplicate_of is not None:
                continue
            value = record.scores.mean if record.scores is not None else None
            if record.estimate is not None:
                value = record.estimate.mean
            if value is not None:
                scored.append((trial, value))
        return importance(scored)

    def work(self) -> dict[str, float]:
        """Seconds of all trials together, by what they were spent on."""
        self.trials()
        return {work: round(seconds, 4) for work, seconds in self._work.items()}

    def trial_ids(self) -> dict[int, int]:
        """The storage's own identifier of each trial, by its number."""
        return {t.number: t._trial_id for t in self._read()}

    def uses(self) -> list[Use]:
        """Uses of report documents by all studies in this storage."""
        if self.url.startswith("sqlite"):  # (a file holds one study)
            return self.record.uses()
        return [u for s in self._backend.get_all_studies() for u in uses_in(s.user_attrs)]

    def system_attributes(self) -> dict[str, Any]:
        """What Optuna and its dashboard keep with the study."""
        return self._backend.get_study_system_attrs(self.study._study_id)

    def set_system_attribute(self, key: str, value: Any) -> None:
        """Write what optuna-dashboard will look for."""
        self._backend.set_study_system_attr(self.study._study_id, key, value)
