"""What a person sees while a search runs: one plain line per trial; on a terminal, see `live`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from .candidate import Candidate
from .estimate import duration
from .methods import PLAIN
from .objective import gains
from .outcome import TrialRecord
from .plan import best_known, best_trial, has_ended
from .space import read
from .statistics import is_binary, mean_interval
from .strata import Estimate
from .verdict import Verdict
from .view import View


class Screen:
    """Writes a search's lines.

    Args:
        console: where to; the default finds out whether it is a terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)

    def say(self, line: str, style: str = "") -> None:
        """One line."""
        self.console.print(Text(line, style=style))

    def begin(self, look: Callable[[], View]) -> None:
        """A search begins, or goes on.

        Args:
            look: reads the storage; may be called from another thread until `close`.
        """

    def note(self, text: str) -> None:
        """What goes on now, for those who show it."""

    def verdict(self, found: Verdict, report: Path) -> None:
        """The search's result."""
        self.close()
        self.say(found.sentence, "bold")
        if found.caution:
            self.say(found.caution, "yellow")
        self.say(f"Report: {report}")

    def close(self) -> None:
        """Nothing more is to be shown of a search that was begun; more lines may come."""

    def trial(
        self,
        trial: TrialRecord,
        trials: Sequence[TrialRecord],
        left: str,
        best_input: Mapping[str, float] | None = None,
    ) -> None:
        """The line of a trial that has just ended.

        Args:
            trial: that trial.
            trials: all trials, itself among them.
            left: what is left of the budget, as people read it.
            best_input: see `objective.reference`; gains over it are shown for several suites.
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
        tail = f"{shift_text(trial)}  {trial.seconds:.1f} s{best_text(trials, trial)}"
        if trial.scores is None:
            self.say(f"{head}{estimate_text(trial)}{tail}  {left}")
            return
        line = f"{head}{interval_text(trial)}{gains_text(trial, best_input or {})}{tail}  {left}"
        self.say(line, "bold green" if is_best else "")


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
    return f"{parts} ({read(coefficients)})"


def score_text(value: float, trial: TrialRecord) -> str:
    """A score in the unit people read: percent for accuracies."""
    return f"{value:.1%}" if is_share(trial) else f"{value:.4f}"


def is_share(trial: TrialRecord) -> bool:
    """Whether a trial's documents are solved or not."""
    if trial.scores is not None:
        return is_binary(trial.scores.values)
    values = [] if trial.course is None else trial.course.partial.values.tolist()
    return is_binary([v for v in values if not math.isnan(v)])


def interval_text(trial: TrialRecord) -> str:
    """A trial's score with its 95% interval and the number of documents."""
    assert trial.scores is not None
    interval = mean_interval(trial.scores)
    low, high = score_text(interval.low, trial), score_text(interval.high, trial)
    score = score_text(interval.estimate, trial)
    more = trial.documents if 0 < trial.documents < trial.scores.count else 0
    again = f", {more} of them now" if more else ""
    return f"{score} [{low}, {high}]  {trial.scores.count} documents{again}"


def estimate_text(trial: TrialRecord) -> str:
    """What is known of a trial that was scored in part, and why no more is."""
    assert trial.course is not None
    found = trial.course.estimate
    # (over several suites it may be one of gains, which can be below 0)
    one = is_share(trial) and len(trial.course.partial.parts) == 1
    low, high = (score_text(bound, trial) for bound in ends(found, one))
    again = "" if trial.continues is None else f", {trial.documents} of them now"
    text = f"about {score_text(found.mean, trial)} [{low}, {high}]  "
    if trial.course.lost_to is not None:
        return (
            text + f"stopped after {found.count} documents{again}: behind #{trial.course.lost_to}"
        )
    return text + f"{found.count} documents{again}"


def ends(found: Estimate, share: bool) -> tuple[float, float]:
    """95% interval of an estimate."""
    low, high = found.mean - 1.96 * found.standard_error, found.mean + 1.96 * found.standard_error
    return (max(0.0, low), min(1.0, high)) if share else (low, high)


def shift_text(trial: TrialRecord) -> str:
    """A trial's shift from a parent, where the study asks for it: ``  shift 0.42 from sums``."""
    if trial.shift is None:
        return ""
    return f"  shift {trial.shift:.2f} from {trial.parent}{' (beyond the bound)' * trial.barred}"


def best_text(trials: Sequence[TrialRecord], trial: TrialRecord) -> str:
    """The best so far: ``  best 62.5% (#12)``; ``about`` while it is an estimate."""
    best = best_known(trials)
    if best is None:
        return ""
    if best.scores is not None:
        return f"  best {score_text(best.scores.mean, trial)} (#{best.number})"
    assert best.estimate is not None
    return f"  best about {score_text(best.estimate.mean, trial)} (#{best.number})"


def gains_text(trial: TrialRecord, best_input: Mapping[str, float]) -> str:
    """Gains over the best input: ``  gain +2.1 (gsm8k +3.9, mmlu +0.3)``; several suites only."""
    assert trial.scores is not None
    found = gains(trial.scores, best_input)
    if len(found) < 2:
        return ""
    scale, form = (100, "+.1f") if is_binary(trial.scores.values) else (1, "+.4f")
    each = ", ".join(f"{suite} {scale * gain:{form}}" for suite, gain in found.items())
    return f"  gain {scale * sum(found.values()) / len(found):{form}} ({each})"


def outlook_text(gain: float, *, share: bool, least: float | None = None) -> str:
    """What another hour is expected to bring: ``another hour: at most +0.4 points (ends below 0.5)``.

    Args:
        gain: in the metric's unit.
        share: the metric is read in percent.
        least: the budget's `gain_per_hour`.
    """
    told = (
        f"another hour: at most +{100 * gain:.1f} points"
        if share
        else f"another hour: at most +{gain:.2g}"
    )
    return told if least is None else f"{told} (ends below {least:g})"


def time_left(
    trials: Sequence[TrialRecord],
    remaining: int | None,
    minutes: float | None,
    documents: int | None = None,
) -> str:
    """What is left of the search, from the last few trials' times.

    Args:
        trials: all trials.
        remaining: trials left; `minutes` and `documents` likewise; None where there is no such budget.
        minutes: of search.
        documents: search documents.
    """
    recent = [t for t in trials if has_ended(t) and t.documents and t.duplicate_of is None][-5:]
    if not recent or (remaining is None and minutes is None and documents is None):
        return ""
    spent = sum(t.seconds for t in recent)
    seconds = float("inf")
    if remaining is not None:
        seconds = remaining * spent / len(recent)
    if documents is not None:
        seconds = min(seconds, documents * spent / sum(t.documents for t in recent))
    if minutes is not None:
        seconds = min(seconds, minutes * 60)
    parts = [f"{remaining} trials"] if remaining is not None else []
    parts += [f"{documents:,} documents"] if documents is not None else []
    return f"left {', '.join([*parts, duration(max(0.0, seconds))])}"
