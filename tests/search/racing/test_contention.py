"""The best of several is rejected no more often than is said, however it is looked at; a clear loser is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from exme.search.racing.contention import evidence
from exme.search.racing.race import STAKES
from exme.search.racing.strata import Floats


def by_hand(own: Floats, others: Floats, suites: np.ndarray) -> float:
    """E_t document by document, as the module's docstring writes it."""
    highest = 1.0
    for t in range(1, len(own) + 1):
        each = []
        for other in others:
            least = np.inf
            for suite in set(suites.tolist()):
                wealth = []
                for stake in STAKES:
                    k = 1.0
                    for i in range(t):
                        if suites[i] == suite and not np.isnan(other[i]):
                            k *= 1 - stake * (own[i] - other[i])
                    wealth.append(k)
                least = min(least, sum(wealth) / len(wealth))
            each.append(least)
        highest = max(highest, sum(each) / len(each))
    return highest


@pytest.mark.parametrize("suites", [1, 2])
def test_evidence_is_what_its_definition_says(suites: int) -> None:
    generator = np.random.default_rng(suites)
    own = generator.integers(0, 2, 20).astype(float)
    others = generator.integers(0, 2, (3, 20)).astype(float)
    others[1, 12:] = np.nan
    of = np.arange(20) % suites
    assert evidence(own, others, of)[0] == pytest.approx(by_hand(own, others, of))


def strangers(own: Floats, rng: np.random.Generator) -> Floats:
    return (rng.random((6, len(own))) < 0.5).astype(float)


def near_copies(own: Floats, rng: np.random.Generator) -> Floats:
    redrawn = rng.random((6, len(own))) < 0.05
    return np.where(redrawn, rng.random((6, len(own))) < 0.5, own[None]).astype(float)


def one_among_worse(own: Floats, rng: np.random.Generator) -> Floats:
    shares = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])[:, None]
    return (rng.random((6, len(own))) < shares).astype(float)


# Others that are no better than who is asked for.
FIELDS = {each.__name__: each for each in (strangers, near_copies, one_among_worse)}


@pytest.mark.parametrize("field", FIELDS)
def test_the_best_is_seldom_rejected_though_every_document_is_looked_at(field: str) -> None:
    level, rejected, times = 0.05, 0, 600
    for seed in range(times):
        rng = np.random.default_rng([seed, 5])
        own = (rng.random(150) < 0.5).astype(float)
        others = FIELDS[field](own, rng)
        rejected += evidence(own, others, np.zeros(150, dtype=int))[0] >= 1 / level
    # (a binomial of 600 at 0.05 is above 43 in one of a hundred cases)
    assert rejected <= 43


def test_a_clear_loser_is_rejected_by_few_documents_and_by_the_best_one() -> None:
    rng = np.random.default_rng(0)
    own = (rng.random(40) < 0.1).astype(float)
    others = np.stack([rng.random(40) < share for share in (0.3, 0.9, 0.5)]).astype(float)
    told, place = evidence(own, others, np.zeros(40, dtype=int))
    assert told > 1 / 0.0025 and place == 1


def test_whoever_is_better_on_one_suite_stays() -> None:
    """Far worse on the first suite, and the best on the second."""
    own = np.array([0.0, 1.0] * 100)
    others = np.tile([1.0, 0.0], (4, 100))
    assert evidence(own, others, np.arange(200) % 2)[0] == 1.0
    assert evidence(own, others, np.zeros(200, dtype=int))[0] < 2  # (as one suite they are even)


def test_nothing_seen_tells_nothing() -> None:
    nothing = np.zeros(0)
    assert evidence(nothing, np.zeros((3, 0)), np.zeros(0, dtype=int)) == (1.0, 0)
    own = np.zeros(10)
    assert evidence(own, np.full((2, 10), np.nan), np.zeros(10, dtype=int))[0] == 1.0
    assert all(
        evidence(own, np.full((k, 10), 1.0), np.zeros(10, dtype=int))[0] > 1
        for k in itertools.islice(itertools.count(1), 4)
    )
