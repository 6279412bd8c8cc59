"""What the storage holds of a study as a whole: what decides its scores, what its workers share, its proofs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import optuna

from exme.evaluators import DocumentScores, Scores
from exme.search.merging import Candidate
from exme.search.racing import Goal
from exme.search.trials import Clock, Timed
from exme.tasks import UserError

from .packing import pack, unpack
from .records import FORMAT

# Begins the names of attributes that hold a use of the report documents.
USE = "use:"
# In the place of a split: report documents of a suite that is not searched on.
_ALSO = "also"
# What a candidate's scores depend on beside its weights.
_EVALUATION = ("suites", "content of the documents", "chat", "max_gen_toks", "compute_dtype")


class StudyChanged(UserError):
    """A study was begun with something else than what its file says now."""


class StudyRecord:
    """Everything that is no trial, in the study's own attributes.

    Args:
        study: Optuna's.
        name: its name, for errors.
    """

    def __init__(self, study: optuna.Study, name: str) -> None:
        self.study, self.name = study, name
        self._documents: dict[str, tuple[str, ...]] = {}
        self._said: set[str] = set()  # notes that are known to be written

    def pin(self, facts: Mapping[str, Any], *, path: str) -> None:
        """Write what decides the scores of this study, or check that it is what was written.

        Raises:
            StudyChanged: the study was begun with other facts, names them; or its trials are written in
                another format.
        """
        known = self.study.user_attrs.get("pinned")
        if known is not None and "objective" in known:  # what studies of before call it
            known["measure"] = known.pop("objective")
        if known is None:
            self.study.set_user_attr("pinned", {**facts, "format": FORMAT})
            return
        if known.get("format") != FORMAT:
            raise StudyChanged(
                f"study '{self.name}': was begun by another version of ExMe, whose trials this one "
                f"cannot go on with; give --fork to begin a new study next to it"
            )
        differing = [k for k in facts if facts[k] != known.get(k)]
        if differing:
            first = differing[0]
            raise StudyChanged(
                f"{path}: {', '.join(differing)} changed since study '{self.name}' was begun "
                f"({first} was {known.get(first)!r}, is {facts[first]!r}); its trials could not be "
                f"compared. Undo the change, or give --fork to begin a new study next to it"
            )

    @property
    def is_older(self) -> bool:
        """Whether another version of ExMe wrote its trials, which this one reads in part."""
        known = self.study.user_attrs.get("pinned")
        return known is not None and known.get("format") != FORMAT

    def pinned(self) -> dict[str, Any]:
        """What `pin` wrote."""
        return dict(self.study.user_attrs.get("pinned", {}))

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints that the study was begun with."""
        return list(self.pinned().get("checkpoints", []))

    def suites(self) -> list[str]:
        """Names of the suites that are searched on, in order; none where another version wrote the study."""
        return [suite[0] for suite in self.pinned().get("suites", [])]

    def describe(self, description: Mapping[str, Any]) -> None:
        """Keep what the study says, for those who read it when its file was edited since."""
        if self.description() != description:
            self.study.set_user_attr("description", dict(description))

    def description(self) -> dict[str, Any]:
        """What `describe` wrote; empty where another version wrote the study."""
        return dict(self.study.user_attrs.get("description", {}))

    def agree_on(self, key: str, value: Any) -> Any:
        """Write a value that all workers shall share, or give the one that was written first."""
        known = self.study.user_attrs.get(key)
        if known is None:
            self.study.set_user_attr(key, value)
            return value
        return known

    def agreed(self, key: str) -> Any:
        """What `agree_on` wrote; None while nothing is written."""
        return self.study.user_attrs.get(key)

    def set_documents(self, suite: str, split: str, documents: tuple[str, ...]) -> None:
        """Write the identifiers of the documents of a suite's split once."""
        key = _documents_key(suite, split)
        if self.study.user_attrs.get(key) != list(documents):
            self.study.set_user_attr(key, list(documents))

    def count(self, split: str) -> int:
        """Documents of a split, of all suites."""
        kept = self.study.user_attrs.items()
        return sum(
            len(v) for k, v in kept if k.startswith("documents:") and k.endswith(f":{split}")
        )

    # Proof -------------------------------------------------------------------------------------

    def evaluation(self) -> dict[str, Any]:
        """What decides how a candidate is evaluated, of what `pin` wrote."""
        pinned = self.pinned()
        return {key: pinned.get(key) for key in _EVALUATION}

    def claim_use(self, test: str, use: Mapping[str, Any]) -> None:
        """Write down that something is to be tested on the report documents; the first time counts."""
        key = f"{USE}{test}"
        if key not in self.study.user_attrs:
            self.study.set_user_attr(key, dict(use))

    def uses(self) -> list[Mapping[str, Any]]:
        """What `claim_use` wrote."""
        return uses_in(self.study.user_attrs)

    def save_proof(
        self,
        candidate: Candidate,
        scores: Scores,
        proxy: Scores | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Record a candidate's scores on the report documents, those by a proxy objective, and when that was."""
        proof: dict[str, Any] = {"candidate": candidate.to_json(), "scores": pack(scores)}
        if clock is not None:
            proof["clock"] = clock.to_json()
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
                found[key.removeprefix("report:")] = self.unpack(value[kind])
        return found

    def timed(self) -> list[Timed]:
        """When candidates were scored on the report documents, as far as that was written, in the order of that."""
        kept, count = self.study.user_attrs.items(), self.count("report")
        clocks = [v["clock"] for k, v in kept if k.startswith("report:") and "clock" in v]
        found = [Timed(count, Clock.from_json(clock)) for clock in clocks]
        return sorted(found, key=lambda proof: proof.clock.end)

    def name_also(self, keys: Mapping[str, str], documents: Mapping[str, tuple[str, ...]]) -> None:
        """Write which suites are scored beside those that are searched on.

        Args:
            keys: of their scores, by suite.
            documents: identifiers of their report documents, by suite.
        """
        for suite, identifiers in documents.items():
            self.set_documents(suite, _ALSO, identifiers)
        if self.named_also() != keys:
            self.study.set_user_attr("also", dict(keys))

    def named_also(self) -> dict[str, str]:
        """What `name_also` wrote last."""
        return dict(self.study.user_attrs.get("also", {}))

    def count_also(self) -> int:
        """Report documents of the suites that `name_also` wrote last."""
        return sum(len(self.identifiers(suite, _ALSO)) for suite in self.named_also())

    def save_also(self, key: str, candidate: Candidate, scores: Scores) -> None:
        """Record a candidate's scores on the report documents of such a suite."""
        self.study.set_user_attr(f"also:{key}:{candidate.digest}", pack(scores))

    def also(self, key: str) -> dict[str, DocumentScores]:
        """What `save_also` wrote of a suite, by candidate digest."""
        start = f"also:{key}:"
        return {
            name.removeprefix(start): unpack(packed, self._identifiers_of_also).parts[0]
            for name, packed in self.study.user_attrs.items()
            if name.startswith(start)
        }

    def _identifiers_of_also(self, suite: str, split: str) -> tuple[str, ...]:
        return self.identifiers(suite, _ALSO)

    def set_goal(self, goal: Goal) -> None:
        """Write what is maximised, for those who read the storage without the study's file."""
        written = [list(goal.weights), goal.kind, goal.tail, [_finite(k) for k in goal.keep]]
        if self.study.user_attrs.get("goal") != written:
            self.study.set_user_attr("goal", written)

    def goal(self) -> Goal:
        """What `set_goal` wrote last."""
        weights, kind, tail, keep = self.study.user_attrs.get("goal", [[1.0], "mean", 1, []])
        bounds = (-math.inf if k is None else float(k) for k in keep)
        return Goal(tuple(weights), str(kind), int(tail), tuple(bounds))

    def notes(self) -> list[str]:
        """What the search said on its way, e.g. which suite cannot tell candidates apart."""
        return list(self.study.user_attrs.get("notes", []))

    def add_note(self, note: str) -> bool:
        """Remember what was said; False when it had been said before."""
        if note in self._said:
            return False
        notes = self.notes()
        self._said |= {note, *notes}
        if note in notes:
            return False
        self.study.set_user_attr("notes", [*notes, note])
        return True

    def unpack(self, packed: Any) -> Scores:
        """Scores as `pack` wrote them."""
        return unpack(packed, self.identifiers)

    def identifiers(self, suite: str, split: str) -> tuple[str, ...]:
        """Identifiers of the documents of a suite's split, as `set_documents` wrote them."""
        key = _documents_key(suite, split)
        if key not in self._documents:
            self._documents[key] = tuple(self.study.user_attrs[key])
        return self._documents[key]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def uses_in(attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The uses of report documents among a study's attributes."""
    return [value for key, value in attributes.items() if key.startswith(USE)]


def _documents_key(suite: str, split: str) -> str:
    return f"documents:{suite}:{split}"
