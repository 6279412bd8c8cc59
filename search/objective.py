"""What a search maximises: the mean over its suites of the gain over the best input.

The best input's score on a suite is the same number for every candidate, so the candidate with the
highest mean gain is the one with the highest mean score; the storage holds the latter, which is known
from the first trial on. People see gains.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from exme.evaluators.scores import Scores

from .outcome import TrialRecord


def reference(trials: Sequence[TrialRecord], inputs: Collection[str]) -> dict[str, float]:
    """On each suite, the highest mean score of an input on the search documents.

    Args:
        trials: the study's trials.
        inputs: origins of the trials that are inputs, e.g. ``sums alone``.
    Returns:
        By suite; empty until every input has been tried.
    """
    scored = {t.origin: t.scores for t in trials if t.origin in inputs and t.scores is not None}
    if len(scored) < len(inputs):
        return {}
    best: dict[str, float] = {}
    for scores in scored.values():
        for part in scores.parts:
            best[part.suite] = max(best.get(part.suite, part.mean), part.mean)
    return best


def gains(scores: Scores, best: Mapping[str, float]) -> dict[str, float]:
    """By how much a candidate beats the best input, suite by suite; in the scores' own unit."""
    return {part.suite: part.mean - best[part.suite] for part in scores.parts if part.suite in best}
