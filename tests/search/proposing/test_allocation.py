"""Who is scored next, on which documents, and when more of them are worth little."""

from __future__ import annotations

import numpy as np
import pytest

from exme.search.proposing.allocation import Choice, block_size, choose, expected_gain
from exme.search.racing.belief import Belief
from exme.search.racing.goal import Goal
from exme.search.racing.strata import Floats

USUAL = np.array([1.0, 1.0])
INPUTS = np.array([[1.0, 0.0], [0.0, 1.0]])


def solved(shares: list[float], documents: int, seed: int = 0) -> Floats:
    drawn = np.random.default_rng(seed).uniform(size=documents)
    return np.stack([drawn < share for share in shares]).astype(float)


@pytest.mark.parametrize(("count", "size"), [(256, 16), (135, 9), (20, 8), (5, 5), (1000, 63)])
def test_a_block_is_a_sixteenth_of_the_documents_and_eight_at_least(count: int, size: int) -> None:
    assert block_size(count) == size


def chosen(may: list[bool], seed: int = 0) -> Choice | None:
    values = np.full((2, 32), np.nan)
    values[:, :8] = solved([0.5, 0.5], 8)
    points = np.concatenate([INPUTS, [[1.0, 1.0], [2.4, 2.4]]])
    seen = np.array([[True, False, False, False]] * 2)
    beliefs, generator = [Belief(INPUTS, values, USUAL)], np.random.default_rng(seed)
    return choose(beliefs, Goal(), points, seen, [1, 1], np.array(may), 8, generator)


def test_only_what_may_be_scored_is_chosen() -> None:
    for seed in range(5):
        choice = chosen([False, False, True, False], seed)
        assert choice is not None and choice.point == 2
    assert chosen([False] * 4) is None


def test_a_candidate_that_was_begun_goes_on_where_it_was() -> None:
    choice = chosen([True, False, False, False])
    assert choice is not None and (choice.point, choice.block) == (0, 1)


def test_little_is_expected_of_more_documents_where_all_were_scored() -> None:
    def left(documents: int) -> float:
        values = np.full((3, 400), np.nan)
        points = np.concatenate([INPUTS, [[1.0, 1.0]]])
        values[:, :documents] = solved([0.4, 0.42, 0.6], 400)[:, :documents]
        beliefs = [Belief(points, values, USUAL)]
        return expected_gain(beliefs, Goal(), points, [400], np.random.default_rng(0))

    assert left(8) > 0.01 > left(400) >= 0


def test_over_several_suites_the_goal_says_who_leads() -> None:
    """The mean of the suites is highest at the first input; the worst gain at their sum, which alone may be scored."""
    points = np.concatenate([INPUTS, [[1.0, 1.0]]])
    suites = [
        Belief(points, solved([0.2, 0.5, 0.45], 200, 1), USUAL),
        Belief(points, solved([0.95, 0.3, 0.6], 200, 2), USUAL),
    ]
    seen, worst = np.zeros((3, 4), dtype=bool), Goal((0.5, 0.5), "worst", reference=(0.5, 0.9))
    means = np.stack([suite.mean(points) for suite in suites], 1)
    assert int(means.mean(1).argmax()) == 0
    assert max(range(3), key=lambda i: worst.merit(means[i].tolist())) == 2
    for goal in (Goal((0.5, 0.5)), worst):
        generator = np.random.default_rng(0)
        choice = choose(suites, goal, points, seen, [0] * 3, np.ones(3, dtype=bool), 8, generator)
        assert choice is not None and choice.point in (0, 1, 2)


def test_candidates_that_the_model_was_not_fitted_to_are_no_obstacle() -> None:
    """Of very many candidates the model is fitted to some, which come first; others have seen documents, too."""
    places = np.concatenate([INPUTS, [[1.0, 1.0], [0.9, 0.8], [1.4, 1.1]]])
    values = solved([0.3, 0.4, 0.6, 0.55, 0.5], 32)
    beliefs = [Belief(places[:3], values[:3], USUAL)]
    points, seen = np.concatenate([places, [[1.2, 1.0]]]), np.ones((5, 4), dtype=bool)
    seen[:, 3] = False
    may = np.array([True] * 6)
    found = choose(beliefs, Goal(), points, seen, [3] * 5, may, 8, np.random.default_rng(0))
    assert found is not None and 0 <= found.point < len(points)
