"""How many documents a gain needs: beside simulated tests."""

from __future__ import annotations

import numpy as np
import pytest

from exme.search.statistics.paired import table
from exme.search.statistics.power import POWER, documents_needed


@pytest.mark.parametrize(("differ", "gain"), [(0.3, 0.05), (0.1, 0.03), (0.4, 0.1)])
def test_so_many_documents_show_the_gain_in_four_of_five_tries(differ: float, gain: float) -> None:
    generator = np.random.default_rng(5)
    seen = generator.choice([-1.0, 0.0, 1.0], 4000, p=[differ / 2, 1 - differ, differ / 2])
    count = documents_needed([(1.0, seen)], gain, 0.025)
    assert count is not None
    won, lost = (differ + gain) / 2, (differ - gain) / 2
    shown = []
    for _ in range(300):
        moved = generator.choice([-1.0, 0.0, 1.0], count, p=[lost, 1 - differ, won])
        shown.append(table(moved).p < 0.025)
    assert np.mean(shown) == pytest.approx(POWER, abs=0.07)


def test_suites_keep_their_shares_and_nothing_is_said_where_nothing_differs() -> None:
    one, other = np.array([1.0, -1.0, 0.0, 0.0]), np.array([1.0, -1.0, 1.0, -1.0, 0.0, 0.0])
    # standard error of the mean of means: sqrt(0.25 * 0.5 / 4 + 0.25 * (2 / 3) / 6)
    error = np.sqrt(0.25 * 0.5 / 4 + 0.25 * (2 / 3) / 6)
    expected = np.ceil(10 * (error * (1.959964 + 0.841621) / 0.05) ** 2)
    assert documents_needed([(0.5, one), (0.5, other)], 0.05, 0.025) == expected
    assert documents_needed([(1.0, np.zeros(9))], 0.05, 0.025) is None
