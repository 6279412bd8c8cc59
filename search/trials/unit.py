"""How scores, gains, intervals, p-values and times are written for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from exme.evaluators import HIGHER, Scale, Scores
from exme.search.statistics import Interval, is_binary

# Sums of shares are this far off at most: a difference that is smaller is none.
_ROUNDING = 1e-9


class Unit:
    """How scores are shown: as the metric's own values; accuracies in percent, gains in points.

    A gain is positive where it is one, whichever way the metric is better.

    Args:
        scores: percent is used when all of these are 0 or 1.
        percent: whether, where that is known already.
        scale: of the metric; that of `scores` by default.
    """

    def __init__(
        self, scores: Iterable[Scores] = (), *, percent: bool = True, scale: Scale | None = None
    ) -> None:
        known = list(scores)
        self.percent = percent and all(is_binary(s.values) for s in known)
        scales = {s.scale for s in known}
        self.scale = scale or (scales.pop() if len(scales) == 1 else HIGHER)

    def shown(self, interval: Interval) -> Interval:
        """A score's interval as that of the metric's values."""
        turn = self.scale.turn
        ends = (turn(interval.low), turn(interval.high))
        return Interval(turn(interval.estimate), min(ends), max(ends))

    @property
    def better(self) -> str:
        """What a better score is: ``higher``, or ``lower``."""
        return "lower" if self.scale.is_turned else "higher"

    @property
    def good(self) -> str:
        """The same without comparing: ``high``, or ``low``."""
        return self.better.removesuffix("er")

    def _number(self, value: float) -> str:
        if math.isinf(value):
            return "unbounded"
        return _unsigned(f"{100 * value:.1f}") if self.percent else f"{value or 0.0:.4g}"

    def _end(self, value: float) -> str:
        """A difference, or the end of an interval; with more digits where it would be written as 0 and is not."""
        scaled, digits = 100 * value, 1
        if not self.percent or math.isinf(value):
            return self._number(value)
        while abs(value) > _ROUNDING and not round(scaled, digits):
            digits += 1
        return _unsigned(f"{scaled:.{digits}f}")

    def score(self, value: float) -> str:
        """A score: ``48.4%``."""
        return self._number(self.scale.turn(value)) + ("%" if self.percent else "")

    def tick(self, value: float) -> str:
        """A score on an axis: ``40%``."""
        value = self.scale.turn(value)
        return f"{100 * value:.4g}%" if self.percent else f"{value:.4g}"

    def gap(self, value: float) -> str:
        """A difference of scores: ``7.2 points``."""
        return self._end(value) + (" points" if self.percent else "")

    def signed(self, value: float) -> str:
        """A difference with its sign: ``+7.2 points``."""
        return ("+" if value > 0 else "") + self.gap(value)

    def change(self, value: float) -> str:
        """A difference with its sign where its unit is known: ``+7.2``."""
        return ("+" if value > 0 else "") + self._number(value)

    def beside(self, value: float, other: str) -> str:
        """A difference from another in words: ``2.0 points below sums``, ``the same as sums``."""
        if not value:
            return f"the same as {other}"
        up, down = ("better than", "worse than") if self.scale.is_turned else ("above", "below")
        return f"{self.gap(abs(value))} {up if value > 0 else down} {other}"

    def span(self, interval: Interval) -> str:
        """The ends of a difference's interval: ``4.1 to 10.3``."""
        return f"{self._end(interval.low)} to {self._end(interval.high)}"

    def full(self, interval: Interval, *, sign: bool = False) -> str:
        """Estimate and interval: ``48.4% (42.4 to 54.5)``."""
        if not sign:
            return f"{self.score(interval.estimate)} ({self.span(self.shown(interval))})"
        plus = "+" if interval.estimate > 0 else ""
        return f"{plus}{self._end(interval.estimate)} ({self.span(interval)})"

    def ends(self, interval: Interval, *, sign: bool = False) -> str:
        """The ends of an interval on a terminal: ``[55.0%, 67.1%]``; of a difference, ``[+4.1, +10.3]``."""
        if sign:
            return f"[{self.change(interval.low)}, {self.change(interval.high)}]"
        low, high = sorted((interval.low, interval.high), key=self.scale.turn)
        return f"[{self.score(low)}, {self.score(high)}]"

    def line(self, interval: Interval, *, sign: bool = False) -> str:
        """Estimate and interval on a terminal: ``61.2% [55.0%, 67.1%]``, ``+7.2 points [+4.1, +10.3]``."""
        estimate = self.signed(interval.estimate) if sign else self.score(interval.estimate)
        return f"{estimate} {self.ends(interval, sign=sign)}"


def duration(seconds: float) -> str:
    """Seconds as people write them: ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    total = round(seconds)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _unsigned(text: str) -> str:
    """Without the sign of a zero."""
    return text.removeprefix("-") if not float(text) else text


def joined(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def p_text(value: float) -> str:
    """A p-value as it is printed: ``p = 0.012``."""
    if value < 0.0001:
        return "p < 0.0001"
    return f"p = {value:.4f}" if value < 0.1 else f"p = {value:.2f}"


def share_text(level: float) -> str:
    """The share that a two-sided interval covers whose ends are each at a level: ``95%``, ``98.3%``."""
    share, digits = 100 * (1 - 2 * level), 1
    while round(share, digits) >= 100 and digits < 9:
        digits += 1
    return f"{share:.{digits}f}".rstrip("0").rstrip(".") + "%"


def count_of(scores: Scores) -> str:
    """``1000 report documents``."""
    suites = f" of {len(scores.parts)} suites" if len(scores.parts) > 1 else ""
    return f"{scores.count} {scores.split} document{'s' if scores.count != 1 else ''}{suites}"
