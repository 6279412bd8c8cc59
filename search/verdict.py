"""The verdict: whether a search found something better than its inputs, and how sure that is.

It goes by the goal that the study set: the mean of the scores, the gain on the suites where it is lowest, or, of a Pareto
front, whether any input is as good on every suite; and by what the study's `keep` allows. `significance` has the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from exme.evaluators.scores import Scores

from .audit import audit
from .finals import Finals, Kept, finals
from .outcome import Entry, Outcome
from .significance import LowestGain, beyond_inputs, dominates, lowest_gain
from .statistics import Interval, PairedComparison, compare, is_binary

# A gain is called proved below this one-sided p-value, corrected for the number of looks: so often at
# most is a candidate that is not better called that.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Verdict:
    """Whether the search found something better than its inputs.

    Attributes:
        proved: the gain that the goal is about is positive, with a one-sided p below 0.05 after Bonferroni's
            correction for the number of looks at the report documents; and what is to be kept is kept.
        sentence: the same in words, for people.
        recommended: name of the entry to use, ``merged`` or an input; empty before the proof.
        comparison: the gain that the goal is about on the report documents, where it is known; None for a
            Pareto front.
        best_input: name of the input that the goal would take; empty before the proof.
        measure: what the gain of `comparison` is, in words.
        kept: what the study's `keep` names.
        caution: why the gain may be one of format; mostly empty.
    """

    proved: bool
    sentence: str
    recommended: str
    comparison: PairedComparison | None
    best_input: str
    measure: str = ""
    kept: tuple[Kept, ...] = ()
    caution: str = ""


def verdict(outcome: Outcome) -> Verdict:
    """Compare the winner with the best of its inputs, base included.

    The best input is chosen on the *report* documents, on which it is then compared, which favours it: the
    verdict errs on the side of calling a gain noise.

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
    stands = finals(outcome)
    name = stands.best(*(entry.name for entry in outcome.inputs))
    best = next(entry for entry in outcome.inputs if entry.name == name)
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
    looks = max(1, outcome.looks)
    if stands.aim.kind == "pareto":
        found = _of_front(outcome.inputs, merged, best, looks)
    elif stands.aim.kind == "mean":
        found = _of_mean(stands, merged, best, looks)
    else:
        found = _of_lowest(stands, outcome.inputs, merged, best, looks)
    return _with_kept(replace(found, caution=audit(merged, best).caution(best.name)), stands, best)


def _of_mean(stands: Finals, merged: Entry, best: Entry, looks: int) -> Verdict:
    weights = stands.aim.weights
    level = len(set(weights)) == 1
    result = compare(merged.report, best.report, weights=None if level else weights)
    better = result.difference.estimate > 0
    return Verdict(
        proved=better and looks * result.p_better < SIGNIFICANCE,
        sentence=_mean_sentence(
            result, looks, best, Unit([merged.report, best.report]), weighted=not level
        ),
        recommended="merged" if better else best.name,
        comparison=result,
        best_input=best.name,
        measure=f"{'in the weighted mean ' * (not level)}over {best.name}, the best input",
    )


def _of_lowest(
    stands: Finals, inputs: Sequence[Entry], merged: Entry, best: Entry, looks: int
) -> Verdict:
    """Of goals ``worst`` and ``cvar``."""
    scores = [(entry.name, entry.report) for entry in inputs]
    found = lowest_gain(merged.report, scores, stands.aim)
    gain = found.comparison.difference.estimate
    recommended = stands.best(best.name, "merged")
    unit = Unit([merged.report, *(s for _, s in scores)])
    where = _where(found)
    words = facts(found.comparison, looks, best.report)
    span = unit.span(found.comparison.difference)
    if gain > 0:
        sentence = f"{_kind(found.comparison, looks)}: merged gains {unit.gap(gain)} {where} (95% interval {span}, {words})."
    else:
        how = f"loses {unit.gap(-gain)}" if gain < 0 else "gains nothing"
        sentence = (
            f"Not better: merged {how} {where} (95% interval of the gain {span}, {words}). "
            f"Use {recommended}"
        )
        if recommended == "merged":
            other = unit.gap(-stands.values[best.name])
            sentence += f" all the same: by that goal it stands above every input ({best.name}, the next, loses {other})"
        sentence += "."
    return Verdict(
        proved=gain > 0 and looks * found.comparison.p_better < SIGNIFICANCE,
        sentence=sentence,
        recommended=recommended,
        comparison=found.comparison,
        best_input=best.name,
        measure=where,
    )


def _where(found: LowestGain) -> str:
    if len(found.suites) == 1:
        return f"on its worst suite, {found.suites[0]}, over {found.over[0]}, the best input there"
    return f"in the mean over its {len(found.suites)} worst suites, {_and(found.suites)}, over the best input on each"


def _of_front(inputs: Sequence[Entry], merged: Entry, best: Entry, looks: int) -> Verdict:
    scores = [(entry.name, entry.report) for entry in inputs]
    unit = Unit([merged.report, *(s for _, s in scores)])
    documents = count_of(merged.report)
    above = [entry.name for entry in inputs if dominates(entry.report, merged.report)]
    if above:
        use = best.name if best.name in above else above[0]
        return Verdict(
            False,
            f"Not better: {_and(above)} {'score' if len(above) > 1 else 'scores'} at least as high as merged, the "
            f"knee of the front, on every suite ({documents}). Use {use}.",
            use,
            None,
            best.name,
        )
    ahead = beyond_inputs(merged.report, scores)
    p = min(1.0, looks * max(each.p for each in ahead))
    told = [
        f"above {each.name} on {each.suite} by {unit.gap(each.comparison.difference.estimate)} "
        f"(95% interval {unit.span(each.comparison.difference)})"
        for each in ahead
    ]
    kind = "Proved" if p < SIGNIFICANCE else "May be noise"
    corrected = f"one-sided {p_text(p)} corrected for suites{f' and {looks} looks' * (looks > 1)}"
    return Verdict(
        p < SIGNIFICANCE,
        f"{kind}: no input is as good on every suite as merged, the knee of the front, which scores {_and(told)}; "
        f"{corrected}, {documents}.",
        "merged",
        None,
        best.name,
    )


def _with_kept(found: Verdict, stands: Finals, best: Entry) -> Verdict:
    """The verdict with what the study's `keep` asks; nothing is proved that breaks it."""
    kept = stands.kept
    if not kept:
        return found
    told = [kept_text(each) for each in kept]
    if all(each.holds for each in kept):
        sure = all(each.is_sure for each in kept)
        lead = "What is to be kept is kept" if sure else "Kept by the estimate, not for sure"
        return replace(found, sentence=f"{found.sentence} {lead}: {'; '.join(told)}.", kept=kept)
    broken = [text for each, text in zip(kept, told, strict=True) if not each.holds]
    use = stands.best(best.name, "merged")
    sentence = f"Not kept: merged is at {'; '.join(broken)}. Use {use}."
    return replace(found, proved=False, sentence=sentence, recommended=use, kept=kept)


def kept_text(kept: Kept) -> str:
    """``shop -2.0 points over sums (95% interval -5.1 to 1.2; at least -15.0 asked)``."""
    unit = Unit([])
    unit.percent = kept.in_points
    return (
        f"{kept.suite} {unit.signed(kept.gain.estimate)} over {kept.over} (95% interval "
        f"{unit.span(kept.gain)}; at least {unit.signed(kept.least).removesuffix(' points')} asked)"
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


def _kind(result: PairedComparison, looks: int) -> str:
    return "Proved" if looks * result.p_better < SIGNIFICANCE else "May be noise"


def facts(result: PairedComparison, looks: int, scores: Scores) -> str:
    """p, corrected for the looks, and the number of documents."""
    better = result.difference.estimate > 0
    p = "one-sided " * better
    p += p_text(min(1.0, looks * (result.p_better if better else result.p_value)))
    p += f" corrected for {looks} looks" if looks > 1 else ""
    return f"{p}, {count_of(scores)}"


def _mean_sentence(
    result: PairedComparison, looks: int, best: Entry, unit: Unit, *, weighted: bool
) -> str:
    gain = result.difference.estimate
    words, span = facts(result, looks, best.report), unit.span(result.difference)
    mean = " in the weighted mean" * weighted
    if gain > 0:
        how = f"merged beats {best.name}, the best input, by {unit.gap(gain)}{mean}"
        return f"{_kind(result, looks)}: {how} (95% interval {span}, {words})."
    how = f"scores {unit.gap(-gain)} below" if gain < 0 else "scores the same as"
    interval = f"95% interval of the difference {span}, {words}"
    return (
        f"Not better: merged {how} {best.name}, the best input{mean} ({interval}). Use {best.name}."
    )


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def p_text(value: float) -> str:
    """A p-value as it is printed: ``p = 0.012``."""
    if value < 0.0001:
        return "p < 0.0001"
    return f"p = {value:.4f}" if value < 0.1 else f"p = {value:.2f}"


def count_of(scores: Scores) -> str:
    """``1000 report documents``."""
    suites = f" of {len(scores.parts)} suites" if len(scores.parts) > 1 else ""
    return f"{scores.count} {scores.split} document{'s' if scores.count != 1 else ''}{suites}"
