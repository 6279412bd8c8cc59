"""The Gaussian process, against its equations and as a judge of noisy scores."""

from __future__ import annotations

import numpy as np
import pytest

from exme.search.racing.strata import Floats
from exme.search.racing.surrogate import fit


def hill(x: Floats) -> Floats:
    value: Floats = 0.6 - 0.8 * ((x - [0.6, 0.3]) ** 2).sum(1)
    return value


def test_the_posterior_is_that_of_the_equations() -> None:
    generator = np.random.default_rng(0)
    x, points = generator.random((8, 2)), generator.random((3, 2))
    y, variances = hill(x), generator.uniform(1e-4, 1e-2, 8)
    s = fit(x, y, variances)

    def kernel(a: Floats, b: Floats) -> Floats:
        r = np.sqrt(5) * np.linalg.norm((a[:, None] - b[None]) / s.lengths, axis=2)
        value: Floats = s.amplitude * (1 + r + r**2 / 3) * np.exp(-r) + 25 * s.spread**2
        return value

    noise = np.diag(variances + s.nugget + 1e-8 * s.spread**2)
    gain = kernel(points, x) @ np.linalg.inv(kernel(x, x) + noise)
    posterior = s.at(points)
    assert posterior.mean == pytest.approx(s.centre + gain @ (y - s.centre), abs=1e-6)
    wanted = kernel(points, points) - gain @ kernel(x, points)
    assert posterior.covariance == pytest.approx(wanted, abs=1e-6)


def test_a_sure_estimate_counts_for_more_than_an_unsure_one() -> None:
    x = np.array([[0.5, 0.5], [0.5, 0.5], [0.0, 0.0], [1.0, 1.0]])
    y = np.array([0.7, 0.3, 0.4, 0.5])
    first = fit(x, y, np.array([1e-6, 0.04, 1e-3, 1e-3])).at(x[:1]).mean[0]
    second = fit(x, y, np.array([0.04, 1e-6, 1e-3, 1e-3])).at(x[:1]).mean[0]
    assert first > 0.6 and second < 0.4


def test_noisy_looks_all_over_say_where_the_hill_is_and_how_sure_that_is() -> None:
    away, misses = [], []
    for seed in range(30):
        generator = np.random.default_rng(seed)
        x = generator.random((40, 2))
        y = hill(x) + generator.normal(0, 0.05, 40)
        surrogate = fit(x, y, np.full(40, 0.05**2))
        grid = generator.random((300, 2))
        posterior = surrogate.at(grid)
        away.append(hill(grid).max() - hill(grid[[posterior.mean.argmax()]])[0])
        deviation = np.sqrt(np.diag(posterior.covariance))
        misses.append(np.mean(np.abs(posterior.mean - hill(grid)) > 2 * deviation))
    assert np.median(away) < 0.02
    assert np.mean(misses) < 0.15


def test_a_coefficient_that_does_nothing_gets_a_long_length() -> None:
    x = np.random.default_rng(0).random((40, 2))
    surrogate = fit(x, np.sin(6 * x[:, 0]), np.full(40, 1e-4))
    assert surrogate.lengths[1] > 3 * surrogate.lengths[0]


@pytest.mark.parametrize("y", [[0.5], [0.5, 0.5, 0.5]])
def test_few_or_equal_estimates_are_no_obstacle(y: list[float]) -> None:
    x = np.linspace(0, 1, len(y))[:, None]
    posterior = fit(x, np.array(y), np.full(len(y), 0.01)).at(x)
    assert posterior.mean == pytest.approx(y, abs=0.05)
    assert np.isfinite(posterior.covariance).all()
