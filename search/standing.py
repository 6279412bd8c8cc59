"""What is known now of each candidate of a search, scored on all search documents or on some.

What a trial says of a candidate that was left is of that moment. Those scored since tell how hard its
documents were: an input that was left after 64 easy ones is not what its first estimate said.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from exme.evaluators.scores import DocumentScores, Scores

from .field import Field, suite_estimates
from .goal import Goal
from .lineup import line_up
from .outcome import TrialRecord
from .partial import Part
from .plan import best_known
from .statistics import Interval, compare, is_binary, mean_interval
from .strata import Estimate, Floats

# Documents that both of two candidates must have seen for their differences to say how much these vary.
_ENOUGH = 8


@dataclass(frozen=True)
class Standing:
    """One candidate.

    Attributes:
        trial: the last that looked at it.
        suites: estimate of its mean over the search documents of each suite, by suite.
        values: by document of all suites, NaN where it was not seen, shape (n,).
    """

    trial: TrialRecord
    suites: Mapping[str, Estimate]
    values: Floats

    @property
    def is_complete(self) -> bool:
        """Whether it was scored on all documents."""
        return self.trial.scores is not None

    @property
    def count(self) -> int:
        """Documents on which it was scored."""
        return int((~np.isnan(self.values)).sum())

    @property
    def is_share(self) -> bool:
        """Whether documents are solved or not, so that its score is a share of them."""
        return is_binary(self.values[~np.isnan(self.values)].tolist())

    @property
    def mean(self) -> float:
        """Of the suites' means."""
        return float(np.mean([e.mean for e in self.suites.values()]))

    @property
    def standard_error(self) -> float:
        """Of `mean`, as an estimate of that over all search documents; 0 where it was scored on all."""
        errors = [e.standard_error for e in self.suites.values()]
        return math.hypot(*errors) / len(errors)

    @property
    def interval(self) -> Interval:
        """95% interval: of a score as `mean_interval`, of an estimate by its standard error."""
        if self.trial.scores is not None:
            return mean_interval(self.trial.scores)
        return around(self.mean, self.standard_error, share=self.is_share)


def around(mean: float, standard_error: float, *, share: bool = False) -> Interval:
    """95% interval of an estimate; of a share all within [0, 1], which an estimate by differences may leave."""
    low, high = mean - 1.96 * standard_error, mean + 1.96 * standard_error
    if not share:
        return Interval(mean, low, high)
    return Interval(*(min(1.0, max(0.0, value)) for value in (mean, low, high)))


def score_of(trial: TrialRecord) -> Interval:
    """What a trial said of its candidate when it ended, with its 95% interval.

    Raises:
        ValueError: it was not scored.
    """
    if trial.scores is not None:
        return mean_interval(trial.scores)
    if trial.course is None:
        raise ValueError(f"trial {trial.number} was not scored")
    found, values = trial.course.estimate, trial.course.partial.values
    # (over several suites it may be one of gains, which can be below 0)
    one = len(trial.course.partial.parts) == 1
    share = one and is_binary(values[~np.isnan(values)].tolist())
    return around(found.mean, found.standard_error, share=share)


def scores_seen(trial: TrialRecord) -> Scores:
    """A trial's scores on the search documents on which it was scored.

    Raises:
        ValueError: on none.
    """
    if trial.scores is not None:
        return trial.scores
    if trial.course is None:
        raise ValueError(f"trial {trial.number} was not scored")
    return trial.course.partial.seen()


def by_suite(trial: TrialRecord) -> Sequence[DocumentScores | Part]:
    """A trial's values by document, suite by suite; NaN where a document was not seen."""
    if trial.scores is not None:
        return trial.scores.parts
    return trial.course.partial.parts if trial.course is not None else ()


def standings(trials: Sequence[TrialRecord]) -> list[Standing]:
    """All candidates that were scored, in the order in which they were begun.

    Estimates are those by which the search itself goes (`field.suite_estimates`).
    """
    sizes = next((found for t in trials if (found := _sizes(t))), {})
    if not sizes:
        return []
    field = Field(tuple(sizes.values()), Goal((1 / len(sizes),) * len(sizes)))
    # Whom they raced against says nothing of their scores, and need not be among these trials.
    bare = [replace(t, course=replace(t.course, legs=())) if t.course else t for t in trials]
    lineup = line_up(bare, field, lambda candidate: np.zeros(0))
    columns = [suite_estimates(lineup.runners, part) for part in field.parts]
    whole = {t.number: t for t in trials}
    each = zip(lineup.trials, lineup.runners, zip(*columns, strict=True), strict=True)
    return [
        Standing(whole[t.number], dict(zip(sizes, e, strict=True)), r.values) for t, r, e in each
    ]


def _sizes(trial: TrialRecord) -> dict[str, int]:
    """Number of search documents by suite, as far as a trial tells."""
    return {part.suite: len(part.documents) for part in by_suite(trial)}


def standing_of(found: Sequence[Standing], digest: str) -> Standing | None:
    """That of a candidate."""
    return next(
        (s for s in found if s.trial.candidate and s.trial.candidate.digest == digest), None
    )


def inputs_of(
    found: Sequence[Standing], trials: Sequence[TrialRecord], inputs: Collection[str]
) -> list[Standing]:
    """Those of the inputs; empty until each has been looked at.

    Args:
        found: of all candidates.
        trials: all trials; the first of an input has its origin, a later look may have another.
        inputs: origins of the inputs, e.g. ``sums alone``.
    """
    digests = {t.origin: t.candidate.digest for t in trials if t.origin in inputs and t.candidate}
    known = [standing_of(found, digest) for digest in digests.values()]
    several = [s for s in known if s is not None]
    return several if len(several) == len(inputs) else []


def best_inputs(inputs: Sequence[Standing]) -> dict[str, float]:
    """On each suite, the highest mean of an input."""
    best: dict[str, float] = {}
    for standing in inputs:
        for suite, found in standing.suites.items():
            best[suite] = max(best.get(suite, found.mean), found.mean)
    return best


def incumbents(
    trials: Sequence[TrialRecord], found: Sequence[Standing]
) -> list[tuple[TrialRecord, Standing]]:
    """Each trial that was scored, and the candidate that was the best known when it had ended, by what is known now.

    Before the first complete trial the best is the one whose estimate was high for sure.
    """
    by_digest = {s.trial.candidate.digest: s for s in found if s.trial.candidate}
    best: TrialRecord | None = None
    told = []
    for trial in trials:
        if trial.candidate is None or not trial.is_scored:
            continue
        is_newer = best is not None and trial.continues == best.number
        best = trial if best is None or is_newer else best_known((best, trial))
        if best is not None and best.candidate is not None and best.candidate.digest in by_digest:
            told.append((trial, by_digest[best.candidate.digest]))
    return told


def difference(a: Standing, b: Standing) -> Interval:
    """By how much one candidate scores higher than another, with its 95% interval.

    Both complete: `compare`. Otherwise the difference of the estimates; its variance is theirs, and that of
    the search documents themselves as a sample, from the documents that both have seen.
    """
    if a.trial.scores is not None and b.trial.scores is not None:
        return compare(a.trial.scores, b.trial.scores).difference
    error = math.hypot(a.standard_error, b.standard_error)
    return around(a.mean - b.mean, math.hypot(error, _sampling_error(a, b)))


def _sampling_error(a: Standing, b: Standing) -> float:
    start, total = 0, 0.0
    for size in (_sizes(a.trial) or _sizes(b.trial)).values():
        x, y = a.values[start : start + size], b.values[start : start + size]
        start += size
        both = ~np.isnan(x) & ~np.isnan(y)
        if both.sum() >= _ENOUGH:
            variance = float(np.var((x - y)[both], ddof=1))
        else:  # as of two candidates that have nothing in common
            variance = sum(float(np.nanvar(v)) if (~np.isnan(v)).any() else 0.25 for v in (x, y))
        total += variance / size
    return math.sqrt(total) / max(1, len(_sizes(a.trial)))
