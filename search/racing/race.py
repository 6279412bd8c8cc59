"""A race against the incumbent: losers are rejected by a test that may be looked at any time.

**Hypothesis.** Of a candidate x and an incumbent y on the study's N search documents, d_i = x_i - y_i
and H0: mean(d) >= 0, the candidate is at least as good. Stopping a candidate for which H0 holds is an
error; its chance is at most the study's `error_rate`, however often the test is repeated. Nothing is assumed
of the outcomes: the N documents are fixed and only the order in which they are drawn is random.

**Bet.** Documents are drawn without replacement, the t-th being i with probability
pi_t(i) = a_i / A_t, A_t the sum of a over the documents left (`strata`). With S_t the sum of the first
t differences,

    Z_t = d_{I_t} / (N pi_t(I_t))        E[Z_t | past] = mean(d) - S_{t-1} / N

so that under H0 the expectation is at least eta_t = -S_{t-1} / N. A gambler who doubts H0 stakes
lambda_t >= 0 on Z_t falling below it:

    K_t = K_{t-1} (1 + lambda_t (eta_t - Z_t)),        K_0 = 1

No d_i exceeds u_i = (highest value of the metric) - y_i, which is known, as the incumbent was scored
on all documents: Z_t <= b_t = (A_t / N) max over the documents left of u_i / a_i. With
lambda_t <= 1 / (b_t - eta_t) the wealth K never falls below 0.

**Proof.** lambda_t, eta_t and b_t depend on the past only, so under H0 K is a nonnegative
supermartingale; by Ville's inequality P(sup_t K_t >= 1 / error_rate) <= error_rate. The mean of several
such gamblers' wealths is one too: ours stake fixed shares of the highest stake allowed, so that one
of them is near the best whatever the gap. Where even the best outcome of the documents left could not make
mean(d) >= 0, H0 is false for certain and K infinite.

**Objectives over suites.** Every objective of ours is the lowest of some weighted means of gains (`objective`):
of one, for the mean; of those over the suites that may be the worst ones, for CVaR. At the incumbent it
equals one of them, so a candidate that is as good as the incumbent is as good in that one. d_i is
then w_i (x_i - y_i), w_i the document's weight in it, and less the margin by which the candidate's own
penalty exceeds the incumbent's.

The candidate must not depend on the order: see `strata`.

Sources: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting",
doi:10.1093/jrsssb/qkad009 (sec. 5, without replacement); Shekhar, Xu, Lipton, Liang and Ramdas 2023,
"Risk-limiting financial audits via weighted sampling without replacement", arXiv:2305.06884 (sec. 2,
the weighted form); Ville 1939.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .strata import Floats, Order

# Shares of the highest stake allowed that the gamblers play; their mean wealth is what counts. Found
# on the bench's tuning landscapes.
STAKES = np.array([0.1, 0.2, 0.35, 0.5, 0.7, 0.9])

DEFAULT_ERROR_RATE = 0.05


@dataclass(frozen=True)
class Leg:
    """Part of a race: from a number of documents on, against one incumbent.

    Attributes:
        start: documents that had been seen when this incumbent came.
        incumbent: its values by document, shape (n,).
        weights: w of each document, shape (n,), mean 1; None where all weigh the same.
        margin: by how much the candidate must be better to be as good.
    """

    start: int
    incumbent: Floats
    weights: Floats | None = None
    margin: float = 0.0


@dataclass(frozen=True)
class Race:
    """A candidate's race against incumbents that were scored on all documents.

    When a better incumbent comes, the race goes on against it and the wealth is kept: whoever is as good as
    the new one is as good as those before, so the bets made until then were fair under its H0 too.

    Attributes:
        order: the order in which the candidate's documents are drawn.
        legs: incumbents as they came, at least one; nothing is bet before the first.
        highest: highest value that the metric can take; infinite where it has none, and then nobody
            is ever rejected.
        error_rate: bound on the chance of ever stopping a candidate that is as good.
    """

    order: Order
    legs: Sequence[Leg]
    highest: float = 1.0
    error_rate: float = DEFAULT_ERROR_RATE

    def __post_init__(self) -> None:
        if not 0 < self.error_rate < 1:
            raise ValueError(f"error rate {self.error_rate}: expected between 0 and 1")
        starts = [leg.start for leg in self.legs]
        if not starts or starts != sorted(starts):
            raise ValueError(f"legs start at {starts}: expected at least one, in order")
        for leg in self.legs:
            if len(leg.incumbent) != len(self.order.documents):
                raise ValueError(
                    f"{len(leg.incumbent)} values of the incumbent, "
                    f"{len(self.order.documents)} documents"
                )
            if leg.incumbent.max() > self.highest:
                raise ValueError(f"an incumbent has values above the highest, {self.highest}")

    def wealth(self, seen: Floats) -> Floats:
        """The gamblers' mean wealth after each document; infinite once H0 is impossible.

        Args:
            seen: the candidate's values of the first documents in order, shape (m,).
        Returns:
            Shape (m,), not below 0.
        """
        m = len(seen)
        logs = np.zeros((len(STAKES), m))
        lost = np.zeros(m, dtype=bool)
        ends = [*(leg.start for leg in self.legs[1:]), m]
        for leg, end in zip(self.legs, ends, strict=True):
            part = slice(min(leg.start, m), min(end, m))
            growth, beaten = self._leg(seen, leg)
            logs[:, part] = growth[:, part]
            lost[part] = beaten[part]
        with np.errstate(over="ignore"):
            wealth: Floats = np.exp(logs.cumsum(axis=1)).mean(axis=0)
        return np.where(np.logical_or.accumulate(lost), math.inf, wealth)

    def _leg(self, seen: Floats, leg: Leg) -> tuple[Floats, NDArray[np.bool_]]:
        """Growth of each gambler's log-wealth against one incumbent, and where H0 is impossible."""
        m, n = len(seen), len(self.order.documents)
        weights = np.ones(n) if leg.weights is None else leg.weights[self.order.documents]
        baseline = leg.incumbent[self.order.documents]
        differences = weights[:m] * (seen - baseline[:m]) - leg.margin
        # (no 0 * inf: where a metric is unbounded, a document without weight is not)
        room = np.where(weights > 0, weights * (self.highest - baseline), 0.0) - leg.margin
        left, appeal = self.order.left, self.order.appeal
        before = np.concatenate([[0.0], differences.cumsum()])
        eta = -before[:m] / n
        z = differences * left[:m] / (n * appeal[:m])
        most_each = np.maximum(room, 0) / appeal
        bound = (left * np.maximum.accumulate(most_each[::-1])[::-1] / n)[:m]
        # Rounding must not turn a stake on nothing into one on something.
        margin = np.maximum(bound - eta, 1e-12)
        growth = 1 + STAKES[:, None] * ((eta - z) / margin)[None]
        # Most that the documents left can add; with it the sum must still reach 0.
        most = np.append(room[::-1].cumsum()[::-1], 0.0)[1 : m + 1]
        return np.log(np.maximum(growth, 1e-300)), before[1:] + most < -1e-9 * n

    def stops_at(self, seen: Floats) -> int | None:
        """Number of documents after which the candidate has lost; None while it has not."""
        hits = np.flatnonzero(self.wealth(seen) >= 1 / self.error_rate)
        return int(hits[0]) + 1 if len(hits) else None
