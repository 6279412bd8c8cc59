"""Gradient warm start: the coefficients at which reference answers are likeliest.

    base + sum_i c[i, g(t)] (theta_i[t] - base[t]),   c minimises the mean of -log p(answer | prompt) / bytes

The machinery is AdaMerging's with another loss: that of `measure: target_nll`, on a few search documents.
It starts at the checkpoints' mean, and stays within the study's bounds of coefficients.

Source: none; see `adamerging` for what it is derived from.
"""

from __future__ import annotations

from .adamerging import as_found
from .bench import Bench
from .coefficients import learn
from .direction import Found, Write
from .losses import answer_nll


class WarmStart:
    """See the module.

    Attributes:
        steps: of Adam; `rate` its rate.
    """

    steps = 20
    rate = 0.05

    def check(self, bench: Bench) -> None:
        """See `Direction.check`."""

    def compute(self, bench: Bench, write: Write) -> Found:
        """See `Direction.compute`."""
        learnt = learn(
            bench,
            answer_nll,
            start=1 / len(bench.names),
            bounds=bench.bounds,
            steps=self.steps,
            rate=self.rate,
            groups=bench.groups,
        )
        return as_found(learnt, {"steps": self.steps, "rate": self.rate})
