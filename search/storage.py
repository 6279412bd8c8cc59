"""The Optuna storage: the only place where a study's results live.

Everything a search has finished is in the storage before it is spoken of, so that a process may be
killed at any moment. Document identifiers are written once per study, values per trial.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from exme.evaluators.scores import DocumentScores, Scores, join
from exme.tasks.errors import UserError

from .candidate import Candidate
from .outcome import TrialRecord
from .sampler import BoundedSampler
from .space import read

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
    TrialState.PRUNED: "failed",
}
CUT_OFF = "cut off"


def sqlite_url(folder: Path) -> str:
    """URL of the default storage in a run's folder."""
    return f"sqlite:///{(folder / 'study.db').resolve()}"


@dataclass(frozen=True)
class Proposal:
    """A trial in hand.

    Attributes:
        parameters: what to try, by parameter name.
        trial: Optuna's handle on it.
    """

    parameters: Mapping[str, float | str]
    trial: optuna.Trial


class Storage:
    """One study in an Optuna storage.

    Args:
        url: an SQLAlchemy URL.
        name: name of the study in it.

    Raises:
        UserError: the storage cannot be opened.
    """

    def __init__(self, url: str, name: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.url, self.name = url, name
        connect = {"timeout": 60} if url.startswith("sqlite") else {}
        try:
            backend = RDBStorage(url, engine_kwargs={"connect_args": connect})
            self.study = optuna.create_study(
                storage=backend, study_name=name, direction="maximize", load_if_exists=True
            )
        except Exception as error:  # noqa: BLE001  (every database has errors of its own)
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"storage of study '{name}' cannot be opened ({type(error).__name__}: {reason}); "
                f"check `storage` in the study file"
            ) from None

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
            raise UserError(
                f"{path}: {', '.join(differing)} changed since study '{self.name}' was begun "
                f"({first} was {known.get(first)!r}, is {facts[first]!r}); its trials could not be "
                f"compared. Undo the change, or copy the study file to a new name"
            )

    def set_documents(self, suite: str, split: str, documents: tuple[str, ...]) -> None:
        """Write the identifiers of the documents of a suite's split once."""
        key = _documents_key(suite, split)
        if self.study.user_attrs.get(key) != list(documents):
            self.study.set_user_attr(key, list(documents))

    # Trials ------------------------------------------------------------------------------------

    def trials(self) -> list[TrialRecord]:
        """All trials, in order of their numbers."""
        return [self._record(trial) for trial in self.study.get_trials(deepcopy=False)]

    def enqueue(self, parameters: Mapping[str, float | str], origin: str) -> None:
        """Have a point tried next."""
        self.study.enqueue_trial(dict(parameters), user_attrs={"origin": origin})

    def ask(self, sampler: BoundedSampler) -> Proposal:
        """Take up the next enqueued point, or have the sampler propose one."""
        self.study.sampler = sampler
        trial = self.study.ask()
        parameters: dict[str, float | str] = {
            **{n: trial.suggest_float(n, *b) for n, b in sampler.bounds.items()},
            **{n: trial.suggest_categorical(n, c) for n, c in sampler.choices.items()},
        }
        if "origin" not in trial.user_attrs:
            trial.set_user_attr("origin", sampler.name)
        return Proposal(parameters, trial)

    def save(
        self,
        proposal: Proposal,
        candidate: Candidate,
        scores: Scores,
        seconds: Mapping[str, float],
    ) -> None:
        """Record a scored candidate; the trial is complete when this returns.

        Args:
            proposal: the trial in hand.
            candidate: what was scored.
            scores: on the search documents.
            seconds: wall time by what it was spent on.
        """
        trial = proposal.trial
        trial.set_user_attr("candidate", candidate.to_json())
        trial.set_user_attr("reading", str(read(candidate.coefficients)))
        trial.set_user_attr("seconds", round(sum(seconds.values()), 3))
        trial.set_user_attr("seconds by work", {k: round(v, 4) for k, v in seconds.items()})
        trial.set_user_attr("scores", _pack(scores))  # last: with it, the trial can be finished
        self.study.tell(trial, scores.mean)

    def save_duplicate(self, proposal: Proposal, candidate: Candidate, of: TrialRecord) -> None:
        """Record that a candidate is that of an earlier, complete trial, whose scores it shares."""
        if of.scores is None:
            raise ValueError(f"trial {of.number} has no scores to share")
        trial = proposal.trial
        trial.set_user_attr("candidate", candidate.to_json())
        trial.set_user_attr("duplicate_of", of.number)
        trial.set_user_attr("seconds", 0.0)
        trial.set_user_attr("scores", _pack(of.scores))
        self.study.tell(trial, of.scores.mean)

    def fail(self, proposal: Proposal, candidate: Candidate, message: str) -> None:
        """Record that a candidate could not be scored, and why."""
        trial = proposal.trial
        trial.set_user_attr("candidate", candidate.to_json())
        trial.set_user_attr("message", message)
        self.study.tell(trial, state=TrialState.FAIL)

    def recover(self) -> list[str]:
        """Finish or requeue the trials that a killed process left running.

        Call only while no other process works on the study.

        Returns:
            A sentence per trial.
        """
        told = []
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            packed = trial.user_attrs.get("scores")
            if packed is not None:
                self.study.tell(trial.number, self._unpack(packed).mean)
                told.append(f"trial {trial.number} had been scored when its process was killed")
                continue
            # Requeued first: killed between the two, the point is tried twice, not lost.
            parameters = trial.params or trial.system_attrs.get("fixed_params")
            if parameters:
                origin = {k: v for k, v in trial.user_attrs.items() if k == "origin"}
                self.study.enqueue_trial(dict(parameters), user_attrs=origin)
            self.study.tell(trial.number, state=TrialState.FAIL)
            told.append(f"trial {trial.number} was cut off and is taken up again")
        return told

    # Proof -------------------------------------------------------------------------------------

    def save_proof(self, candidate: Candidate, scores: Scores, proxy: Scores | None = None) -> None:
        """Record a candidate's scores on the report documents, and those by a proxy objective."""
        proof = {"candidate": candidate.to_json(), "scores": _pack(scores)}
        if proxy is not None:
            proof["proxy"] = _pack(proxy)
        self.study.set_user_attr(f"report:{candidate.digest}", proof)

    def proofs(self, kind: str = "scores") -> dict[str, Scores]:
        """Scores on the report documents by candidate digest; `kind` may be ``proxy``."""
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
        return TrialRecord(
            number=trial.number,
            state=CUT_OFF if state == "failed" and not message else state,
            origin=str(attributes.get("origin", "")),
            candidate=Candidate.from_json(candidate) if candidate else None,
            scores=self._unpack(packed) if packed and complete else None,
            seconds=float(attributes.get("seconds", 0.0)),
            message=message,
            duplicate_of=attributes.get("duplicate_of"),
        )

    def _unpack(self, packed: Sequence[Mapping[str, Any]]) -> Scores:
        attributes = self.study.user_attrs
        return join(
            [
                DocumentScores.from_json(
                    {**part, "documents": attributes[_documents_key(part["suite"], part["split"])]}
                )
                for part in packed
            ]
        )


def _documents_key(suite: str, split: str) -> str:
    return f"documents:{suite}:{split}"


def _pack(scores: Scores) -> list[dict[str, Any]]:
    """Scores by suite, without their document identifiers, whole numbers short."""
    packed = []
    for part in scores.parts:
        data = part.to_json()
        del data["documents"]
        data["values"] = [_short(v) for v in part.values]
        data["audit"] = {k: [_short(v) for v in vs] for k, vs in part.audit.items()}
        packed.append(data)
    return packed


def _short(value: float) -> float:
    return int(value) if value == int(value) else value


class RunLock:
    """Held by the one process that searches in a run's folder; freed when it dies.

    Raises:
        UserError: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        import fcntl  # noqa: PLC0415  (not on Windows, where runs are not locked)

        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "search.lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise UserError(
                f"{folder}: a search is already running here (process {holder}); wait for it, or "
                f"stop it with Ctrl-C"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let another process search."""
        self._file.close()
