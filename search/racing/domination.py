"""A race against a Pareto front: who is shown to be dominated is rejected.

**Hypothesis.** With x_s the mean of a candidate on the search documents of suite s and y one of the m rivals, all of
them scored on all documents:

    H0(y): x_s >= y_s on some suite s        H0: H0(y) for every rival y

H0 is false where some rival is better on every suite. The chance of ever stopping a candidate for which H0 holds is at
most the study's `error_rate`, however often the test is repeated and however many rivals there are.

**Evidence.** Let K_{y,s} be the wealth of `racing` against x_s >= y_s, on the documents of suite s in the order in which
the candidate meets them. A union of hypotheses is rejected where each of them is (Berger 1982,
doi:10.1080/00401706.1982.10487790), rivals share the stake evenly:

    V = 1/m sum_y min_s K_{y,s}

**Proof.** Under H0 every rival y has a suite s(y) on which the candidate is as good, and min_s K_{y,s} <= K_{y,s(y)}.
Orders within suites are independent successive samples, so that each K_{y,s(y)} is a nonnegative supermartingale of all
that was seen, whichever suite the next document is of; so is their mean, which V does not exceed. By Ville's
inequality P(sup V >= 1 / error_rate) <= error_rate. The mean rejects wherever Bonferroni's correction of the largest
would. Where a new front is raced from some document on, wealth goes on from V: the product of what legs make is below a
product of supermartingales, each from where the last ended.

Rivals are chosen before the documents are drawn on which they are bet against.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .race import DEFAULT_ERROR_RATE, Leg, Race
from .strata import Floats, Order


@dataclass(frozen=True)
class Domination:
    """A candidate's race against the members of a front.

    Attributes:
        order: in which the candidate's documents are drawn.
        parts: the documents of each suite.
        legs: rivals as they came, at least one; those that begin at one document are one front.
        highest: highest value that the metric can take; infinite where it has none, and then nobody
            is ever rejected.
        error_rate: bound on the chance of ever stopping a candidate that no rival dominates.
    """

    order: Order
    parts: Sequence[slice]
    legs: Sequence[Leg]
    highest: float = 1.0
    error_rate: float = DEFAULT_ERROR_RATE

    def evidence(self, seen: Floats) -> Floats:
        """V after each document; infinite once H0 is impossible.

        Args:
            seen: the candidate's values of the first documents in order, shape (m,).
        Returns:
            Shape (m,), not below 0.
        """
        evidence, before = np.ones(len(seen)), 1.0
        starts = sorted({leg.start for leg in self.legs if leg.start < len(seen)})
        for start, end in itertools.pairwise([*starts, len(seen)]):
            with np.errstate(over="ignore"):
                evidence[start:end] = before * self._by_rival(seen[:end], start).mean(0)
            before = float(evidence[end - 1])
        return evidence

    def stops_at(self, seen: Floats) -> int | None:
        """Number of documents after which the candidate has lost; None while it has not."""
        hits = np.flatnonzero(self.evidence(seen) >= 1 / self.error_rate)
        return int(hits[0]) + 1 if len(hits) else None

    def strongest(self, seen: Floats) -> int:
        """Number of the leg against whose rival the evidence is strongest, among the last front."""
        start = max(leg.start for leg in self.legs)
        front = [i for i, leg in enumerate(self.legs) if leg.start == start]
        return front[int(np.argmax(self._by_rival(seen, start)[:, -1]))]

    def _by_rival(self, seen: Floats, start: int) -> Floats:
        """min_s K_{y,s} of each rival of a front after each document from a start on, shape (rivals, m - start)."""
        rivals = [leg.incumbent for leg in self.legs if leg.start == start]
        documents = self.order.documents[: len(seen)]
        least = np.full((len(rivals), len(seen) - start), np.inf)
        for part in self.parts:
            mine = (documents >= part.start) & (documents < part.stop)
            met = mine.cumsum()[start:]  # documents of this suite, after each
            skipped = int(mine[:start].sum())
            within = self.order.within(part)
            for place, rival in enumerate(rivals):
                race = Race(within, (Leg(skipped, rival[part]),), self.highest, self.error_rate)
                wealth = np.concatenate([[1.0], race.wealth(seen[mine])])
                least[place] = np.minimum(least[place], wealth[met])
        return least
