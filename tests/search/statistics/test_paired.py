"""Bounds of a mean difference: they agree with their p-values, and hold as often as they say."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from exme.search.statistics.combine import Largest, Least, Sum
from exme.search.statistics.paired import (
    Bounded,
    Difference,
    Table,
    bounded_mean,
    tail_of,
    unbounded_mean,
)

LEVELS = (0.025, 0.05 / 6, 0.05 / 12, 0.3)


def agree(found: Difference, level: float) -> bool:
    """Whether the word that the interval says is the one that the p-value says."""
    return (found.low(level) > 0) == (found.p < level)


def test_interval_and_p_value_agree_for_all_small_tables() -> None:
    for count in range(1, 16):
        for won, lost in itertools.product(range(count + 1), repeat=2):
            if won + lost <= count:
                table = Table(won, lost, count)
                assert all(agree(table, level) for level in LEVELS)
                assert -1 <= table.low(0.025) <= table.estimate <= table.high(0.025) <= 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_interval_and_p_value_agree_for_large_tables(data: st.DataObject) -> None:
    count = data.draw(st.integers(16, 20_000))
    won = data.draw(st.integers(0, min(count, 3000)))
    most = min(count - won, won + 200)
    lost = data.draw(st.integers(min(most, max(0, won - 200)), most))
    table = Table(won, lost, count)
    use = data.draw(st.integers(1, 40))
    assert agree(table, 0.05 / (use * (use + 1)))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1, 1, width=16), min_size=1, max_size=60), st.integers(1, 12))
def test_interval_and_p_value_agree_for_bounded_values(values: list[float], use: int) -> None:
    found = Bounded(np.array(values))
    assert agree(found, 0.05 / (use * (use + 1)))
    assert found.low(0.025) <= found.estimate + 1e-9
    assert found.estimate <= found.high(0.025) + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=4))
def test_interval_and_p_value_agree_for_sums_lowest_and_highest(
    pairs: list[tuple[int, int]],
) -> None:
    tables = tuple(Table(won, lost, 100) for won, lost in pairs)
    weight = 1 / len(tables)
    total = Sum(tuple((weight, table) for table in tables))
    for found in (Least(tables), Largest(tables), total, Least((total, *tables))):
        for level in LEVELS:
            # (the sum's p-value is found to one part in a billion)
            assert agree(found, level) or abs(found.p - level) < 1e-6 * level
        assert found.low(0.025) <= found.estimate <= found.high(0.025)


def test_the_tail_is_that_of_all_outcomes_of_the_trinomial() -> None:
    """Enumerated in fractions: 6 documents, of which a quarter is won and an eighth lost."""
    won, lost, n = Fraction(1, 4), Fraction(1, 8), 6
    tails = []
    for at in range(-n, n + 1):
        tail = Fraction(0)
        for w, k in itertools.product(range(n + 1), repeat=2):
            if w + k <= n and w - k >= at:
                ways = math.comb(n, w) * math.comb(n - w, k)
                mass = ways * won**w * lost**k * (1 - won - lost) ** (n - w - k)
                tail += mass
        tails.append(float(tail))
    found = [tail_of(n, 0.25, 0.125, at) for at in range(-n, n + 1)]
    assert found == pytest.approx(tails, abs=1e-12)


# Airway hyper-responsiveness (Bentur et al. 2009: 7 against 1 of 21) and complete response (Cavo et al. 2012: 16 against 6 of
# 161) are the examples of Fagerland, Lydersen and Laake 2013, doi:10.1186/1471-2288-13-91, whose McNemar mid-p and exact
# p-values are 0.039 and 0.070, 0.035 and 0.053, two-sided. Ours lets the number of discordant documents vary, too, and is
# mid-p for many documents, exact for few.
@pytest.mark.parametrize(
    ("won", "lost", "n", "low", "high"), [(7, 1, 21, 0.039, 0.070), (16, 6, 161, 0.032, 0.036)]
)
def test_the_p_value_of_a_table_is_near_mcnemars(
    won: int, lost: int, n: int, low: float, high: float
) -> None:
    assert low <= 2 * Table(won, lost, n).p <= high


def test_without_any_difference_nothing_is_proved_and_the_interval_is_the_rule_of_three() -> None:
    """No loss among n documents: more than 3 / n lost would show in 95 of 100 cases."""
    table = Table(0, 0, 300)
    assert table.p == pytest.approx(0.5)
    assert table.low(0.025) == pytest.approx(-3 / 300, rel=0.01)
    assert table.high(0.025) == pytest.approx(3 / 300, rel=0.01)


@pytest.mark.parametrize("count", [5, 8, 16, 30, 100, 150, 500])
@pytest.mark.parametrize("discordant", [0.02, 0.1, 0.2, 0.5, 1.0])
def test_a_test_of_a_table_errs_as_often_as_it_says(count: int, discordant: float) -> None:
    """Exact, over all tables: at most 2.5% and a tenth of that, where every document differs."""
    wrong = 0.0
    for both in range(count + 1):
        chance = stats.binom.pmf(both, count, discordant)
        if chance > 1e-9:
            for won in range(both // 2, both + 1):
                if Table(won, both - won, count).p < 0.025:
                    wrong += chance * stats.binom.sf(won - 1, both, 0.5)
                    break
    assert wrong <= 0.0275


def test_intervals_of_tables_cover_the_truth() -> None:
    """2,000 seeded tables for each of six truths: 95%, less two standard errors of the simulation."""
    generator = np.random.default_rng(20261130)
    truths = [(0.15, 0.10), (0.1, 0.1), (0.02, 0.0), (0.3, 0.05), (0.004, 0.012), (0.01, 0.01)]
    for won, lost in truths:
        drawn = generator.multinomial(200, (won, lost, 1 - won - lost), size=2000)
        tables = [Table(int(w), int(k), 200) for w, k, _ in drawn]
        held = [t.low(0.025) <= won - lost <= t.high(0.025) for t in tables]
        assert np.mean(held) >= 0.94


SKEWED = {
    "a loss of 0.99 on 1%": lambda g, n: np.where(g.random(n) < 0.01, -0.99, 0.01),
    "a loss of 0.5 on 3%": lambda g, n: np.where(g.random(n) < 0.03, -0.5, 0.5 * 0.03 / 0.97),
}


@pytest.mark.parametrize("case", list(SKEWED))
@pytest.mark.parametrize("n", [100, 500])
def test_a_little_better_on_most_and_broken_on_a_few_is_not_proved(case: str, n: int) -> None:
    """Sign flips called 12.7 to 37% of these proved at 5%; the true mean is 0."""
    generator = np.random.default_rng(3)
    found = [Bounded(SKEWED[case](generator, n)).p < 0.025 for _ in range(400)]
    assert np.mean(found) <= 0.025


def test_the_share_of_documents_of_unequal_suites_is_bounded() -> None:
    """Equal weights of 10 and 1,000 documents: one document of the first weighs as 50.5 of all."""
    small, large = np.full(10, 1.0), np.full(1000, -1.0)
    found = bounded_mean([(0.5, small), (0.5, large)])
    assert found.estimate == pytest.approx(0)
    assert found.reach == pytest.approx(50.5)
    assert found.p == 1


def test_scores_without_bounds_prove_nothing() -> None:
    found = unbounded_mean([(1.0, np.array([3.0, 4.0, 5.0]))])
    assert (found.p, found.low(0.025), found.approximate) == (1, -math.inf, True)
    # Student's t with 2 degrees of freedom: 4.3027 standard errors of 1 / sqrt(3).
    assert found.student(0.025) == pytest.approx((4 - 2.48414, 4 + 2.48414), abs=1e-4)
