"""The verdict: whether a search found something better than its inputs, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from exme.evaluators.scores import Scores

from .outcome import Entry, Outcome
from .statistics import Interval, PairedComparison, compare, is_binary

# A gain is called proved below this one-sided p-value, corrected for the number of looks: so often at
# most is a candidate that is not better called that.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Verdict:
    """Whether the search found something better than its inputs.

    Attributes:
        proved: the gain over the best input is positive, with a one-sided p below 0.05 after
            Bonferroni's correction for the number of looks at the report documents.
        sentence: the same in words, for people.
        recommended: name of the entry to use, ``merged`` or an input; empty before the proof.
        comparison: merged against the best input on the report documents, where both are known.
        best_input: name of the input that scored highest there; empty before the proof.
    """

    proved: bool
    sentence: str
    recommended: str
    comparison: PairedComparison | None
    best_input: str


def verdict(outcome: Outcome) -> Verdict:
    """Compare the winner with the best of its inputs, base included.

    The best input is the one with the highest score on the *report* documents. It is chosen on
    the documents on which it is then compared, which favours it: the verdict errs on the side of
    calling a gain noise.

    Raises:
        ValueError: the entries were not scored on the same documents.
    """
    winner, merged = outcome.winner, outcome.merged
    if winner is None or winner.candidate is None:
        failed = sum(trial.state == "failed" for trial in outcome.trials)
        return _unproved(f"Nothing found yet: no trial is complete ({failed} failed).")
    if not outcome.inputs:
        return _unproved("Not proved yet: nothing has been scored on the report documents.")
    known = {entry.name for entry in outcome.inputs}
    missing = [name for name in ("base", *winner.candidate.coefficients) if name not in known]
    if missing:  # the proof was interrupted: a missing input may be the best one
        names = " and ".join(missing)
        return _unproved(f"Not proved yet: {names} not yet scored on the report documents.")
    best = max(outcome.inputs, key=lambda entry: entry.report.mean)
    for entry in outcome.inputs:
        if entry.candidate.digest == winner.candidate.digest:
            score = Unit([best.report]).score(best.report.mean)
            return _unproved(
                f"No gain: the best candidate on the search documents is {entry.name}, itself an "
                f"input. Use {best.name} ({score} on {count_of(best.report)}).",
                best.name,
            )
    if merged is None:
        sentence = "Not proved yet: merged not yet scored on the report documents."
        return _unproved(sentence, best.name)
    result = compare(merged.report, best.report)
    better = result.difference.estimate > 0
    looks = max(1, outcome.looks)
    return Verdict(
        proved=better and looks * result.p_better < SIGNIFICANCE,
        sentence=_sentence(result, looks, best, Unit([merged.report, best.report])),
        recommended="merged" if better else best.name,
        comparison=result,
        best_input=best.name,
    )


class Unit:
    """How scores are shown: accuracies in percent, gains in points; others as they are.

    Args:
        scores: percent is used when all of these are 0 or 1.
        percent: whether, where that is known already.
    """

    def __init__(self, scores: Iterable[Scores], *, percent: bool = True) -> None:
        self.percent = percent and all(is_binary(s.values) for s in scores)

    def _number(self, value: float) -> str:
        if math.isinf(value):
            return "unbounded"
        return f"{100 * value:.1f}" if self.percent else f"{value:.4g}"

    def score(self, value: float) -> str:
        """A score: ``48.4%``."""
        return self._number(value) + ("%" if self.percent else "")

    def tick(self, value: float) -> str:
        """A score on an axis: ``40%``."""
        return f"{100 * value:.4g}%" if self.percent else f"{value:.4g}"

    def gap(self, value: float) -> str:
        """A difference of scores: ``7.2 points``."""
        return self._number(value) + (" points" if self.percent else "")

    def signed(self, value: float) -> str:
        """A difference with its sign: ``+7.2 points``."""
        return ("+" if value > 0 else "") + self.gap(value)

    def span(self, interval: Interval) -> str:
        """The ends of an interval: ``4.1 to 10.3``."""
        return f"{self._number(interval.low)} to {self._number(interval.high)}"

    def full(self, interval: Interval, *, sign: bool = False) -> str:
        """Estimate and interval: ``48.4% (42.4 to 54.5)``."""
        plus = "+" if sign and interval.estimate > 0 else ""
        estimate = self._number(interval.estimate) if sign else self.score(interval.estimate)
        return f"{plus}{estimate} ({self.span(interval)})"


def _unproved(sentence: str, best: str = "") -> Verdict:
    return Verdict(False, sentence, best, None, best)


def _sentence(result: PairedComparison, looks: int, best: Entry, unit: Unit) -> str:
    gain = result.difference.estimate
    corrected = min(1.0, looks * (result.p_better if gain > 0 else result.p_value))
    p = "one-sided " * (gain > 0) + p_text(corrected)
    p += f" corrected for {looks} looks" if looks > 1 else ""
    facts = f"{p}, {count_of(best.report)}"
    span = unit.span(result.difference)
    if gain > 0:
        kind = "Proved" if corrected < SIGNIFICANCE else "May be noise"
        how = f"merged beats {best.name}, the best input, by {unit.gap(gain)}"
        return f"{kind}: {how} (95% interval {span}, {facts})."
    how = f"scores {unit.gap(-gain)} below" if gain < 0 else "scores the same as"
    interval = f"95% interval of the difference {span}, {facts}"
    return f"Not better: merged {how} {best.name}, the best input ({interval}). Use {best.name}."


def p_text(value: float) -> str:
    """A p-value as it is printed: ``p = 0.012``."""
    if value < 0.0001:
        return "p < 0.0001"
    return f"p = {value:.4f}" if value < 0.1 else f"p = {value:.2f}"


def count_of(scores: Scores) -> str:
    """``1000 report documents``."""
    suites = f" of {len(scores.parts)} suites" if len(scores.parts) > 1 else ""
    return f"{scores.count} {scores.split} document{'s' if scores.count != 1 else ''}{suites}"
