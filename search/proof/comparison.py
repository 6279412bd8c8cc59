"""Any models on the same documents: who beats whom, by the tests that prove a search's winner.

Every two are compared, and either may be the one that beats the other: the level of this use (`share_of_error`) is divided by
twice the number of pairs, so that it bounds the chance that any model is said to beat another and does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from exme.evaluators import Scores
from exme.search.racing import Goal
from exme.search.statistics import documents_needed, paired_differences
from exme.search.trials import Unit, joined

from .gain import Gain, gain_over_inputs, share_of_error
from .verdict import facts_text

# Gains of which is said how many documents would show them.
GAINS = (0.01, 0.03, 0.05)


@dataclass(frozen=True)
class Pair:
    """Two models.

    Attributes:
        better: name of the one with the higher mean over the suites; of equals the first.
        worse: of the other.
        gain: of the better one over the other.
        needed: documents that would show each of `GAINS`; None where nobody can say.
        sentence: what there is to tell.
    """

    better: str
    worse: str
    gain: Gain
    needed: tuple[int | None, ...]
    sentence: str

    @property
    def proved(self) -> bool:
        """Whether the better one beats the other."""
        return self.gain.proved


@dataclass(frozen=True)
class Comparison:
    """Models on the same documents.

    Attributes:
        scores: of each, by name.
        pairs: of every two of them.
        use: which use of these documents it is.
    """

    scores: Mapping[str, Scores]
    pairs: tuple[Pair, ...]
    use: int = 1

    @property
    def unit(self) -> Unit:
        """In which scores are shown."""
        return Unit(self.scores.values())

    @property
    def needs(self) -> str:
        """How many documents gains of 1, 3 and 5 points would need, in a sentence; empty where nobody can say, or points mean nothing."""
        every = [pair.needed for pair in self.pairs if None not in pair.needed]
        if not every or not self.unit.percent:
            return ""
        most = [max(n for n in column if n is not None) for column in zip(*every, strict=True)]
        points = [f"{100 * gain:g}" for gain in GAINS]
        return (
            f"To show a gain of {', '.join(points[:-1])} or {points[-1]} points takes about "
            f"{joined([f'{n:,}' for n in most])} documents (in four of five tries, if as many answers differ as here)."
        )


def compare_models(scores: Mapping[str, Scores], use: int = 1) -> Comparison:
    """Compare every two of some models.

    Args:
        scores: by name, two or more, on the same documents of the same suites.
        use: see `number_of`.

    Raises:
        ValueError: they were not scored on the same documents.
    """
    names = list(itertools.combinations(scores, 2))
    level = share_of_error(use) / (2 * len(names))
    unit = Unit(scores.values())
    pairs = tuple(_pair(scores, *pair, level, unit, use) for pair in names)
    return Comparison(scores, pairs, use)


def _pair(
    scores: Mapping[str, Scores], one: str, other: str, level: float, unit: Unit, use: int
) -> Pair:
    weight = 1 / len(scores[one].parts)
    goal = Goal((weight,) * len(scores[one].parts))
    gain = gain_over_inputs(scores[one], [(other, scores[other])], goal, level)
    if gain.estimate < 0:
        one, other = other, one
        gain = gain_over_inputs(scores[one], [(other, scores[other])], goal, level)
    both = zip(scores[one].parts, scores[other].parts, strict=True)
    moved = [(weight, paired_differences(a, b)) for a, b in both]
    needed = tuple(documents_needed(moved, points, level) for points in GAINS)
    return Pair(one, other, gain, needed, _sentence(one, other, gain, unit, scores[one], use))


def _sentence(one: str, other: str, gain: Gain, unit: Unit, scores: Scores, use: int) -> str:
    facts = facts_text(gain, unit, scores, use)
    if gain.proved:
        return f"{one} beats {other} by {unit.gap(gain.estimate)} ({facts})."
    lead = (
        f"{one} is {unit.beside(gain.estimate, other)}"
        if gain.estimate
        else f"{one} and {other} score the same"
    )
    why = "scores without bounds allow no proof" if gain.approximate else "that may be chance"
    return f"{lead}; {why} ({facts})."
