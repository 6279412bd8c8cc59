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
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from exme.evaluators.scores import Scores
from exme.tasks.errors import UserError

from .backend import open_backend
from .candidate import Candidate
from .course import Course, Look
from .heartbeat import Heart, Member, Watch
from .lock import locks_for
from .outcome import TrialRecord
from .packing import pack, unpack
from .patience import LONGEST_WAIT, Patience, hide_secrets
from .sampler import BoundedSampler
from .space import read
from .strata import Estimate

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
    TrialState.PRUNED: "left",  # or stopped, as its course says
}
CUT_OFF = "cut off"
# Origin of trials that score a finalist on all documents.
FINAL = "final"


class StudyChanged(UserError):
    """A study was begun with something else than what its file says now."""


class TrialTaken(Exception):
    """The trial in hand was given to another worker, because this one seemed dead."""


def sqlite_url(folder: Path) -> str:
    """URL of the default storage in a run's folder."""
    return f"sqlite:///{(folder / 'study.db').resolve()}"


def study_names(url: str) -> list[str]:
    """Names of the studies in a storage.

    Raises:
        UserError: the storage cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    patience = Patience("The storage", lambda line: None, lambda: None, longest=0)
    try:
        return optuna.get_all_study_names(open_backend(url, patience))
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  (every database has errors of its own)
        reason = hide_secrets(" ".join(str(error).split()))[:200]
        raise UserError(
            f"storage: cannot be opened ({type(error).__name__}: {reason}); check `storage` in the "
            f"study file"
        ) from None


@dataclass(frozen=True)
class Proposal:
    """A trial in hand.

    Attributes:
        parameters: what to try, by parameter name.
        trial: Optuna's handle on it.
        documents: that it is worth, where whoever proposed it has a view on that.
    """

    parameters: Mapping[str, float | str]
    trial: optuna.Trial
    documents: int | None = None


class Storage:
    """One study in an Optuna storage.

    Args:
        url: an SQLAlchemy URL, or ``grpc://host:port``.
        name: name of the study in it.
        folder: the run's folder, for locks where the database has none.
        say: where "waiting for the database" goes.
        objectives: how many values a trial has.

    Attributes:
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
        self._in_hand: optuna.Trial | None = None
        self._finished: dict[int, TrialRecord] = {}
        self._followed: set[int] = set()  # trials that were cut off and are requeued
        self._documents: dict[str, tuple[str, ...]] = {}
        patience = Patience(f"The storage of study '{name}'", say, self.watch.forget, longest=0)
        try:
            self._locks = locks_for(url, name, folder or Path(), patience)
            with self._locks.hold("tables"):
                self._backend = open_backend(url, patience)
                self.study = optuna.create_study(
                    storage=self._backend,
                    study_name=name,
                    directions=["maximize"] * objectives,
                    load_if_exists=True,
                )
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  (every database has errors of its own)
            reason = hide_secrets(" ".join(str(error).split()))[:200]
            raise UserError(
                f"storage of study '{name}' cannot be opened ({type(error).__name__}: {reason}); "
                f"check `storage` in the study file"
            ) from None
        patience.longest = LONGEST_WAIT  # what was reached once is waited for

    def close(self) -> None:
        """Stop the heart; trials still in hand are then anyone's."""
        self._heart.stop()

    def hold(
        self, name: str, waiting: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        """Hold one of the study's locks for the length of a block; see `Locks`."""
        return self._locks.hold(name, waiting)

    # What the study is -------------------------------------------------------------------------

    def pin(self, facts: Mapping[str, Any], *, path: str) -> None:
        """Write what decides the scores of this study, or check that it is what was written.

        Raises:
            UserError: the study was begun with other facts; names them.
        """
        known = self.study.user_attrs.get("pinned")
        if known is None:
            self.study.set_user_attr("pinned", dict(facts))
            return
        differing = [k for k in facts if facts[k] != known.get(k)]
        if differing:
            first = differing[0]
            raise StudyChanged(
                f"{path}: {', '.join(differing)} changed since study '{self.name}' was begun "
                f"({first} was {known.get(first)!r}, is {facts[first]!r}); its trials could not be "
                f"compared. Undo the change, or give --fork to begin a new study next to it"
            )

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints that the study was begun with."""
        return list(self.study.user_attrs.get("pinned", {}).get("checkpoints", []))

    def last_change(self) -> datetime | None:
        """When the last trial ended or was begun, by the clock of the machine that did it."""
        trials = self.study.get_trials(deepcopy=False)
        times = [time for t in trials for time in (t.datetime_start, t.datetime_complete) if time]
        return max(times, default=None)

    def agree_on(self, key: str, value: Any) -> Any:
        """Write a value that all workers shall share, or give the one that was written first."""
        known = self.study.user_attrs.get(key)
        if known is None:
            self.study.set_user_attr(key, value)
            return value
        return known

    def set_documents(self, suite: str, split: str, documents: tuple[str, ...]) -> None:
        """Write the identifiers of the documents of a suite's split once."""
        key = _documents_key(suite, split)
        if self.study.user_attrs.get(key) != list(documents):
            self.study.set_user_attr(key, list(documents))

    # Trials ------------------------------------------------------------------------------------

    def trials(self) -> list[TrialRecord]:
        """All trials, in order of their numbers; only what is new since the last call is read."""
        found = []
        for trial in self.study.get_trials(deepcopy=False):
            record = self._finished.get(trial.number)
            if record is None:
                record = self._record(trial)
                if trial.state.is_finished():
                    self._finished[trial.number] = record
            found.append(record)
        return self.rate(found)

    def enqueue(self, parameters: Mapping[str, float | str], origin: str) -> None:
        """Have a point tried next."""
        self.study.enqueue_trial(dict(parameters), user_attrs={"origin": origin})

    def is_any_waiting(self) -> bool:
        """Whether points were enqueued that nobody has taken up."""
        return bool(self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def ask(self, sampler: BoundedSampler, documents: int | None = None) -> Proposal:
        """Take up the next enqueued point, or have the sampler propose one.

        A sampler to which the proposal was given goes before what is enqueued. Call under the lock
        ``propose``, with `claim` in the same block.

        Raises:
            TrialTaken: the lock was lost with the database, and another took the trial for dead.
        """
        self.study.sampler = sampler
        if sampler.given is None:
            trial = self.study.ask()
        else:
            made = self._backend.create_new_trial(self.study._study_id)
            trial = optuna.Trial(self.study, made)
        try:
            trial.set_user_attr("worker", self.member.to_json())
            self._in_hand = trial
            self._heart.start()
            parameters: dict[str, float | str] = {
                **{n: trial.suggest_float(n, *b) for n, b in sampler.bounds.items()},
                **{n: trial.suggest_categorical(n, c) for n, c in sampler.choices.items()},
            }
            if "origin" not in trial.user_attrs:
                trial.set_user_attr("origin", sampler.name)
        except UpdateFinishedTrialError:
            raise TrialTaken from None
        return Proposal(parameters, trial, documents)

    def claim(self, proposal: Proposal, candidate: Candidate, documents: int = 0) -> None:
        """Let the other workers see what is being scored here, and how many documents it may take.

        Raises:
            TrialTaken: see `ask`.
        """
        self._write(proposal, candidate=candidate.to_json(), spent=documents)

    def save(
        self,
        proposal: Proposal,
        candidate: Candidate,
        scores: Scores,
        seconds: Mapping[str, float],
        values: Sequence[float] = (),
        look: Look | None = None,
    ) -> None:
        """Record a candidate that was scored on all documents; its trial is then complete.

        Args:
            proposal: the trial in hand.
            candidate: what was scored.
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
            spent=scores.count if look is None else look.documents,
            **self._about(candidate, seconds, look),
            value=told,
            scores=pack(scores),  # last: with it, anyone can finish the trial
        )
        self._tell(proposal, told)

    def save_look(
        self, proposal: Proposal, candidate: Candidate, look: Look, seconds: Mapping[str, float]
    ) -> None:
        """Record a look that ended before all documents were scored; its trial is then pruned.

        Optuna's value of it is the estimate of the score on all documents.

        Raises:
            TrialTaken: the trial was given to another worker.
        """
        estimate = look.course.estimate
        self._report(proposal, estimate)
        course = look.course.to_json()
        self._write(
            proposal,
            spent=look.documents,
            outcome="left" if look.course.lost_to is None else "stopped",
            **self._about(candidate, seconds, look),
            course=course,  # last, as `scores` of complete trials
        )
        self._tell(proposal, None, TrialState.PRUNED)

    def _about(
        self, candidate: Candidate, seconds: Mapping[str, float], look: Look | None
    ) -> dict[str, Any]:
        """Attributes for people to read, and the way that a complete trial came."""
        found: dict[str, Any] = {
            "reading": str(read(candidate.coefficients)),
            "seconds": round(sum(seconds.values()), 3),
            "seconds by work": {k: round(v, 4) for k, v in seconds.items()},
        }
        if look is None:
            return found
        if look.continues is not None:
            found["continues"] = look.continues
        estimate = look.course.estimate
        found["estimate"] = {
            "mean": estimate.mean,
            "standard_error": estimate.standard_error,
            "documents": estimate.count,
        }
        found["draw"] = look.course.draw.to_json()
        return found

    def save_duplicate(self, proposal: Proposal, candidate: Candidate, of: TrialRecord) -> None:
        """Record that a candidate is that of an earlier trial, whose scores it shares.

        Raises:
            TrialTaken: the trial was given to another worker.
        """
        self._write(
            proposal,
            candidate=candidate.to_json(),
            duplicate_of=of.number,
            seconds=0.0,
            spent=0,
        )
        if of.scores is not None:
            told = self._backend_trial(of.number).values or [of.scores.mean]
            self._write(proposal, value=told, scores=pack(of.scores))
            self._tell(proposal, told)
        elif of.course is not None:
            self._report(proposal, of.course.estimate)
            self._write(proposal, course=of.course.to_json())
            self._tell(proposal, None, TrialState.PRUNED)
        else:
            raise ValueError(f"trial {of.number} has no scores to share")

    def _backend_trial(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    def fail(self, proposal: Proposal, candidate: Candidate, message: str) -> None:
        """Record that a candidate could not be scored, and why.

        Raises:
            TrialTaken: the trial was given to another worker.
        """
        self._write(proposal, candidate=candidate.to_json(), message=message)
        self._tell(proposal, None, TrialState.FAIL)

    def release(self, proposal: Proposal) -> str:
        """Give a trial in hand back, to be taken up again by whoever proposes next.

        Returns:
            A sentence about it; empty when it had ended.
        """
        self._in_hand = None
        trial = self._backend.get_trial(proposal.trial._trial_id)
        return self._take_back(trial) if trial.state == TrialState.RUNNING else ""

    def recover(self) -> list[str]:
        """Finish or requeue the trials that dead workers left running.

        Call under the lock ``propose``.

        Returns:
            A sentence per trial.
        """
        told = []
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            worker = trial.user_attrs.get("worker")
            member = None if worker is None else Member.from_json(worker)
            if member is not None and member.id == self.member.id and self._is_in_hand(trial):
                continue
            if self.watch.is_dead(trial.number, member, int(trial.user_attrs.get("beat", 0))):
                # Read again: what was read may be older than the death, and its worker have ended
                # the trial between the two.
                told.append(self._take_back(self._backend.get_trial(trial._trial_id)))
        self._requeue()
        return [sentence for sentence in told if sentence]

    def _is_in_hand(self, trial: FrozenTrial) -> bool:
        return self._in_hand is not None and self._in_hand.number == trial.number

    def _take_back(self, trial: FrozenTrial) -> str:
        packed, number = trial.user_attrs.get("scores"), trial.number
        if trial.state != TrialState.RUNNING:
            return ""
        try:
            told = f"trial {number} had been scored when its process was killed"
            if packed is not None:
                values = trial.user_attrs.get("value") or [self._unpack(packed).mean]
                self.study.tell(number, values)
                return told
            if trial.user_attrs.get("course") is not None:
                self.study.tell(number, state=TrialState.PRUNED)
                return told
            # Closed first, which fails where its worker's last word is still on its way to the
            # database, and requeued by `recover`, this one or the next.
            self.study.tell(number, state=TrialState.FAIL)
        except (UpdateFinishedTrialError, ValueError):
            return ""  # it ended, or was taken back, between two lines
        return f"trial {number} was cut off and is taken up again"

    def _requeue(self) -> None:
        """Have the points of trials that were cut off tried again, each once.

        The trial that stands for another says so.
        """
        trials = self.study.get_trials(deepcopy=False)
        self._followed |= {t.user_attrs["again"] for t in trials if "again" in t.user_attrs}
        for trial in trials:
            is_cut_off = trial.state == TrialState.FAIL and "message" not in trial.user_attrs
            # (whether a finalist is still one is decided anew)
            if not is_cut_off or trial.user_attrs.get("origin") == FINAL:
                continue
            parameters = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            if parameters and trial.number not in self._followed:
                origin = {k: v for k, v in trial.user_attrs.items() if k == "origin"}
                again = {**origin, "again": trial.number}
                self.study.enqueue_trial(parameters, user_attrs=again)
                self._followed.add(trial.number)

    def _write(self, proposal: Proposal, **attributes: Any) -> None:
        try:
            for key, value in attributes.items():
                proposal.trial.set_user_attr(key, value)
        except UpdateFinishedTrialError:
            self._in_hand = None
            raise TrialTaken from None

    def _tell(
        self,
        proposal: Proposal,
        values: Sequence[float] | None,
        state: TrialState = TrialState.COMPLETE,
    ) -> None:
        self._in_hand = None
        try:
            self.study.tell(proposal.trial, values, state=state)
        except (UpdateFinishedTrialError, ValueError):
            found = self._backend.get_trial(proposal.trial._trial_id)
            if found.state != state:
                raise TrialTaken from None

    def _report(self, proposal: Proposal, estimate: Estimate) -> None:
        """What Optuna takes for a pruned trial's value; it has none for several objectives."""
        if len(self.study.directions) == 1:
            try:
                proposal.trial.report(estimate.mean, estimate.count)
            except UpdateFinishedTrialError:
                self._in_hand = None
                raise TrialTaken from None

    def _beat(self, count: int) -> None:
        trial = self._in_hand
        if trial is not None:
            trial.set_user_attr("beat", count)

    def importance(self) -> dict[str, float]:
        """Share of the spread between good and other trials that each parameter explains.

        Source: PED-ANOVA, arXiv:2304.10255, as Optuna has it. Empty where it cannot say.
        """
        # Stopped trials count with their estimates, which Optuna's evaluators leave out.
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        study = optuna.create_study(direction="maximize")
        for trial in self.study.get_trials(deepcopy=False):
            record = self._finished.get(trial.number)
            if record is None or not trial.params or record.duplicate_of is not None:
                continue
            value = record.scores.mean if record.scores is not None else None
            if record.estimate is not None:
                value = record.estimate.mean
            if value is not None:
                study.add_trial(
                    optuna.trial.create_trial(
                        params=trial.params, distributions=trial.distributions, value=value
                    )
                )
        try:
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
        except (ValueError, RuntimeError):  # too few trials, or all alike
            return {}

    def work(self) -> dict[str, float]:
        """Seconds of all trials together, by what they were spent on."""
        total: dict[str, float] = {}
        for trial in self.study.get_trials(deepcopy=False):
            for name, seconds in trial.user_attrs.get("seconds by work", {}).items():
                total[name] = round(total.get(name, 0.0) + seconds, 4)
        return total

    def trial_ids(self) -> dict[int, int]:
        """The storage's own identifier of each trial, by its number."""
        return {t.number: t._trial_id for t in self.study.get_trials(deepcopy=False)}

    def system_attributes(self) -> dict[str, Any]:
        """What Optuna and its dashboard keep with the study."""
        return self._backend.get_study_system_attrs(self.study._study_id)

    def set_system_attribute(self, key: str, value: Any) -> None:
        """Write what optuna-dashboard will look for."""
        self._backend.set_study_system_attr(self.study._study_id, key, value)

    # Proof -------------------------------------------------------------------------------------

    def save_proof(self, candidate: Candidate, scores: Scores, proxy: Scores | None = None) -> None:
        """Record a candidate's scores on the report documents, and those by a proxy objective."""
        proof = {"candidate": candidate.to_json(), "scores": pack(scores)}
        if proxy is not None:
            proof["proxy"] = pack(proxy)
        self.study.set_user_attr(f"report:{candidate.digest}", proof)

    def save_longer(self, candidate: Candidate, scores: Scores) -> None:
        """Add a proved candidate's scores with room for longer answers."""
        key = f"report:{candidate.digest}"
        self.study.set_user_attr(key, {**self.study.user_attrs[key], "longer": pack(scores)})

    def proofs(self, kind: str = "scores") -> dict[str, Scores]:
        """Scores on the report documents by candidate digest; `kind` may be ``proxy`` or ``longer``."""
        found = {}
        for key, value in self.study.user_attrs.items():
            if key.startswith("report:") and kind in value:
                found[key.removeprefix("report:")] = self._unpack(value[kind])
        return found

    def notes(self) -> list[str]:
        """What the search said on its way, e.g. that bounds were widened."""
        return list(self.study.user_attrs.get("notes", []))

    def add_note(self, note: str) -> bool:
        """Remember what was said; False when it had been said before."""
        notes = self.notes()
        if note in notes:
            return False
        self.study.set_user_attr("notes", [*notes, note])
        return True

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        attributes = trial.user_attrs
        packed, candidate = attributes.get("scores"), attributes.get("candidate")
        complete = trial.state == TrialState.COMPLETE
        message = str(attributes.get("message", ""))
        state = _STATES[trial.state]
        scores = self._unpack(packed) if packed and complete else None
        course = None
        if state == "left" and "course" in attributes:
            course = Course.from_json(attributes["course"], self._identifiers)
            state = "left" if course.lost_to is None else "stopped"
        documents = attributes.get("spent", 0)
        if scores is not None and "spent" not in attributes:
            documents = scores.count  # as earlier versions left it to be understood
        return TrialRecord(
            number=trial.number,
            state=CUT_OFF if state == "failed" and not message else state,
            origin=str(attributes.get("origin", "")),
            candidate=Candidate.from_json(candidate) if candidate else None,
            scores=scores,
            seconds=float(attributes.get("seconds", 0.0)),
            message=message,
            duplicate_of=attributes.get("duplicate_of"),
            documents=0 if attributes.get("duplicate_of") is not None else int(documents),
            course=course,
            continues=attributes.get("continues"),
        )

    def _unpack(self, packed: Any) -> Scores:
        return unpack(packed, self._identifiers)

    def _identifiers(self, suite: str, split: str) -> tuple[str, ...]:
        key = _documents_key(suite, split)
        if key not in self._documents:
            self._documents[key] = tuple(self.study.user_attrs[key])
        return self._documents[key]


def _documents_key(suite: str, split: str) -> str:
    return f"documents:{suite}:{split}"
