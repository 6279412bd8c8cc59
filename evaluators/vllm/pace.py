"""How far drafts pay, from the time that decoding steps take.

A step over n tokens takes about a + b n seconds. A drafted token costs b and saves its share of a step if it is
right, so it pays where its chance is above b times the tokens gained per second. What drafts bring in all is
measured against the steps that would have been without them, the time to propose included; where that is less than
nothing, there are none for a while.
"""

from __future__ import annotations

# Steps without drafts to begin with, from which the time of a step is known.
CALIBRATION = 6
# Steps after which drafts are judged, and steps without them when they did not pay; doubled each time.
WINDOW = 16
REST = 32
MOST_REST = 1024
_MEMORY = 0.98  # weight of a step when the next has come
_PRIOR = 1 / 48  # b / a, before steps of different lengths have been seen
_LEAST, _MOST = 0.02, 0.95


class Pace:
    """Decides when and how far to draft."""

    def __init__(self) -> None:
        self._weight = self._n = self._t = self._nn = self._nt = 0.0
        self._calm = CALIBRATION  # steps left without drafts
        self._rest = REST
        self._steps = 0
        self._spent = self._saved = 0.0
        self._rate = 0.0  # tokens gained per second

    @property
    def drafts(self) -> bool:
        """Whether the next step is to be drafted for."""
        return self._calm <= 0

    @property
    def worth(self) -> float:
        """Least chance to be right at which drafting a token pays."""
        _, slope = self._line()
        return min(_MOST, max(_LEAST, slope * self._rate))

    def step(self, tokens: int, rows: int, gained: int, seconds: float, proposing: float) -> None:
        """A step is over.

        Args:
            tokens: that it computed, drafts included.
            rows: answers that it went on with.
            gained: tokens that these grew by.
            seconds: that it took without proposing.
            proposing: seconds that its drafts took.
        """
        for name, value in (
            *(("_weight", 1.0), ("_n", tokens), ("_t", seconds)),
            *(("_nn", tokens * tokens), ("_nt", tokens * seconds)),
        ):
            setattr(self, name, getattr(self, name) * _MEMORY + value)
        rate = gained / (seconds + proposing)
        self._rate = rate if not self._rate else 0.9 * self._rate + 0.1 * rate
        if self._calm > 0:
            self._calm -= 1
            return
        start, slope = self._line()
        self._spent += seconds + proposing
        self._saved += (start + slope * rows) * gained / rows
        self._steps += 1
        if self._steps >= WINDOW:
            self._judge()

    def _judge(self) -> None:
        if self._saved < self._spent:
            self._calm, self._rest = self._rest, min(2 * self._rest, MOST_REST)
        else:
            self._rest = REST
        self._steps, self._spent, self._saved = 0, 0.0, 0.0

    def _line(self) -> tuple[float, float]:
        """Seconds of a step, and of each of its tokens."""
        if not self._weight:
            return 1.0, _PRIOR
        n, t = self._n / self._weight, self._t / self._weight
        spread = self._nn / self._weight - n * n
        slope = (self._nt / self._weight - n * t) / spread if spread > 0.05 * n * n else -1.0
        if not 0 < slope < t / n:
            slope = t / (n + 1 / _PRIOR)
        return t - slope * n, slope
