"""What is known now of each candidate of a search, scored on all search documents or on some.

One candidate has one score, the same wherever it is shown: what is believed of it on documents like these (`believed`), with
its 95% interval (`expected`). It is neither what was counted, which flatters whoever was picked for it, nor what a trial said
when it ended: those scored since tell how hard its documents were. A mean of what is believed is free of that, whoever is
picked, and how, as far as the model is right (Efron 2011, doi:10.1198/jasa.2011.tm11181).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from exme.evaluators import DocumentScores, Scale, Scores, scale_of
from exme.search.racing import Estimate, Field, Floats, Goal
from exme.search.statistics import Interval, compare, is_binary
from exme.search.study import name_alone

from .expected import expected_scores, mean_of
from .lineup import line_up
from .partial import Part
from .ranking import best_known
from .trial import TrialRecord
from .unit import Unit

# Documents that both of two candidates must have seen for their differences to say how much these vary.
_ENOUGH = 8

# Of so many trials estimates are made at every look at a running search.
_RECENT = 1000

# The last histories that were asked for, with what came: a line, a picture and an event ask for the same.
_KNOWN: deque[tuple[tuple[object, ...], list[tuple[float, ...] | None], list[Standing]]] = deque(
    maxlen=4
)


@dataclass(frozen=True)
class Standing:
    """One candidate.

    Attributes:
        trial: the last that looked at it.
        suites: estimate of its mean over the search documents of each suite, by suite, as the search has it.
        scores: what it is expected to score on documents like those of each suite, with its 95% interval.
        values: by document of all suites, NaN where it was not seen, shape (n,).
    """

    trial: TrialRecord
    suites: Mapping[str, Estimate]
    scores: Mapping[str, Interval]
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
    def scales(self) -> dict[str, Scale]:
        """Of the metrics, by suite."""
        return {part.suite: part.scale for part in by_suite(self.trial)}

    @property
    def unit(self) -> Unit:
        """How its score is shown."""
        return Unit(percent=self.is_share, scale=scale_of(list(self.scales.values())))

    def unit_on(self, suite: str) -> Unit:
        """How its score on a suite is shown."""
        return Unit(percent=self.is_share, scale=self.scales[suite])

    @property
    def interval(self) -> Interval:
        """Its score, the mean of the suites', with its 95% interval."""
        return mean_of(list(self.scores.values()))

    @property
    def mean(self) -> float:
        """Its score."""
        return self.interval.estimate

    @property
    def documents_text(self) -> str:
        """How many documents it was scored on: ``256 documents``, ``64 of 256 documents``."""
        of = "" if self.is_complete else f" of {len(self.values):,}"
        return f"{self.count:,}{of} documents"

    @property
    def solved_text(self) -> str:
        """What was counted: ``154 of the 256 documents solved``; empty where documents are not solved or not."""
        solved = f"{np.nansum(self.values):,.0f} of the {self.count:,} documents solved"
        return solved if self.is_share else ""


def unit_of(found: Sequence[Standing]) -> Unit:
    """How scores of candidates are shown together."""
    scales = {s.unit.scale for s in found}
    scale = scales.pop() if len(scales) == 1 else None
    return Unit(percent=all(s.is_share for s in found), scale=scale)


def scores_seen(trial: TrialRecord) -> Scores:
    """A trial's scores on the search documents on which it was scored.

    Raises:
        ValueError: on none.
    """
    if trial.scores is not None:
        return trial.scores
    if trial.race_log is None:
        raise ValueError(f"trial {trial.number} was not scored")
    return trial.race_log.partial.seen()


def by_suite(trial: TrialRecord) -> Sequence[DocumentScores | Part]:
    """A trial's values by document, suite by suite; NaN where a document was not seen."""
    if trial.scores is not None:
        return trial.scores.parts
    return trial.race_log.partial.parts if trial.race_log is not None else ()


def standings(trials: Sequence[TrialRecord]) -> list[Standing]:
    """All candidates that were scored, in the order in which they were begun."""
    mine = [t for t in trials if t.is_scored and t.candidate is not None]
    asked: tuple[object, ...] = tuple(
        part for t in mine for part in (t.candidate, t.scores, t.race_log)
    )
    means = [t.means for t in mine]
    for known, believed, found in tuple(_KNOWN):
        if len(known) != len(asked) or believed != means:
            continue
        if all(a is b for a, b in zip(known, asked, strict=True)):
            return list(found)
    told = _standings(mine)
    _KNOWN.append((asked, means, told))
    return list(told)


def _standings(trials: Sequence[TrialRecord]) -> list[Standing]:
    sizes = next((found for t in trials if (found := _sizes(t))), {})
    if not sizes:
        return []
    field = Field(tuple(sizes.values()), Goal((1 / len(sizes),) * len(sizes)))
    # Whom they raced against says nothing of their scores, and need not be among these trials.
    bare = [replace(t, race_log=replace(t.race_log, legs=())) if t.race_log else t for t in trials]
    lineup = line_up(bare, field, lambda candidate: np.zeros(0))
    unknown = (math.nan,) * len(sizes)
    means = np.array([t.means or unknown for t in lineup.trials])
    suites = [
        expected_scores(lineup.runners, means[:, k], part) for k, part in enumerate(field.parts)
    ]
    whole = {t.number: t for t in trials}
    return [
        Standing(
            whole[trial.number],
            {suite: found[k][0] for suite, found in zip(sizes, suites, strict=True)},
            {suite: found[k][1] for suite, found in zip(sizes, suites, strict=True)},
            runner.values,
        )
        for k, (trial, runner) in enumerate(zip(lineup.trials, lineup.runners, strict=True))
    ]


def latest(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that a look at a running search goes by: of a very long one all but its old losers."""
    return [t for t in trials[:-_RECENT] if t.scores or name_alone(t.origin)] + [*trials[-_RECENT:]]


def standing_by_trial(
    found: Sequence[Standing], trials: Sequence[TrialRecord]
) -> dict[int, Standing]:
    """By trial that was scored, by number, the standing of its candidate."""
    by_digest = {s.trial.candidate.digest: s for s in found if s.trial.candidate}
    return {
        t.number: by_digest[t.candidate.digest]
        for t in trials
        if t.candidate is not None and t.is_scored and t.candidate.digest in by_digest
    }


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
    """On each suite, the highest score of an input."""
    best: dict[str, float] = {}
    for standing in inputs:
        for suite, found in standing.scores.items():
            best[suite] = max(best.get(suite, found.estimate), found.estimate)
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

    It is the difference of the scores that are shown. Its interval is as wide, where both are complete, as that
    of `compare`; otherwise its variance is that of the two estimates, and that of the search documents
    themselves as a sample, from the documents that both have seen.
    """
    gap = a.mean - b.mean
    if a.trial.scores is not None and b.trial.scores is not None:
        found = compare(a.trial.scores, b.trial.scores).difference
        below, above = found.estimate - found.low, found.high - found.estimate
    else:
        each = [e.standard_error for s in (a, b) for e in s.suites.values()]
        error = math.hypot(math.hypot(*each) / len(a.suites), _sampling_error(a, b))
        below = above = 1.96 * error
    low, high = gap - below, gap + above
    if a.is_share and b.is_share:
        low, high = max(-1.0, low), min(1.0, high)
    return Interval(gap, low, high)


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
