"""What is to be done about a candidate in one trial: on which documents it is scored, and against whom it races."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exme.search.racing import Draw, Field, Runner, common_draw, draw, face, rivals
from exme.search.study import BY_HAND
from exme.search.trials import Claim, Lineup, Partial, TrialRecord, distance

from .history import History
from .sampler import trial_seed


@dataclass(frozen=True)
class Assignment:
    """A round that is to be made.

    Attributes:
        runner: the candidate, facing the incumbent.
        draw: of its documents.
        partial: its scores so far.
        lineup: those whom it races.
        field: what is raced over.
        legs: from which document on it races against which trial; several from one on are a front.
        most: documents to score at most.
        chunk: documents that are scored together, and after which is looked whether it has lost.
        continues: its last trial.
    """

    runner: Runner
    draw: Draw
    partial: Partial
    lineup: Lineup
    field: Field
    legs: tuple[tuple[int, int], ...]
    most: int
    chunk: int
    continues: int | None = None


def assign(history: History, claim: Claim) -> Assignment:
    """What is to be done about the candidate of a running trial.

    Args:
        history: as it was when the trial was proposed.
        claim: the trial; its number decides the order of a new candidate's documents.
    """
    settled, lineup, field = history.settled, history.lineup, history.field
    place = lineup.place_of(claim.candidate)
    legs: tuple[tuple[int, int], ...] = ()
    if place is None:
        runner, drawn = _newcomer(history, claim)
        partial, before = Partial.blank(settled.documents), None
    else:
        last = lineup.trials[place]
        assert last.race_log is not None
        runner, drawn, partial = lineup.runners[place], last.race_log.draw, last.race_log.partial
        legs, before = last.race_log.legs, last.number
    by_hand = claim.origin == BY_HAND
    whole = by_hand or settled.objective.is_reference(claim.origin)
    if not whole and not settled.is_adaptive:
        found = rivals(runner, lineup.runners, field)
        new = [(len(runner.seen), lineup.trials[rival].number) for rival in found]
        legs, runner = (*legs, *new), face(runner, lineup.runners, field)
    documents = claim.documents
    if documents is None:
        documents = settled.first_chunk
    left = settled.count - len(runner.seen)
    most = left if whole else min(left, documents)
    chunk = most if settled.is_adaptive or by_hand else settled.racing.chunk
    return Assignment(runner, drawn, partial, lineup, field, legs, most, chunk, before)


def _newcomer(history: History, claim: Claim) -> tuple[Runner, Draw]:
    """A candidate that was not scored before, and the order of its documents."""
    settled = history.settled
    if settled.is_adaptive:
        drawn = common_draw(history.field, settled.seed, claim.start)
    else:
        drawn = draw(history.lineup.runners, history.field, trial_seed(settled.seed, claim.number))
    judged = settled.objective.judge(
        TrialRecord(claim.number, "running", claim.origin, claim.candidate)
    )
    runner = Runner(
        history.point(claim.candidate),
        drawn.order,
        np.zeros(0),
        penalty=judged.penalty,
        barred=judged.barred,
        distance=distance(judged),
    )
    return runner, drawn
