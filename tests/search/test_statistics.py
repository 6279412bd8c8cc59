"""Every reference value names where it comes from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from exme.evaluators.scores import DocumentScores
from exme.search.statistics import compare, is_binary, mean_interval


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


# Wilson's interval: Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_an_accuracy_is_newcombes_wilson_interval(
    k: int, n: int, low: float, high: float
) -> None:
    interval = mean_interval(ones(k, n))
    assert interval.estimate == pytest.approx(k / n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


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
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)
    assert min(coverage) > 0.91


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


# Airway hyper-responsiveness (Bentur et al. 2009: 1 against 7 of 21) and complete response
# (Cavo et al. 2012: 6 against 16 of 161) are the examples of Fagerland, Lydersen and Laake 2013,
# doi:10.1186/1471-2288-13-91, who give McNemar's exact p as 0.070 and 0.053.
@pytest.mark.parametrize(("won", "lost", "n", "p"), [(1, 7, 21, 0.070), (6, 16, 161, 0.0525)])
def test_the_p_value_of_accuracies_is_mcnemars_exact_one(
    won: int, lost: int, n: int, p: float
) -> None:
    result = compare(*pair(won, lost, n))
    assert result.p_value == pytest.approx(p, abs=5e-4)
    assert (result.won, result.lost, result.count) == (won, lost, n)
    assert result.test == "McNemar's exact test"


def test_mcnemars_p_value_is_the_two_sided_binomial_sum() -> None:
    for won, lost in itertools.product(range(9), repeat=2):
        discordant, fewer = won + lost, min(won, lost)
        tail = sum(Fraction(math.comb(discordant, k), 2**discordant) for k in range(fewer + 1))
        by_hand = float(min(Fraction(1), 2 * tail))
        assert compare(*pair(won, lost, 20)).p_value == pytest.approx(by_hand)


# The same two examples; limits worked out by hand from Bonett and Price's equation 7:
# (2 - 8) / 23 -+ 1.959964 * sqrt((10/23 - (6/23)^2) / 23), and likewise for 7 and 17 of 163.
@pytest.mark.parametrize(
    ("won", "lost", "n", "low", "high"),
    [(1, 7, 21, -0.50836, -0.01338), (6, 16, 161, -0.11950, -0.00320)],
)
def test_the_interval_of_a_difference_of_accuracies_is_bonett_and_prices(
    won: int, lost: int, n: int, low: float, high: float
) -> None:
    difference = compare(*pair(won, lost, n)).difference
    assert difference.estimate == pytest.approx((won - lost) / n)
    assert (difference.low, difference.high) == pytest.approx((low, high), abs=1e-5)


def test_the_interval_of_a_difference_covers_the_truth_about_as_often_as_it_says() -> None:
    """2,000 seeded pairs of candidates with a true difference of 5 points on 200 documents."""
    generator = np.random.default_rng(20230817)
    drawn = generator.multinomial(200, (0.15, 0.10, 0.75), size=2000)
    known: dict[tuple[int, int], bool] = {}
    for won, lost in {(int(w), int(k)) for w, k, _ in drawn}:
        difference = compare(*pair(won, lost, 200)).difference
        known[won, lost] = difference.low <= 0.05 <= difference.high
    coverage = np.mean([known[int(w), int(k)] for w, k, _ in drawn])
    assert coverage == pytest.approx(0.95, abs=0.015)  # 3 standard errors of the simulation


def test_swapping_the_candidates_turns_the_sign_and_keeps_the_p_value() -> None:
    a, b = pair(9, 4, 30)
    there, back = compare(a, b), compare(b, a)
    assert there.p_value == back.p_value
    assert there.difference.low == pytest.approx(-back.difference.high)
    assert (there.won, there.lost) == (back.lost, back.won)


def test_equal_candidates_do_not_differ() -> None:
    for values in ([0, 1, 1, 0], [0.2, 0.9, 0.4, 0.1]):
        result = compare(scores(values), scores(values))
        assert (result.difference.estimate, result.p_value) == (0, 1)


def flipped_exactly(differences: Sequence[float]) -> float:
    """Share of all sign patterns whose sum is at least as far from 0."""
    observed = abs(sum(differences)) - 1e-9
    patterns = itertools.product((-1, 1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(p, differences, strict=True))) for p in patterns]
    return sum(s >= observed for s in sums) / len(sums)


def test_the_p_value_of_other_scores_is_that_of_all_sign_flips() -> None:
    """20,000 draws against the enumeration of all 1,024: 4 standard errors at most."""
    generator = np.random.default_rng(5)
    for shift in (0.0, 0.3, 0.8):
        differences = generator.normal(shift, 1, 10).tolist()
        result = compare(scores(differences), scores([0] * 10))
        assert result.p_value == pytest.approx(flipped_exactly(differences), abs=0.015)
        assert result.test == "sign-flip permutation test"


def test_fishers_maize_gives_fishers_p_value() -> None:
    """Darwin's 15 pairs; Fisher 1935, The Design of Experiments, sec. 21: 1,726 of 32,768."""
    maize = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    result = compare(scores(maize), scores([0] * 15))
    assert result.p_value == pytest.approx(1726 / 32768, abs=0.007)


def test_sign_flips_are_the_same_for_the_same_seed() -> None:
    a, b = scores([0.3, 0.9, 0.1, 0.8, 0.7]), scores([0.2, 0.7, 0.3, 0.1, 0.4])
    assert compare(a, b, seed=3) == compare(a, b, seed=3)


def test_documents_without_a_difference_do_not_move_the_sign_flip_p_value() -> None:
    short = compare(scores([0.4, 0.2, 0.1]), scores([0, 0, 0])).p_value
    long = compare(scores([0.4, 0.2, 0.1, 0.5, 0.5]), scores([0, 0, 0, 0.5, 0.5])).p_value
    assert short == long


def test_differences_that_cancel_have_a_p_value_of_one() -> None:
    differences = [0.1, 0.2, -0.3] * 3
    assert compare(scores(differences), scores([0] * 9)).p_value == 1.0


def test_p_values_are_uniform_when_neither_candidate_is_better() -> None:
    """300 seeded pairs of scores that are not 0 and 1: Kolmogorov-Smirnov against uniform."""
    generator = np.random.default_rng(11)
    p_values = []
    for _ in range(300):
        a, b = generator.random((2, 14))
        p_values.append(compare(scores(a), scores(b)).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_mcnemars_test_calls_noise_a_gain_at_most_as_often_as_it_says() -> None:
    for discordant in (5, 12, 30):
        wins = range(discordant + 1)
        p = np.array([compare(*pair(w, discordant - w, 40)).p_value for w in wins])
        mass = stats.binom.pmf(np.arange(discordant + 1), discordant, 0.5)
        for level in (0.01, 0.05, 0.2):
            assert mass[p <= level].sum() <= level


def test_accuracies_are_told_from_other_scores() -> None:
    assert is_binary([0.0, 1.0, 1.0])
    assert not is_binary([0.0, 0.5])


def test_scores_on_other_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="not the same documents"):
        compare(scores([1, 0]), scores([1, 0, 1]))
    with pytest.raises(ValueError, match="not the same documents"):
        compare(scores([1, 0]), scores([1, 0], split="search"))


@pytest.mark.parametrize(("won", "lost"), [(7, 1), (1, 7), (5, 5), (0, 0), (12, 0)])
def test_the_one_sided_p_value_is_the_chance_of_winning_as_many_by_luck(
    won: int, lost: int
) -> None:
    n = won + lost
    by_hand = sum(math.comb(n, k) for k in range(won, n + 1)) / 2**n
    assert compare(*pair(won, lost, 20)).p_better == pytest.approx(by_hand)


def test_the_one_sided_p_value_of_other_scores_is_that_of_all_sign_flips() -> None:
    differences = [0.4, -0.1, 0.3, 0.25, 0.05, -0.2, 0.15]
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product([1, -1], repeat=len(differences))
    ]
    by_hand = sum(total >= sum(differences) - 1e-9 for total in sums) / len(sums)
    found = compare(scores(differences), scores([0] * 7)).p_better
    assert found == pytest.approx(by_hand, abs=0.01)
