"""Which dropped checkpoints of a training run a proof need not score: those that cannot be the best input.

A merge is better than every input where it is better than the best of them. A dropped checkpoint may be that one, unless the
search documents say that it is not: by a test that may be looked at any time (`contention`), at a tenth of the error of this use
of the report documents. The proof has the rest (`gain.share_of_error`). Over one suite a single input is the best, so that the tenth
is one model's; over several it is shared out among all that were dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from exme.evaluators import DocumentScores
from exme.search.racing import evidence
from exme.search.statistics import is_bounded
from exme.search.trials import TrialRecord, scores_seen, values_of

from .gain import SPARED, share_of_error


@dataclass(frozen=True)
class LeftOut:
    """A dropped checkpoint that was not scored on the report documents.

    Attributes:
        name: its name.
        by: the input that tells most against it.
        documents: search documents that both have seen.
        p: that it is the best of the inputs; `level` what it had to be below.
    """

    name: str
    by: str
    documents: int
    p: float
    level: float


def left_out(
    trials: Sequence[TrialRecord], dropped: Collection[str], use: int
) -> tuple[LeftOut, ...]:
    """The dropped checkpoints that a proof leaves out.

    Args:
        trials: of the study as they were written: those of the first stage are of one input each.
        dropped: names of checkpoints.
        use: which use of the report documents this is.
    """
    known = inputs_alone(trials)
    if not all(_is_bounded(trial) for trial in known.values()):
        return ()
    several = any(len(_parts(trial)) > 1 for trial in known.values())
    level = SPARED * share_of_error(max(1, use)) / (len(dropped) if several else 1)
    found = []
    for name in dropped:
        if name not in known:
            continue
        others = [other for other in known if other != name]
        log = known[name].race_log
        assert log is not None
        order = log.draw.order.documents[: log.partial.count]
        table = np.stack([values_of(known[other])[order] for other in others])
        told, place = evidence(values_of(known[name])[order], table, _suites(known[name])[order])
        if told >= 1 / level:
            by = others[place]
            both = int((~np.isnan(table[place])).sum())
            found.append(LeftOut(name, by, both, 1 / told, level))
    return tuple(found)


def inputs_alone(trials: Sequence[TrialRecord]) -> dict[str, TrialRecord]:
    """The last trial of the base and of each checkpoint in the first stage, by name."""
    found = {}
    for trial in trials:
        candidate = trial.candidate
        if candidate is not None and trial.race_log is not None and len(candidate.sources) <= 2:
            name = next(iter(candidate.coefficients), "base")
            if set(candidate.sources) == {"base", name}:
                found[name] = trial
    return found


def _parts(trial: TrialRecord) -> Sequence[DocumentScores]:
    return scores_seen(trial).parts


def _is_bounded(trial: TrialRecord) -> bool:
    return all(map(is_bounded, _parts(trial)))


def _suites(trial: TrialRecord) -> np.ndarray:
    """Number of each document's suite, shape (n,)."""
    assert trial.race_log is not None
    parts = trial.race_log.partial.parts
    return np.repeat(np.arange(len(parts)), [len(part.documents) for part in parts])
