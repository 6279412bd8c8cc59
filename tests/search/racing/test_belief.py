"""The belief beside the same model written out: every outcome a row of one large Gaussian."""

from __future__ import annotations

import numpy as np
import pytest

from exme.search.racing import belief as module
from exme.search.racing.belief import Belief
from exme.search.racing.strata import Floats

USUAL = np.array([1.0, 1.0])
A, LENGTH = 0.1, 1.5


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> tuple[Floats, Floats]:
    """Six candidates on twelve documents, not all of each seen; values that are no shares."""
    monkeypatch.setattr(module, "AMPLITUDES", (A,))
    monkeypatch.setattr(module, "LENGTHS", (LENGTH,))
    monkeypatch.setattr(module, "FACTORS", (1.0,))
    generator = np.random.default_rng(0)
    points = generator.uniform(0, 2.4, (6, 2))
    values = generator.normal(size=(6, 12))
    values[1, 4:] = values[2, :4] = values[3, 4:8] = values[4, 8:] = np.nan
    return points, values


def written_out(points: Floats, values: Floats, at: Floats, unit: float) -> tuple[Floats, Floats]:
    """Mean and covariance of f at some points, from the covariance of all outcomes."""
    who, which = np.nonzero(~np.isnan(values))
    level = float(np.nanmean(values))

    def apart(a: Floats, b: Floats) -> Floats:
        found: Floats = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
        return found

    def bump(z: Floats) -> Floats:
        found: Floats = np.exp(-((z - USUAL) ** 2).sum(1) / (2 * module.REACH**2))
        return found

    def prior(a: Floats, b: Floats) -> Floats:
        r = np.sqrt(5) * apart(a, b) / LENGTH
        smooth = (A * unit) ** 2 * (1 + r + r**2 / 3) * np.exp(-r)
        height = (module.DOUBT * A * unit) ** 2 * np.outer(bump(a), bump(b))
        found: Floats = smooth + height + (module.LEVEL * unit) ** 2
        return found

    def mean(z: Floats) -> Floats:
        found: Floats = level + module.HEIGHT * A * unit * (bump(z) - 0.5)
        return found

    rows = points[who]
    same = which[:, None] == which[None]
    region = np.exp(-apart(rows, rows) / module.NEAR)
    document = module.SHARED * (module.DIFFICULT + (1 - module.DIFFICULT) * region)
    noise = unit**2 * (same * document + (1 - module.SHARED) * np.eye(len(who)))
    weights = np.linalg.solve(prior(rows, rows) + noise, prior(rows, at)).T
    told: Floats = mean(at) + weights @ (values[who, which] - mean(rows))
    return told, prior(at, at) - weights @ prior(rows, at)


def unit_of(values: Floats) -> float:
    return float(np.sqrt(np.nanvar(values, axis=1).mean()))


def test_means_and_covariances_are_those_of_all_outcomes_together(
    outcomes: tuple[Floats, Floats],
) -> None:
    points, values = outcomes
    at = np.concatenate([points, [[0.5, 0.5], [3.0, 0.0]]])
    found = Belief(points, values, USUAL).at(at)
    mean, covariance = written_out(points, values, at, unit_of(values))
    assert found.mean == pytest.approx(mean, abs=1e-9)
    assert found.covariance == pytest.approx(covariance, abs=1e-9)
    assert Belief(points, values, USUAL).mean(at) == pytest.approx(mean, abs=1e-9)


def test_what_a_document_more_would_tell_is_what_it_then_tells(
    outcomes: tuple[Floats, Floats],
) -> None:
    points, values = outcomes
    made = Belief(points, values, USUAL)
    posterior = made.at(points)
    who = np.flatnonzero(~np.isnan(values[:, 5]))  # candidate 1 has not seen document 5
    told = made.told(posterior, points, (1, 0), who, 1)[0]
    more = values.copy()
    more[1, 5] = 0.3
    unit = unit_of(values)
    before = written_out(points, values, points, unit)[1]
    after = written_out(points, more, points, unit)[1]
    contrast = np.array([-1.0, 1.0, 0, 0, 0, 0])
    assert told == pytest.approx(contrast @ (before - after) @ contrast, rel=1e-6)


def test_the_best_by_luck_on_few_documents_is_not_believed_to_be_the_best() -> None:
    generator = np.random.default_rng(1)
    near, far = np.array([[1.0, 1.0]]), np.array([[2.2, 0.1]])
    values = np.full((2, 200), np.nan)
    values[0] = generator.uniform(size=200) < 0.6
    values[1, :8] = [1, 1, 1, 0, 1, 1, 1, 0]  # 75%, of eight documents
    means = Belief(np.concatenate([near, far]), values, USUAL).mean(np.concatenate([near, far]))
    assert means[0] > means[1]


def test_outcomes_win_over_what_is_known_beforehand() -> None:
    """An input that surely scores more than the usual place is believed to be better."""
    generator = np.random.default_rng(2)
    points = np.array([[1.0, 0.0], [1.0, 1.0]])
    shared = generator.uniform(size=256)
    values = np.stack([shared < 0.6, shared < 0.5]).astype(float)
    means = Belief(points, values, USUAL).mean(points)
    assert means[0] > means[1] + 0.05


def test_equal_outcomes_are_no_obstacle() -> None:
    points = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    for value in (0.0, 1.0, -2.5):
        found = Belief(points, np.full((3, 4), value), USUAL).at(points)
        assert np.isfinite(found.mean).all() and np.isfinite(found.covariance).all()


@pytest.mark.parametrize("common", [0.3, 0.96])
def test_how_much_candidates_have_in_common_is_seen_in_their_outcomes(common: float) -> None:
    """Twelve equally good ones at one place: what one of them solved, another solves as often as they have in common."""
    generator = np.random.default_rng(3)
    best = []
    for _ in range(6):
        shared, own = generator.normal(size=300), generator.normal(size=(12, 300))
        values = (np.sqrt(common) * shared + np.sqrt(1 - common) * own > 0).astype(float)
        points = generator.uniform(0.9, 1.1, (12, 2))
        means = Belief(points, values, USUAL).mean(points)
        best.append((means.max() - means.mean(), values.mean(1).max() - values.mean()))
    believed, counted = np.mean(best, axis=0)
    assert believed < 0.01 and (common > 0.5 or counted > 0.03)
