"""Where the next look goes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from exme.search.proposing.proposer import (
    best_point,
    candidates,
    choose,
    knowledge_gradient,
    summits,
    ties,
)
from exme.search.racing.strata import Floats
from exme.search.racing.surrogate import Posterior, Surrogate, fit


def hill(x: Floats) -> Floats:
    value: Floats = 0.6 - 0.8 * ((x - 0.6) ** 2).sum(1)
    return value


def fitted(n: int = 20, d: int = 2, noise: float = 1e-4) -> Surrogate:
    x = np.random.default_rng(0).random((n, d))
    return fit(x, hill(x), np.full(n, noise))


def test_the_knowledge_gradient_of_one_rival_is_that_of_the_closed_form() -> None:
    """A sure incumbent at 0.5 and an unsure rival: E max(0, m + s z) with m = -0.02, s = 0.1^2 / t."""
    posterior = Posterior(np.array([0.5, 0.48]), np.diag([0.0, 0.01]))
    t = np.sqrt(0.01 + 0.005)
    s = 0.01 / t
    wanted = -0.02 * stats.norm.cdf(-0.02 / s) + s * stats.norm.pdf(-0.02 / s)
    found = knowledge_gradient(posterior, np.array([0.005, 0.005]))
    assert found[1] == pytest.approx(wanted, rel=0.05)
    assert found[0] == pytest.approx(0, abs=1e-9)


def test_a_look_that_tells_more_is_worth_more() -> None:
    posterior = Posterior(np.array([0.5, 0.48]), np.diag([1e-4, 0.01]))
    worth = [knowledge_gradient(posterior, np.full(2, v))[1] for v in (1e-4, 1e-2, 1.0)]
    assert worth == sorted(worth, reverse=True)


def test_the_next_look_is_near_where_the_best_may_be() -> None:
    surrogate = fitted()
    choices = [choose(surrogate, {}, {32: 0.002}, np.random.default_rng(s)) for s in range(10)]
    assert np.median([np.abs(c.point - 0.6).max() for c in choices]) < 0.35
    assert all(c.begun is None and c.gain >= 0 for c in choices)


def test_a_begun_point_is_taken_up_again_only_where_it_may_be() -> None:
    x = np.array([[0.1], [0.5], [0.55], [0.9]])
    y, variances = np.array([0.2, 0.6, 0.58, 0.2]), np.array([1e-4, 1e-2, 1e-2, 1e-4])
    surrogate = fit(x, y, variances)
    generators = [np.random.default_rng(s) for s in range(10)]
    # Without fresh points the only choice is among those that may be looked at.
    left, look = {0: 96, 1: 96, 2: 96}, {32: 0.01}
    begun = [choose(surrogate, left, look, g, wide=0, near=0).begun for g in generators]
    assert set(begun) <= {1, 2}
    assert choose(surrogate, {0: 96}, look, generators[0], wide=0, near=0).begun == 0


def test_a_look_at_all_documents_is_chosen_where_a_part_says_little_for_each() -> None:
    surrogate = fitted()
    dear = choose(surrogate, {}, {32: 1.0, 128: 1e-5}, np.random.default_rng(0))
    cheap = choose(surrogate, {}, {32: 1e-5, 128: 0.0}, np.random.default_rng(0))
    assert (dear.documents, cheap.documents) == (128, 32)


def test_the_few_documents_left_of_a_begun_point_make_it_worth_more() -> None:
    x = np.array([[0.1], [0.48], [0.52], [0.9]])
    y, variances = np.array([0.2, 0.6, 0.6, 0.2]), np.array([1e-4, 1e-2, 1e-2, 1e-4])
    surrogate = fit(x, y, variances)
    looks = {32: 0.01, 128: 1e-4}
    for few in (1, 2):
        left = {1: 100, 2: 100} | {few: 20}
        found = choose(surrogate, left, looks, np.random.default_rng(0), wide=0, near=0)
        assert found.begun == few


@pytest.mark.parametrize("d", [2, 6, 12])
def test_the_top_of_the_surrogate_is_among_the_points(d: int) -> None:
    surrogate = fitted(n=80, d=d)
    centres = surrogate.x[:2]
    drawn = np.random.default_rng(1).random((40, d))
    found = summits(surrogate, centres, drawn, np.eye(d))
    assert ((found >= 0) & (found <= 1)).all()
    assert surrogate.at(found).mean.max() > surrogate.at(drawn).mean.max()
    assert hill(found).max() > hill(drawn).max()


def test_tops_of_tied_groups_stay_tied() -> None:
    blocks = [range(6), range(6, 12)]
    surrogate = fitted(n=30, d=12)
    found = summits(surrogate, surrogate.x[:1], surrogate.x, ties(12, 3, blocks))
    assert np.ptp(found[:, :6], axis=1).max() < 1e-12 and np.ptp(found[:, 6:], axis=1).max() < 1e-12
    assert (ties(12, 300, blocks) == np.eye(12)).all()


def test_a_point_scored_on_all_documents_is_named_by_its_score() -> None:
    """The process is smooth; the score on these documents, known without doubt, is not."""
    x = np.linspace(0, 1, 9)[:, None]
    y = np.full(9, 0.5)
    y[4] = 0.56
    surrogate = fit(x, y, np.zeros(9), nugget=4e-4)
    point, number = best_point(surrogate, np.random.default_rng(0))
    assert number == 4 and point == pytest.approx(0.5)
    assert surrogate.tried().mean[4] == pytest.approx(0.56, abs=1e-3)
    assert surrogate.at(x).mean[4] < 0.545


def test_the_point_named_best_is_near_the_top() -> None:
    point, _ = best_point(fitted(), np.random.default_rng(0))
    assert hill(point[None])[0] > 0.58


@pytest.mark.parametrize("d", [1, 2, 6, 12])
def test_candidates_lie_within_bounds(d: int) -> None:
    blocks = [range(d // 2), range(d // 2, d)] if d > 4 else []
    for tried in (3, 50):
        points = candidates(np.full((2, d), 0.99), tried, d, np.random.default_rng(0), blocks)
        assert points.shape[1] == d and len(points) >= 80
        assert ((points >= 0) & (points <= 1)).all()


def test_groups_move_together_at_first_and_a_few_at_a_time_later() -> None:
    blocks = [range(6), range(6, 12)]
    centres = np.full((1, 12), 0.5)
    early = candidates(centres, 3, 12, np.random.default_rng(0), blocks)
    assert np.ptp(early[:, :6], axis=1).max() == np.ptp(early[:, 6:], axis=1).max() == 0
    late = candidates(centres, 50, 12, np.random.default_rng(0), blocks, wide=0)
    assert set((late != 0.5).sum(1)) == {4}
