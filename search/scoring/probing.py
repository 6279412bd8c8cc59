"""How long a document takes on this machine, measured on a few before the first trial."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from exme.evaluators.harness import Engine, Judge
from exme.search.study import StudyFile
from exme.tasks import UserError, one_line

# Seconds of measuring after which a suite's pace is believed, and documents that are measured at once at most: as many as
# a round has at first.
ENOUGH, MOST = 1.0, 32


class DocumentTime(NamedTuple):
    """What a document takes.

    Attributes:
        seconds: with answers that are new to the engine.
        drafted: share of that which goes to answers that can be drafted from earlier ones, which then take less.
    """

    seconds: float
    drafted: float = 0.0


def seconds_per_document(
    judge: Judge, engine: Engine, batch: int, *, targets: bool = False
) -> float:
    """Seconds that a document takes, its metric included, with the weights that are in the model; keeps nothing.

    Documents are answered in ever larger lots, each new to the engine, until one took long enough.

    Args:
        batch: documents of the first lot.
        targets: measure `Judge.score_targets`, not `Judge.score`.

    Raises:
        UserError: the metric cannot score an answer, as it could not score a trial's.
    """

    def score(engine: Engine, lot: Sequence[int]) -> None:
        try:
            (judge.score_targets if targets else judge.score)(engine, lot)
        except ValueError as error:
            told = f"an input's answers cannot be scored ({one_line(str(error))})"
            raise UserError(f"suite '{judge.suite.suite}': {told}") from None

    count = len(judge.documents)
    score(engine, [0])  # first calls set up what later ones find ready
    at, size = (1, min(batch, MOST)) if count > 1 else (0, 1)
    while True:
        lot = range(at, min(count, at + size))
        start = time.perf_counter()
        score(engine, lot)
        took = time.perf_counter() - start
        at += size
        size = min(MOST, 2 * size)
        if took >= ENOUGH or len(lot) >= MOST or at + size > count:
            return took / len(lot)


def drafts_answers(study: StudyFile, engine: str, judge: Judge) -> bool:
    """Whether an engine drafts answers to a suite's documents from those of earlier candidates."""
    if study.measure != "metric" or not judge.longest_answer:
        return False
    return engine == "fast" or (engine.startswith("vllm") and study.vllm.drafts)
