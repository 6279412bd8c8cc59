"""Which documents come first, and what a part of them says about all of them.

A trial draws an order of the search documents of its own, by successive sampling without
replacement: the next document is i with probability a_i / sum of a over the documents left. The
appeals a_i are larger where candidates are expected to differ (Neyman 1934: a stratum's share of
the sample is proportional to its standard deviation) and never 0: a document on which all agreed so
far is drawn less often, not left out. Probabilities are known, so `racing` can weigh by them.

The order is drawn anew for every trial, from the study's seed and the trial's number, after its
candidate is fixed. In one order common to all trials the sampler would come to propose candidates
that are good on the documents at its head, and no statement about a random order would hold of
them. Candidates remain paired: everyone is compared on the documents it has seen with candidates
that were scored on all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Appeal of a document on which nobody differs, beside 1 for one on which half of all pairs differ.
LEAST_APPEAL = 0.4

# Strata at most.
GROUPS = 4
# Documents that a stratum's guessed variance counts for beside those that were seen in it.
PRIOR_DOCUMENTS = 3.0


@dataclass(frozen=True)
class Strata:
    """Documents by how many of the trials so far solved them.

    Attributes:
        labels: stratum of each document, 0 .. groups - 1, shape (n,).
        appeal: a of each document, in (0, 1], shape (n,).
        variance: guessed variance of the difference of two candidates in each stratum, in squared
            units of the metric's span, shape (groups,).
    """

    labels: Ints
    appeal: Floats
    variance: Floats

    @property
    def count(self) -> int:
        """Number of documents."""
        return len(self.labels)


def single_stratum(count: int) -> Strata:
    """All documents alike: what is known before the first trial."""
    return Strata(np.zeros(count, dtype=np.int64), np.ones(count), np.full(1, 0.25))


def stratify(
    values: Sequence[Floats],
) -> Strata:
    """Strata from the outcomes of trials.

    A document's rate is its mean outcome over the trials that saw it, drawn towards the overall
    mean as if one more trial had scored it so. There are at most `GROUPS` strata, which hold about
    as many documents each; rates that are equal stay together. With rate p two candidates differ on a document with
    a chance of 2p(1 - p).

    Args:
        values: per trial one value per document in [0, 1], NaN where it was not seen, shape (n,).
    """
    table = np.stack([np.asarray(v, dtype=float) for v in values])
    seen = ~np.isnan(table)
    if seen.any() and not (np.nanmin(table) >= 0 and np.nanmax(table) <= 1):
        return _unbounded(table, seen)
    total = np.where(seen, table, 0.0).sum(0)
    overall = total.sum() / max(1, seen.sum())
    rate = (total + overall) / (seen.sum(0) + 1.0)
    edges = np.unique(np.quantile(rate, np.arange(1, GROUPS) / GROUPS, method="higher"))
    labels = np.searchsorted(edges, rate, side="left")
    _, labels = np.unique(labels, return_inverse=True)
    spread = np.array(
        [np.mean(2 * rate[labels == h] * (1 - rate[labels == h])) for h in range(labels.max() + 1)]
    )
    appeal = np.maximum(LEAST_APPEAL, np.sqrt(np.clip(2 * spread, 0, 1)))[labels]
    return Strata(labels.astype(np.int64), appeal, np.maximum(spread, 0.02))


def _unbounded(table: Floats, seen: NDArray[np.bool_]) -> Strata:
    """One stratum, for metrics that are no shares: there the rate says nothing of the spread."""
    several = seen.sum(0) > 1
    within = (
        np.nanvar(table[:, several], axis=0, ddof=1).mean() if several.any() else np.nanvar(table)
    )
    alone = single_stratum(table.shape[1])
    return Strata(alone.labels, alone.appeal, np.full(1, max(2 * float(within), 1e-6)))


def side_by_side(parts: Sequence[Strata], weights: Sequence[float]) -> Strata:
    """The strata of several suites as strata of all of their documents.

    Args:
        parts: of each suite.
        weights: of a document of each suite; the appeal is in proportion to them.
    """
    labels, start = [], 0
    for part in parts:
        labels.append(part.labels + start)
        start += len(part.variance)
    top = max(weights)
    appeal = np.concatenate([p.appeal * (w / top) for p, w in zip(parts, weights, strict=True)])
    return Strata(np.concatenate(labels), appeal, np.concatenate([p.variance for p in parts]))


@dataclass(frozen=True)
class Order:
    """Documents in the order in which one trial scores them.

    Attributes:
        documents: indices of all documents, shape (n,).
        appeal: a of each document by its place in the order, shape (n,).
        strata: what it was drawn from.
    """

    documents: Ints
    appeal: Floats
    strata: Strata

    @property
    def left(self) -> Floats:
        """Sum of the appeals of the documents not drawn before each place, shape (n,)."""
        return self.appeal[::-1].cumsum()[::-1]

    def weights(self, m: int) -> Floats:
        """Weight of each document in the stratified mean of the first m, shape (n,); they add up to 1."""
        documents, groups = self.documents[:m], len(self.strata.variance)
        labels = self.strata.labels[documents]
        counts = np.bincount(labels, minlength=groups)
        sizes = np.bincount(self.strata.labels, minlength=groups)
        weights = np.zeros(self.strata.count)
        weights[documents] = sizes[labels] / counts[labels]
        share: Floats = weights / weights.sum()
        return share

    def within(self, part: slice) -> Order:
        """The order among the documents of one suite.

        Args:
            part: of the documents.
        """
        mine = (self.documents >= part.start) & (self.documents < part.stop)
        labels, groups = np.unique(self.strata.labels[part], return_inverse=True)
        strata = Strata(groups, self.strata.appeal[part], self.strata.variance[labels])
        return Order(self.documents[mine] - part.start, self.appeal[mine], strata)


def draw_order(strata: Strata, seed: int | Sequence[int]) -> Order:
    """Draw an order by successive sampling.

    The order of exponential waiting times with rates a_i (Efraimidis and Spirakis 2006,
    doi:10.1016/j.ipl.2005.11.003).
    """
    waits = np.random.default_rng(seed).exponential(size=strata.count) / strata.appeal
    documents = np.argsort(waits)
    return Order(documents, strata.appeal[documents], strata)


@dataclass(frozen=True)
class Draw:
    """An order as it is kept: what it was drawn from.

    Attributes:
        strata: of the documents.
        seed: of the random numbers.
        start: place in what is drawn at which the order begins; it goes on around the end.
    """

    strata: Strata
    seed: tuple[int, ...]
    start: int = 0

    @cached_property
    def order(self) -> Order:
        """The order itself."""
        drawn = draw_order(self.strata, list(self.seed))
        if not self.start:
            return drawn
        return replace(
            drawn,
            documents=np.roll(drawn.documents, -self.start),
            appeal=np.roll(drawn.appeal, -self.start),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `from_json` is the inverse. Appeals are kept by stratum."""
        strata = self.strata
        first = [int(np.argmax(strata.labels == h)) for h in range(len(strata.variance))]
        return {
            "labels": "".join(chr(ord("0") + h) for h in strata.labels),
            "appeal": [float(strata.appeal[i]) for i in first],
            "variance": [float(v) for v in strata.variance],
            "seed": list(self.seed),
            **({"start": self.start} if self.start else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Draw:
        """Inverse of `to_json`."""
        labels = np.array([ord(c) - ord("0") for c in data["labels"]], dtype=np.int64)
        appeal = np.array(data["appeal"], dtype=float)[labels]
        variance = np.array(data["variance"], dtype=float)
        return cls(Strata(labels, appeal, variance), tuple(data["seed"]), int(data.get("start", 0)))


@dataclass(frozen=True)
class Estimate:
    """What a part of the documents says about the mean over all of them.

    Attributes:
        mean: of the metric over all documents.
        standard_error: of `mean`; 0 when all documents were scored.
        count: documents scored.
    """

    mean: float
    standard_error: float
    count: int


def estimate(seen: Floats, order: Order, control: Floats | None = None) -> Estimate:
    """Stratified estimate of a candidate's mean over all documents.

        control mean + sum_h (N_h / N) mean of (value - control) over the n_h seen in stratum h

    Given the numbers n_h, the documents seen in a stratum are a simple random sample of it, so the
    estimate is unbiased whatever the appeals, as long as every stratum was reached and the number
    of documents did not depend on what they said. A stratum that was not reached takes the mean of
    the others, and its whole guessed variance. A trial that was rejected for being low is estimated
    somewhat too low; the bound on wrong stops bounds how often that matters.

    Variances are those of the strata with the correction for a finite population (Cochran 1977,
    Sampling Techniques, eq. 5.6 ff.), each drawn towards its guess, since two equal values in a
    small sample do not mean that all are.

    Args:
        seen: values of the first documents of `order`, shape (m,), m >= 1.
        order: the trial's order.
        control: values of a candidate that was scored on all documents, by document, shape (n,).
    """
    return best_estimate(
        seen, order, [np.zeros(order.strata.count) if control is None else control]
    )


def best_estimate(seen: Floats, order: Order, controls: Sequence[Floats]) -> Estimate:
    """Of the estimates with each of these controls, the one with the least standard error; see `estimate`."""
    m, strata = len(seen), order.strata
    n, documents = strata.count, order.documents[: len(seen)]
    if m == n:
        return Estimate(float(seen.mean()), 0.0, m)
    base = np.stack(controls)
    moved = seen - base[:, documents]
    labels, groups = strata.labels[documents], len(strata.variance)
    is_in = (labels[:, None] == np.arange(groups)).astype(float)
    sizes = np.bincount(strata.labels, minlength=groups)
    counts = np.bincount(labels, minlength=groups)
    known = counts > 0
    means = np.where(known, moved @ is_in / np.maximum(counts, 1), 0.0)
    if not known.all():
        pooled = (sizes * means)[:, known].sum(1) / sizes[known].sum()
        means = np.where(known, means, pooled[:, None])
    squares = (moved - means[:, labels]) ** 2 @ is_in
    variances = (squares + PRIOR_DOCUMENTS * strata.variance) / (
        np.maximum(counts - 1, 0) + PRIOR_DOCUMENTS
    )
    shares = sizes / n
    left = 1 - counts / sizes
    errors = (shares**2 * variances / np.maximum(counts, 1) * left).sum(1)
    best = int(np.argmin(errors))
    mean = float(base[best].mean() + shares @ means[best])
    return Estimate(mean, math.sqrt(float(errors[best])), m)
