"""What is believed of a study's candidates: who is named the best goes by this, on every surface."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exme.search.racing import Belief, Floats

from .expected import collapsed
from .trial import TrialRecord
from .weight_space import WeightSpace

# The model is fitted to so many candidates at most: beyond that those with the highest scores, and the first ones, stand for all.
MOST = 160
FIRST = 20

# The last answer in each of so many spaces: the steps of a trial ask the same.
_SPACES = 2
_KNOWN: dict[tuple[object, ...], tuple[tuple[object, ...], Believed]] = {}


@dataclass(frozen=True)
class Believed:
    """Candidates that were scored, and what is believed of them.

    Attributes:
        trials: the last of each candidate; those whom the model is fitted to first.
        places: of theirs in weight space, shape (K, d).
        values: by document of all suites, NaN where not scored, shape (K, n).
        suites: the belief on each suite.
        means: of each candidate on each suite, shape (K, suites).
    """

    trials: tuple[TrialRecord, ...]
    places: Floats
    values: Floats
    suites: tuple[Belief, ...]
    means: Floats

    @property
    def of(self) -> dict[str, int]:
        """Each candidate's number, by its digest."""
        return {t.candidate.digest: i for i, t in enumerate(self.trials) if t.candidate}


def believe(trials: Sequence[TrialRecord], space: WeightSpace) -> Believed | None:
    """What is believed now; None before the first candidate was scored.

    Args:
        trials: all of the study's.
        space: of the candidates.
    """
    last: dict[str, TrialRecord] = {}
    for trial in trials:
        if trial.candidate is not None and trial.duplicate_of is None and trial.is_scored:
            last[trial.candidate.digest] = trial
    if not last:
        return None
    mine = tuple(last.values())
    asked = tuple(part for t in mine for part in (t.scores, t.race_log))
    known, found = _KNOWN.get(space.key, ((), None))
    if found and len(known) == len(asked) and all(map(operator.is_, known, asked)):
        return found
    told = _believe(mine, space)
    _KNOWN.pop(space.key, None)
    _KNOWN[space.key] = asked, told
    while len(_KNOWN) > _SPACES:
        _KNOWN.pop(next(iter(_KNOWN)), None)
    return told


def _believe(trials: tuple[TrialRecord, ...], space: WeightSpace) -> Believed:
    values = np.stack([values_of(t) for t in trials])
    fitted = len(trials)
    if len(trials) > MOST:  # those whom the model is fitted to come first
        order = np.argsort(-np.nanmean(values, axis=1), kind="stable")
        first = np.unique([*order[: MOST - FIRST], *range(FIRST)])
        placed, fitted = [*first, *np.setdiff1d(order, first)], len(first)
        trials, values = tuple(trials[i] for i in placed), values[placed]
    places = space.places([t.candidate for t in trials if t.candidate is not None])
    sizes = _sizes(trials[0])
    ends = np.cumsum(sizes)
    suites, means = [], []
    for start, end in zip(ends - sizes, ends, strict=True):
        part = values[:, start:end]
        suites.append(Belief(places[:fitted], part[:fitted], space.usual_place))
        means.append(_means(suites[-1], places, part, space.usual_place))
    return Believed(trials, places, values, tuple(suites), np.stack(means, 1))


def _means(belief: Belief, places: Floats, values: Floats, usual: Floats) -> Floats:
    """What is believed of each candidate's score on a suite.

    No smooth function falls off a cliff: beside candidates that have collapsed the others would look so unlike each other
    that what was counted is believed. These are believed by each other alone.
    """
    means = belief.mean(places)
    fallen = collapsed(values, share=belief.is_share)
    if fallen.any():
        living = np.flatnonzero(~fallen[: len(belief.points)])
        apart = Belief(places[living], values[living], usual)
        means[~fallen] = apart.mean(places[~fallen])
    return means


def _sizes(trial: TrialRecord) -> list[int]:
    """Number of search documents of each suite."""
    if trial.scores is not None:
        return [part.count for part in trial.scores.parts]
    assert trial.race_log is not None
    return [len(part.documents) for part in trial.race_log.partial.parts]


def values_of(trial: TrialRecord) -> Floats:
    """A trial's values by document of all suites, NaN where not scored."""
    if trial.scores is not None:
        return np.array(trial.scores.values)
    assert trial.race_log is not None
    return trial.race_log.partial.values
