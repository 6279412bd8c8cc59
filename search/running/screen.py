"""What a person sees while a search runs: one plain line per trial; on a terminal, see `live`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from exme.search.merging import Candidate
from exme.search.merging.methods import PLAIN
from exme.search.proof import Verdict
from exme.search.study import read
from exme.search.trials import (
    Standing,
    TrialRecord,
    best_inputs,
    best_known,
    best_trial,
    counted,
    has_ended,
    inputs_of,
    latest,
    spent,
    standing_by_trial,
    standings,
)

from .ticker import Ticker
from .view import View


class Screen:
    """Writes a search's lines.

    Args:
        console: where to; the default finds out whether it is a terminal.
        ticker: says what goes on while nothing else is said; None says nothing.
    """

    def __init__(self, console: Console | None = None, ticker: Ticker | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.ticker = ticker

    def say(self, line: str, style: str = "") -> None:
        """One line."""
        if self.ticker is not None:
            self.ticker.silence()
        self.console.print(Text(line, style=style))

    def begin(self, read: Callable[[], View]) -> None:
        """A search begins, or goes on.

        Args:
            read: reads the storage; may be called from another thread until `close`.
        """
        self.note("Scoring the next candidate")

    def note(self, text: str) -> None:
        """What goes on now, to be seen while nothing else is said."""
        if self.ticker is not None:
            self.ticker.on(text)

    def verdict(self, found: Verdict, report: Path, following: Sequence[str] = ()) -> None:
        """The search's result, where it is told, and what may be done next."""
        self.close()
        self.say(found.sentence, "bold")
        if found.caution:
            self.say(found.caution, "yellow")
        self.say(f"Report: {report}")
        for line in following:
            self.say(line)

    def close(self) -> None:
        """Nothing more is to be shown of a search that was begun; more lines may come."""

    def trial(
        self,
        trial: TrialRecord,
        trials: Sequence[TrialRecord],
        left: str,
        inputs: Collection[str] = (),
    ) -> None:
        """The line of a trial that has just ended.

        Args:
            trial: that trial.
            trials: all trials, itself among them.
            left: what is left of the budget, as people read it.
            inputs: origins of the trials that are inputs, e.g. ``sums alone``; gains over the best of them are
                shown for several suites.
        """
        best = best_trial(trials)
        is_best = best is not None and best.number == trial.number and len(trials) > 1
        head = f"#{trial.number:<3} {trial.origin:<19} "
        if trial.candidate is not None:
            head += f"{candidate_text(trial.candidate)}  "
        if not has_ended(trial) or trial.state == "failed":
            self.say(f"{head}failed: {trial.message}", "red")
            return
        if trial.duplicate_of is not None:
            self.say(f"{head}the same candidate as #{trial.duplicate_of}", "dim")
            return
        found = standings(latest(trials))
        standing = standing_by_trial(found, [trial])[trial.number]
        gain = gains_text(standing, best_inputs(inputs_of(found, trials, inputs)))
        tail = f"{shift_text(trial)}  {trial.seconds:.1f} s{best_text(trials, found)}  {left}"
        self.say(
            f"{head}{result_text(trial, standing)}{gain}{tail}", "bold green" if is_best else ""
        )


def candidate_text(candidate: Candidate) -> str:
    """A candidate's coefficients, and the method and its parameters where they are more than a sum."""
    text = coefficients_text(candidate.coefficients)
    if candidate.grouped:
        text += f" (means of {len(candidate.grouped)} groups)"
    if candidate.method not in PLAIN:
        own = "".join(f" {name} {value:g}" for name, value in candidate.parameters.items())
        text += f" {candidate.method}{own}"
    return text


def coefficients_text(coefficients: Mapping[str, float]) -> str:
    """Coefficients and their reading: ``sums 0.72 products 0.61 (alpha +0.33, beta 0.54 0.46)``."""
    parts = " ".join(f"{name} {value:.2f}" for name, value in coefficients.items())
    reading = str(read(coefficients))
    return f"{parts} ({reading})" if reading else parts


def result_text(trial: TrialRecord, standing: Standing) -> str:
    """Its candidate's score, on how many documents it was scored by then, and why on no more."""
    count = trial.scores.count if trial.scores is not None else 0
    if trial.race_log is not None and trial.scores is None:
        count = trial.race_log.estimate.count
    again = f", {trial.documents} of them now" if 0 < trial.documents < count else ""
    text = f"{count:,} documents{again}"
    if trial.race_log is not None and trial.race_log.lost_to is not None:
        text = f"rejected after {text}: behind #{trial.race_log.lost_to}"
    return f"{standing.unit.line(standing.interval)}  {text}"


def shift_text(trial: TrialRecord) -> str:
    """A trial's shift from a parent, where the study asks for it: ``  shift 0.42 from sums``."""
    if trial.shift is None:
        return ""
    return f"  shift {trial.shift:.2f} from {trial.parent}{' (beyond the bound)' * trial.barred}"


def best_text(trials: Sequence[TrialRecord], found: Sequence[Standing]) -> str:
    """The best so far, by what is known now: ``  best 62.5% (#12)``."""
    best = best_known(trials)
    standing = None if best is None else standing_by_trial(found, [best]).get(best.number)
    if best is None or standing is None:
        return ""
    return f"  best {standing.unit.score(standing.mean)} (#{best.number})"


def named_text(view: View) -> str:
    """The model that the search names, and how sure that is; empty where it does not go by beliefs, or knows no input yet."""
    best, other, gain = view.best, view.best_input, view.gain
    if best is None or other is None or best.trial.belief is None or best.trial.candidate is None:
        return ""
    if gain is None:
        return f"Named: {view.name_of(best)}, an input; no merge is believed to score higher."
    unit = best.unit
    change = f"{unit.signed(gain.estimate)} [{unit.change(gain.low)}, {unit.change(gain.high)}]"
    return (
        f"Named: {view.name_of(best)}, {candidate_text(best.trial.candidate)}: {unit.line(best.interval)} on documents "
        f"like these, {change} over {view.name_of(other)}, the best input by the search documents."
    )


def so_far(trials: Sequence[TrialRecord]) -> str:
    """What stands when a search is stopped: ``So far: 32 candidates in 49 trials, 2,304 documents  best 60.1% (#31)``."""
    if not spent(trials)[0]:
        return "So far: no candidate was scored."
    documents = spent(trials)[1]
    return f"So far: {counted(trials)}, {documents:,} documents{best_text(trials, standings(latest(trials)))}"


def gains_text(standing: Standing, best_input: Mapping[str, float]) -> str:
    """Gains over the best input of each suite: ``  over the best input there: gsm8k +3.9, mmlu +0.3``; several suites only."""
    found = {
        suite: score.estimate - best_input[suite]
        for suite, score in standing.scores.items()
        if suite in best_input
    }
    if len(found) < 2 or not standing.is_complete:
        return ""
    unit = standing.unit
    each = ", ".join(f"{suite} {unit.change(gain)}" for suite, gain in found.items())
    return f"  over the best input there: {each}"
