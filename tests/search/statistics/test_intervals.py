"""Every reference value names where it comes from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import pytest
from scipy import stats

from exme.evaluators.scores import DocumentScores, join
from exme.search.statistics.intervals import (
    compare,
    is_binary,
    is_bounded,
    mean_interval,
    share_interval,
)


def scores(values: Iterable[float], split: str = "report") -> DocumentScores:
    numbers = tuple(map(float, values))
    documents = tuple(f"d{i}" for i in range(len(numbers)))
    return DocumentScores("gsm8k", split, "m", documents, numbers, seed=0)


def ones(k: int, n: int) -> DocumentScores:
    return scores([1] * k + [0] * (n - k))


def pair(won: int, lost: int, n: int) -> tuple[DocumentScores, DocumentScores]:
    """Two candidates that differ on `won` + `lost` of n documents."""
    same = [0] * (n - won - lost)
    return scores([1] * won + [0] * lost + same), scores([0] * won + [1] * lost + same)


# Clopper and Pearson's interval: Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 5.
@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0000, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_the_interval_of_an_accuracy_is_the_exact_one(
    k: int, n: int, low: float, high: float
) -> None:
    interval = mean_interval(ones(k, n))
    assert interval.estimate == pytest.approx(k / n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_a_share_that_is_worth_fewer_documents_has_a_wider_interval() -> None:
    whole, half = share_interval(0.3, 100), share_interval(0.3, 50.5)
    assert half.low < whole.low < 0.3 < whole.high < half.high


def test_the_mean_of_shares_over_suites_stays_within_0_and_1() -> None:
    one, other = ones(0, 20), dataclasses.replace(ones(1, 20), suite="mmlu")
    interval = mean_interval(join([one, other]))
    assert 0 <= interval.low < interval.estimate < interval.high <= 1


def test_the_interval_of_an_accuracy_is_symmetric_under_swapping_right_and_wrong() -> None:
    right, wrong = mean_interval(ones(13, 40)), mean_interval(ones(27, 40))
    assert (right.low, right.high) == pytest.approx((1 - wrong.high, 1 - wrong.low))


def test_the_interval_of_an_accuracy_stays_within_0_and_1_and_is_never_empty() -> None:
    for n in (1, 2, 7, 500):
        for k in (0, n):
            interval = mean_interval(ones(k, n))
            assert 0 <= interval.low < interval.high <= 1
            assert interval.low - 1e-12 <= interval.estimate <= interval.high + 1e-12


def test_the_interval_of_an_accuracy_covers_the_truth_about_as_often_as_it_says() -> None:
    """Exact coverage by the binomial distribution, no simulation."""
    n = 100
    intervals = [mean_interval(ones(k, n)) for k in range(n + 1)]
    coverage = []
    for truth in np.linspace(0.05, 0.95, 61):
        mass = stats.binom.pmf(np.arange(n + 1), n, truth)
        held = np.array([i.low <= truth <= i.high for i in intervals])
        coverage.append(float(mass @ held))
    assert 0.95 <= np.mean(coverage) <= 0.975
    assert min(coverage) >= 0.95


def test_a_higher_level_gives_a_wider_interval() -> None:
    narrow, wide = (mean_interval(ones(30, 90), level) for level in (0.9, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_interval_of_other_scores_is_students() -> None:
    """Student 1908 (doi:10.1093/biomet/6.1.1), the additional hours of sleep with drug 2 minus 1.

    Mean 1.58, standard deviation 1.23; R's t.test(sleep) prints 0.7001142 to 2.4598858.
    """
    sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    interval = mean_interval(scores(sleep))
    assert interval.estimate == pytest.approx(1.58)
    assert (interval.low, interval.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)


def test_one_document_that_is_neither_right_nor_wrong_says_nothing() -> None:
    interval = mean_interval(scores([0.5]))
    assert (interval.low, interval.high) == (-math.inf, math.inf)


def test_swapping_the_candidates_turns_the_sign_and_keeps_the_p_value() -> None:
    a, b = pair(9, 4, 30)
    there, back = compare(a, b), compare(b, a)
    assert there.p_value == back.p_value
    assert there.difference.low == pytest.approx(-back.difference.high)
    assert (there.won, there.lost) == (back.lost, back.won)


def test_equal_candidates_do_not_differ() -> None:
    for values in ([0, 1, 1, 0], [0.2, 0.9, 0.4, 0.1]):
        result = compare(scores(values), scores(values))
        assert result.difference.estimate == 0
        assert result.p_value == pytest.approx(1)


def test_accuracies_are_told_from_other_scores() -> None:
    assert is_binary([0.0, 1.0, 1.0])
    assert not is_binary([0.0, 0.5])


def test_scores_on_other_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="not the same documents"):
        compare(scores([1, 0]), scores([1, 0, 1]))
    with pytest.raises(ValueError, match="not the same documents"):
        compare(scores([1, 0]), scores([1, 0], split="search"))


@pytest.mark.parametrize(
    "values", [([1, 1, 0, 1] * 9, [0, 1, 1, 0] * 9), ([0.9, 0.4] * 30, [0.2, 0.5] * 30)]
)
def test_the_interval_holds_0_where_the_two_sided_p_value_says_so(
    values: tuple[list[float], list[float]],
) -> None:
    result = compare(*map(scores, values))
    for level in (0.5, 0.9, 0.95, 0.99, 0.9999, 1 - 1e-9):
        interval = compare(*map(scores, values), level=level).difference
        assert (interval.low <= 0 <= interval.high) == (result.p_value >= 1 - level)


@pytest.mark.parametrize(
    ("metric", "bounded"),
    [
        ("exact_match,strict-match", True),
        ("acc,a-filter,none", True),
        ("chapter,none", True),
        ("ter,none", False),
        ("word_perplexity,none", False),
        ("target_nll", False),
    ],
)
def test_the_metrics_own_name_says_whether_it_has_bounds(metric: str, bounded: bool) -> None:
    found = dataclasses.replace(scores([0.2, 0.9]), metric=metric)
    assert is_bounded(found) == bounded
    assert (compare(found, found).test == "betting") == bounded
