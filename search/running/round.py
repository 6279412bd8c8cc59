"""One look at a candidate: its documents are scored chunk by chunk, until it has lost, is left, or has had them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from exme.search.merging.candidate import Candidate
from exme.search.proposing.allocation import is_left
from exme.search.proposing.assignment import Order
from exme.search.racing.domination import Domination
from exme.search.racing.field import Field, Racing, Runner, advance, estimates_of, race_of
from exme.search.scoring.worker import Scorer
from exme.search.trials.partial import Partial
from exme.search.trials.race_log import Course, Look


def look(
    order: Order, racing: Racing, candidate: Candidate, worker: Scorer
) -> tuple[Look, dict[str, float], dict[str, dict[str, str]]]:
    """Look at a candidate, chunk by chunk, until it has lost, is left, or has had its documents.

    Returns:
        What there is of it then, the wall time by work, and what it answered, by suite and document.
    """
    said: dict[str, dict[str, str]] = {}
    runner, partial = order.runner, order.partial
    seconds: dict[str, float] = {}
    done = 0
    while done < order.most:
        at = len(runner.seen)
        size = min(racing.chunk, order.most - done)
        chosen = [int(i) for i in runner.order.documents[at : at + size]]
        scored = worker.look(candidate, chosen)
        for name, value in scored.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
        for part in scored.scores.parts:
            answers = scored.answers.get(part.suite, ())
            said.setdefault(part.suite, {}).update(zip(part.documents, answers, strict=False))
        partial = partial.add(scored.scores)
        field = _safe(order.field, partial)
        runner = advance(runner, partial.values[chosen], racing, field)
        done += len(chosen)
        behind = not order.patient and is_left(runner, order.lineup.runners, racing, field)
        if runner.stopped or behind:
            break
    others = order.lineup.runners
    (estimate,) = estimates_of([*others, runner], order.field, first=len(others))
    lost_to = order.legs[_loser_to(runner, racing, order.field)][1] if runner.stopped else None
    course = Course(order.draw, partial, estimate, order.legs, lost_to)
    return Look(course, done, order.continues), seconds, said


def _loser_to(runner: Runner, racing: Racing, field: Field) -> int:
    """Number of the leg that a candidate has lost."""
    race = race_of(runner, racing, field)
    return race.strongest(runner.seen) if isinstance(race, Domination) else -1


def _safe(field: Field, partial: Partial) -> Field:
    """Without a bound on the metric, once it is seen to have been none."""
    beyond = float(np.nanmax(partial.values)) > field.highest
    return replace(field, highest=math.inf) if beyond else field
