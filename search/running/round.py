"""One round of a trial: a candidate is scored chunk by chunk, until it has lost or has had its documents."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from exme.search.proposing import Assignment, History, assign
from exme.search.racing import Domination, Field, Racing, Runner, advance, estimates_of, race_of
from exme.search.scoring import Scored, Scorer
from exme.search.trials import Claim, Partial, RaceLog, Result, Round
from exme.tasks import UserError


def run_round(claim: Claim, history: History, worker: Scorer) -> Result:
    """Score the candidate of a trial on as many documents as it is worth.

    A candidate that cannot be scored is no error of the search: the result says why.

    Args:
        claim: the trial.
        history: that it was proposed by.
        worker: scores it.

    Raises:
        UserError: nothing can be scored so.
    """
    try:
        if history.settled.is_racing or history.lineup.place_of(claim.candidate) is not None:
            return _race(claim, history, worker)
        scored = worker.score(claim.candidate, "search")
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  (one candidate's failure is not the search's)
        return Result(claim, message=describe_failure(error))
    return Result(claim, scored.scores, seconds=scored.seconds, answers=_answers(scored))


def _race(claim: Claim, history: History, worker: Scorer) -> Result:
    """Score a candidate, chunk by chunk, until it has lost or has had its documents."""
    task, racing = assign(history, claim), history.settled.racing
    runner, partial = task.runner, task.partial
    answers: dict[str, dict[str, str]] = {}
    seconds: dict[str, float] = {}
    done = 0
    while done < task.most:
        at = len(runner.seen)
        size = min(task.chunk, task.most - done)
        chosen = [int(i) for i in runner.order.documents[at : at + size]]
        scored = worker.score_part(claim.candidate, chosen)
        for name, value in scored.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
        for suite, said in _answers(scored).items():
            answers.setdefault(suite, {}).update(said)
        partial = partial.add(scored.scores)
        field = _safe(task.field, partial)
        runner = advance(runner, partial.values[chosen], racing, field)
        done += len(chosen)
        if runner.rejected:
            break
    made = Round(_logged(task, runner, partial, racing), done, task.continues)
    scores = partial.whole() if partial.is_complete else None
    return Result(claim, scores, round=made, seconds=seconds, answers=answers)


def _logged(task: Assignment, runner: Runner, partial: Partial, racing: Racing) -> RaceLog:
    """A candidate's race up to now, as the storage keeps it."""
    others = task.lineup.runners
    (estimate,) = estimates_of([*others, runner], task.field, first=len(others))
    lost_to = task.legs[_loser_to(runner, racing, task.field)][1] if runner.rejected else None
    return RaceLog(task.draw, partial, estimate, task.legs, lost_to)


def _loser_to(runner: Runner, racing: Racing, field: Field) -> int:
    """Number of the leg that a candidate has lost."""
    race = race_of(runner, racing, field)
    return race.strongest(runner.seen) if isinstance(race, Domination) else -1


def _safe(field: Field, partial: Partial) -> Field:
    """Without a bound on the metric, once it is seen to have been none."""
    beyond = float(np.nanmax(partial.values)) > field.highest
    return replace(field, highest=math.inf) if beyond else field


def _answers(scored: Scored) -> dict[str, dict[str, str]]:
    """What was answered, by suite and document."""
    found = {}
    for part in scored.scores.parts:
        answers = scored.answers.get(part.suite, ())
        found[part.suite] = dict(zip(part.documents, answers, strict=False))
    return found


def describe_failure(error: Exception) -> str:
    """Why a candidate could not be scored, in one line."""
    said = " ".join(str(error).split())
    if isinstance(error, (ArithmeticError, ValueError)) and said:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
