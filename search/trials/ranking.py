"""Which of a search's candidates is best, also where scores are equal, and whether they differ at all.

Scores on finitely many documents are often equal. A tie goes to an input, for a merge that scores no higher is not worth
making; else to the candidate that is shifted least from the nearest input; else to the earliest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from exme.search.directions import DIRECTIONS
from exme.search.merging import Candidate
from exme.search.merging.methods import PLAIN

from .trial import TrialRecord

# Of a candidate that was scored in part so much more must be believed, in the metric's unit, as of one that was scored on all
# documents: half a point. One that was begun a moment ago is otherwise named for a tenth of one.
NEAR = 0.005

# Sums of scores over suites may differ in their last digits where scores are equal.
_DIGITS = 12
# Masks and turns change the weights even where coefficients are an input's.
_NOT_PLAIN = 1e-6


def complete(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials with scores."""
    return [t for t in trials if t.scores is not None]


def eligible(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials with scores that may be best: within the study's bound on the shift."""
    return [t for t in complete(trials) if not t.barred]


def best_trial(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The trial of which most is believed, feasible ones first, complete ones before others within `NEAR`; of equals see above.

    Where nothing is believed, on a Pareto front, the complete trial with the highest value.
    """
    last = {t.candidate.digest: t for t in trials if t.belief is not None and t.candidate}
    believed = [t for t in last.values() if not t.barred]
    best, whole = _first(believed), _first([t for t in believed if t.scores is not None])
    if best is None:
        return _first(eligible(trials))
    return whole if whole is not None and _is_near(whole, best) else best


def _is_near(whole: TrialRecord, best: TrialRecord) -> bool:
    """Whether a complete trial is next to as good as the best, which then would be named on less evidence for nothing."""
    assert whole.belief is not None and best.belief is not None
    return whole.feasible == best.feasible and best.belief - whole.belief <= NEAR


def best_known(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """As `best_trial`; on a Pareto front, while no trial is complete, the one whose estimate is high for sure."""
    return best_trial(trials) or _first([t for t in trials if t.is_scored and not t.barred])


def _first(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    highest = max(map(merit, trials), default=None)
    # (distances are asked for where they decide: there may be thousands of trials)
    return min((t for t in trials if merit(t) == highest), key=_order, default=None)


def merit(trial: TrialRecord) -> tuple[bool, bool, float]:
    """By what scored trials are ranked before ties: feasible, and what is believed; else complete, feasible, and the value."""
    if trial.belief is not None:
        return True, trial.feasible, round(trial.belief, _DIGITS)
    if trial.scores is not None:
        value = trial.scores.mean - trial.penalty if trial.value is None else trial.value
        return True, trial.feasible, round(value, _DIGITS)
    found = trial.estimate
    if found is None:
        return False, False, -math.inf
    return False, False, round(found.mean - found.standard_error - trial.penalty, _DIGITS)


def _order(trial: TrialRecord) -> tuple[float, int]:
    """Which of equals comes first."""
    return distance(trial), trial.number


def distance(trial: TrialRecord) -> float:
    """How far a trial's candidate is from the nearest input: 0 for an input.

    That is the study's shift where it measures one, else the distance in effective coefficients.
    """
    if trial.candidate is None:
        return math.inf
    away = from_inputs(trial.candidate)
    return away if away == 0 or trial.shift is None else max(trial.shift, _NOT_PLAIN)


def from_inputs(candidate: Candidate) -> float:
    """Distance in effective coefficients from the nearest of the base and the checkpoints; of groups, their mean square's root."""
    groups = list(candidate.grouped.values()) or [candidate.coefficients]
    names = [name for name in candidate.coefficients if name not in DIRECTIONS]
    least = min(sum(_squares(values, name) for values in groups) for name in ("", *names))
    found = math.sqrt(least / len(groups))
    return found if candidate.method in PLAIN else found + _NOT_PLAIN


def _squares(values: Mapping[str, float], name: str) -> float:
    """Squared distance of coefficients from a checkpoint's, or from the base's for an empty name."""
    return sum((value - (other == name)) ** 2 for other, value in values.items())


def is_input(trial: TrialRecord) -> bool:
    """Whether a trial's candidate is the base or a checkpoint."""
    return distance(trial) == 0


def is_flat(trials: Iterable[TrialRecord]) -> bool:
    """Whether all that was scored has the same score, as far as can be compared.

    Complete trials have one mean on every suite. One that was scored in part has the first complete one's mean on the
    documents that it has seen; where none is complete, every document has one value in all that have seen it.
    """
    trials = [t for t in trials if t.is_scored]
    whole = [t.scores for t in trials if t.scores is not None]
    if len({tuple(round(part.mean, _DIGITS) for part in s.parts) for s in whole}) > 1:
        return False
    tables = [
        t.race_log.partial.values for t in trials if t.scores is None and t.race_log is not None
    ]
    if whole:
        first = np.array(whole[0].values)
        return all(abs(float(np.nanmean(table - first))) < 10**-_DIGITS for table in tables)
    if not tables:
        return True
    return not bool((np.fmax.reduce(tables) > np.fmin.reduce(tables)).any())
