"""A trial's attributes in the storage, and the record that is read from them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from exme.search.merging import Candidate
from exme.search.study import read
from exme.search.trials import Clock, RaceLog, Result, Round, TrialRecord

from .packing import as_told, pack, unpack

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
    TrialState.PRUNED: "paused",  # or rejected, as its race log says
}
CUT_OFF = "cut off"
# Of these attributes; a study that was begun with another cannot be gone on with.
FORMAT = 2


def record_of(trial: FrozenTrial, documents_of: Callable[[str, str], Sequence[str]]) -> TrialRecord:
    """A trial as the search knows it.

    Args:
        documents_of: identifiers of the documents of a suite and split.
    """
    attributes = trial.user_attrs
    packed, candidate = attributes.get("scores"), attributes.get("candidate")
    complete = trial.state == TrialState.COMPLETE
    message = str(attributes.get("message", ""))
    state = _STATES[trial.state]
    scores = unpack(packed, documents_of) if packed and complete else None
    race_log = None
    look, duplicate_of = attributes.get("look", {}), attributes.get("duplicate_of")
    if state == "paused" and "course" in look:
        race_log = RaceLog.from_json(look["course"], documents_of)
        state = "paused" if race_log.lost_to is None else "rejected"
    documents = look.get("documents", attributes.get("worth", 0))
    return TrialRecord(
        number=trial.number,
        state=CUT_OFF if state == "failed" and not message else state,
        origin=str(attributes.get("origin", "")),
        candidate=Candidate.from_json(_shared_sources(candidate)) if candidate else None,
        scores=scores,
        seconds=sum(look.get("seconds", {}).values()),
        proposing=look.get("seconds", {}).get("propose", 0.0),
        clock=Clock.from_json(look["clock"]) if "clock" in look else None,
        message=message,
        duplicate_of=duplicate_of,
        documents=0 if duplicate_of is not None else int(documents),
        race_log=race_log,
        continues=look.get("continues"),
        # (of several objectives `Objective.rate` makes one)
        value=as_told(trial.values, scores.parts)[0]
        if scores is not None and len(trial.values) == 1
        else None,
    )


def is_whole(trial: FrozenTrial) -> bool:
    """Whether a finished trial was read with all that its record is made of.

    Attributes are written one by one, the state last. Whoever reads the two one after the other, or from two caches, may
    see the state without them.
    """
    attributes = trial.user_attrs
    if trial.state == TrialState.COMPLETE:
        return "candidate" in attributes and "scores" in attributes
    if trial.state == TrialState.PRUNED:
        return "candidate" in attributes and "course" in attributes.get("look", {})
    return trial.state == TrialState.FAIL


def condense(trial: FrozenTrial) -> dict[str, float]:
    """Let go of what the record of a finished trial says already.

    Optuna holds every trial it has read for as long as the process lives: of 2,000 trials by far the most that a worker
    would come to hold. What the storage itself still asks of a finished trial stays.

    Returns:
        Seconds by what they were spent on, which neither says from now on.
    """
    seconds: dict[str, float] = trial.user_attrs.get("look", {}).get("seconds", {})
    kept = {key: trial.user_attrs[key] for key in _ASKED_LATER if key in trial.user_attrs}
    trial.user_attrs = _one_of_equal(tuple(kept.items()))
    trial.params = {sys.intern(name): value for name, value in trial.params.items()}
    trial.distributions = _one_of_equal(tuple(trial.distributions.items()))
    return seconds


_ASKED_LATER = ("origin", "again", "message")


def _shared_sources(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """The same candidate, its fingerprints one object for all candidates."""
    return {**candidate, "sources": _one_of_equal(tuple(candidate["sources"].items()))}


@lru_cache(maxsize=64)
def _one_of_equal(items: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """A dictionary that is not to be changed."""
    return dict(items)


def claim_to_json(candidate: Candidate, documents: int) -> dict[str, Any]:
    """What others are to know of a trial in hand, and people to read."""
    return {
        "candidate": candidate.to_json(),
        "reading": str(read(candidate.coefficients)),
        **({"worth": documents} if documents else {}),
    }


def ending_of(
    result: Result, clock: Callable[[], Clock]
) -> tuple[dict[str, Any], TrialState, list[float] | RaceLog | None]:
    """What is written of a trial that shares nobody's scores: its attributes in order, its state, and what Optuna is told.

    With the last attribute anyone can finish the trial.

    Args:
        clock: when that was; asked for where something was scored.

    Raises:
        ValueError: nothing came of it.
    """
    made, scores = result.round, result.scores
    if result.message:
        return {"message": result.message}, TrialState.FAIL, None
    if scores is not None:
        told = as_told(list(result.values) or [scores.mean], scores.parts)
        look = _look(result.seconds, scores.count, made, clock())
        return {"look": look, "value": told, "scores": pack(scores)}, TrialState.COMPLETE, told
    if made is None:
        raise ValueError(f"trial {result.claim.number}: nothing came of it")
    look = _look(result.seconds, made.documents, made, clock())
    return {"look": {**look, "course": made.race_log.to_json()}}, TrialState.PRUNED, made.race_log


def _look(
    seconds: Mapping[str, float], documents: int, made: Round | None, clock: Clock
) -> dict[str, Any]:
    """What a trial took, and how it raced where it did: one attribute, for every one is a transaction."""
    found: dict[str, Any] = {
        "documents": documents if made is None else made.documents,
        "seconds": {work: round(value, 4) for work, value in seconds.items()},
        "clock": clock.to_json(),
    }
    if made is None:
        return found
    if made.continues is not None:
        found["continues"] = made.continues
    if made.race_log.partial.is_complete:
        found["draw"] = made.race_log.draw.to_json()
    return found
