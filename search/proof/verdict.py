"""The verdict: whether a search found something better than its inputs, and how sure that is.

It goes by the goal that the study set (`gain`) and by what the study's `keep` allows. Every surface shows this one value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from exme.evaluators import Scores
from exme.search.statistics import Interval
from exme.search.trials import Unit, count_of, joined, p_text, share_text

from .audit import audit_of
from .finals import Finals, Kept, finals
from .gain import Gain, gain_over_inputs

if TYPE_CHECKING:
    from .outcome import Entry, Outcome

PROVED, NOT_PROVED, NO_GAIN = "proved", "not proved", "no gain"
BROKEN, NOT_YET = "broken constraint", "not yet"


@dataclass(frozen=True)
class Verdict:
    """Whether the search found something better than its inputs.

    Attributes:
        state: ``proved`` (the gain's interval lies above 0, and what is to be kept is kept), ``not proved`` (the
            best model by the goal, but that may be chance), ``no gain``, ``broken constraint`` or ``not yet``.
        sentence: the same in words, for people.
        recommended: name of the model to use, ``merged`` or an input; empty before the proof.
        gain: over every input, on the report documents; None before the proof and where the winner is an input.
        best_input: name of the input that the goal would take; empty before the proof.
        measure: what the gain is, in words.
        kept: what the study's `keep` names.
        caution: why the gain may be one of format; mostly empty.
    """

    state: str
    sentence: str
    recommended: str
    gain: Gain | None = None
    best_input: str = ""
    measure: str = ""
    kept: tuple[Kept, ...] = ()
    caution: str = ""

    @property
    def proved(self) -> bool:
        """Whether it is better than every input, with a chance of error that is bounded (`share_of_error`)."""
        return self.state == PROVED

    @property
    def is_final(self) -> bool:
        """Whether all that the study needs has been scored."""
        return self.state != NOT_YET


def verdict(outcome: Outcome) -> Verdict:
    """Compare the winner with every input, base included.

    Raises:
        ValueError: the entries were not scored on the same documents.
    """
    winner, merged = outcome.winner, outcome.merged
    if winner is None or winner.candidate is None:
        failed = sum(trial.state == "failed" for trial in outcome.trials)
        return Verdict(NOT_YET, f"Nothing found yet: no trial is complete ({failed} failed).", "")
    if not outcome.inputs:
        return _lacking("nothing has been scored on the report documents.")
    known = {entry.name for entry in outcome.inputs}
    missing = [name for name in outcome.input_names if name not in known]
    if missing:  # the proof was interrupted: a missing input may be the best one
        return _lacking(f"{joined(missing)} not yet scored on the report documents.")
    stands = finals(outcome)
    name = stands.best(*(entry.name for entry in outcome.inputs))
    best = next(entry for entry in outcome.inputs if entry.name == name)
    if any(entry.candidate.digest == winner.candidate.digest for entry in outcome.inputs):
        unit = Unit([best.report])
        score = unit.score(best.report.mean)
        return Verdict(
            NO_GAIN,
            f"No gain: no merge scored {unit.better} than every input on the search documents. "
            f"Use {best.name} ({score} on {count_of(best.report)}).",
            best.name,
            best_input=best.name,
        )
    if merged is None:
        return _lacking("merged not yet scored on the report documents.", best.name)
    inputs = [(entry.name, entry.report) for entry in outcome.inputs]
    level = outcome.level
    gain = gain_over_inputs(merged.report, inputs, stands.aim, level)
    found = _judged(gain, stands, merged, best, outcome)
    if gain.estimate > 0:
        found = replace(found, caution=audit_of(merged, best).caution(best.name))
    return _with_kept(found, stands, best)


def _lacking(what: str, best: str = "") -> Verdict:
    return Verdict(NOT_YET, f"Not proved yet: {what}", best, best_input=best)


def _judged(gain: Gain, stands: Finals, merged: Entry, best: Entry, outcome: Outcome) -> Verdict:
    """The verdict before what is to be kept is looked at."""
    unit = Unit([merged.report, *(entry.report for entry in outcome.inputs)])
    words = f"({facts_text(gain, unit, merged.report, max(1, outcome.use))})"
    where, kind = _measure(gain, stands), stands.aim.kind
    # (below an input merged may still be what the goal would take: of those that keep what is to be kept, say)
    recommended = "merged" if gain.estimate > 0 else stands.best(best.name, "merged")
    if kind == "pareto":
        told, recommended = _of_front(gain, merged, best, recommended, outcome.inputs, unit, words)
    elif kind == "mean":
        told = _of_mean(gain, stands, recommended, unit, words)
    else:
        told = _of_lowest(gain, stands, best, recommended, unit, f"{where} {words}")
    state = PROVED if gain.proved else NOT_PROVED if recommended == "merged" else NO_GAIN
    sentence = f"{state.capitalize()}: {told}{_advice(state, recommended, gain)}"
    return Verdict(state, sentence, recommended, gain, best.name, where)


def _advice(state: str, recommended: str, gain: Gain) -> str:
    if state == PROVED:
        return ""
    if state == NO_GAIN or gain.estimate <= 0:
        return f" Use {recommended}."
    if gain.difference.approximate:
        return " Scores without bounds allow no proof, for one rare loss may undo every gain."
    return " That may be chance."


def _of_mean(gain: Gain, stands: Finals, recommended: str, unit: Unit, words: str) -> str:
    over = gain.over[0]
    if gain.estimate <= 0 and recommended == "merged":
        beside = unit.beside(gain.estimate, over)
        return f"merged scores {beside} {words}, which breaks what is to be kept."
    weighted = ", in the weighted mean" * (len(set(stands.aim.weights)) > 1)
    return f"merged scores {unit.beside(gain.estimate, over)}, the best input{weighted} {words}."


def _of_lowest(
    gain: Gain, stands: Finals, best: Entry, recommended: str, unit: Unit, words: str
) -> str:
    """Of goals ``worst`` and ``cvar``."""
    how = "gains" if gain.estimate > 0 else "loses" if gain.estimate < 0 else "gains nothing"
    amount = f" {unit.gap(abs(gain.estimate))}" if gain.estimate else ""
    told = f"merged {how}{amount} {words}."
    if gain.estimate <= 0 and recommended == "merged":
        next_one = unit.gap(-stands.values[best.name])
        told += f" By this goal every input loses more ({best.name}, the next, {next_one})."
    return told


def _measure(gain: Gain, stands: Finals) -> str:
    """What the gain is, in words."""
    kind, suites = stands.aim.kind, gain.suites
    if kind == "pareto":
        return f"on {suites[0]} over {gain.over[0]}, the input that it is least ahead of"
    if kind == "mean":
        weighted = "in the weighted mean " * (len(set(stands.aim.weights)) > 1)
        return f"{weighted}over {gain.over[0]}, the best input"
    if len(suites) == 1:
        return f"on its worst suite, {suites[0]}, over {gain.over[0]}, the best input there"
    return f"in the mean over its {len(suites)} worst suites, {joined(suites)}, over the best input on each"


def _of_front(
    gain: Gain,
    merged: Entry,
    best: Entry,
    recommended: str,
    inputs: Sequence[Entry],
    unit: Unit,
    words: str,
) -> tuple[str, str]:
    """What is told, and the model to use."""
    if gain.estimate > 0:
        return (
            f"no input scores as {unit.good} on every suite as merged, the knee of the front, which is least ahead of "
            f"{gain.over[0]}: on {gain.suites[0]}, by {unit.gap(gain.estimate)} {words}."
        ), "merged"
    above = [e.name for e, ahead in zip(inputs, gain.by_input, strict=True) if ahead.estimate <= 0]
    verb = "score" if len(above) > 1 else "scores"
    told = (
        f"{joined(above)} {verb} at least as {unit.good} as merged, the knee of the front, on every suite that counts "
        f"({count_of(merged.report)})."
    )
    return told, best.name if best.name in above else above[0]


def facts_text(gain: Gain, unit: Unit, scores: Scores, use: int) -> str:
    """Interval, p-value, documents, and which use of them it is.

    Args:
        gain: of one model over others.
        unit: in which it is shown.
        scores: of the model.
        use: see `number_of`.
    """
    documents = count_of(scores)
    if gain.approximate is not None:
        span = unit.span(Interval(gain.estimate, *gain.approximate))
        return f"approximate {share_text(gain.level)} interval {span}, {documents}"
    told = f"{share_text(gain.level)} interval of the gain {span_of(gain, unit)}"
    if gain.estimate > 0:
        told += f", one-sided {p_text(gain.p)}"
    if use > 1:
        return f"{told}, tested at {gain.level:.2g} in use {use} of these {documents}"
    return f"{told}, {documents}"


def span_of(gain: Gain, unit: Unit) -> str:
    """The ends of a gain's interval: ``4.1 to 10.3``."""
    return unit.span(Interval(gain.estimate, gain.low, gain.high))


def _with_kept(found: Verdict, stands: Finals, best: Entry) -> Verdict:
    """The verdict with what the study's `keep` asks; nothing is proved that breaks it."""
    kept = stands.kept
    if not kept:
        return found
    broken = [kept_text(each) for each in kept if not each.holds]
    if not broken and found.recommended != "merged":
        return replace(found, kept=kept)
    if not broken:
        sure = all(each.is_sure for each in kept)
        lead = "What is to be kept is kept" if sure else "Kept by the estimate, not for sure"
        told = "; ".join(kept_text(each) for each in kept)
        return replace(found, sentence=f"{found.sentence} {lead}: {told}.", kept=kept)
    use = stands.best(best.name, "merged")
    told = f"Broken constraint: merged scores {'; '.join(broken)}."
    if use == "merged":
        told += " Every input breaks what is to be kept by more."
    return replace(
        found,
        state=BROKEN,
        sentence=f"{told} Use {use}.",
        recommended=use,
        kept=kept,
        caution="",
    )


def kept_text(kept: Kept) -> str:
    """``2.0 points below sums on shop (95% interval of the gain -5.1 to 1.2; may lose at most 15.0 points)``."""
    unit = Unit(percent=kept.in_points, scale=kept.scale)
    asked = (
        f"must gain at least {unit.gap(kept.least)}"
        if kept.least > 0
        else f"may lose at most {unit.gap(-kept.least)}"
    )
    kind = f"{'approximate ' * kept.approximate}{share_text(kept.level)} interval of the gain"
    return (
        f"{unit.beside(kept.gain.estimate, kept.over)} on {kept.suite} ({kind} "
        f"{unit.span(kept.gain)}; {asked})"
    )
