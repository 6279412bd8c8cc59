"""A Gaussian process over coefficients, for estimates that are not equally sure.

Notation: n points in d coefficients, each scaled to [0, 1] within its bounds; y the estimates, s2
their squared standard errors.

    y_i = m + f(x_i) + e_i + g_i,    e_i ~ N(0, s2_i) known,    g_i ~ N(0, nugget)
    cov(f(x), f(x')) = amplitude (1 + r + r^2 / 3) exp(-r),  r^2 = 5 sum_k ((x_k - x'_k) / l_k)^2

the Matern kernel with nu = 5/2 and a length l_k per coefficient (Rasmussen and Williams 2006, eq. 4.17
and sec. 2.2). The nugget takes up what is true of these documents only: on finitely many documents
the score is not smooth, and chasing its roughness would be fitting the documents. The constant m is
integrated out under a broad prior. Lengths, amplitude and nugget are the maximum of the marginal
likelihood (eq. 5.8) times log-normal priors, by L-BFGS with its gradient (eq. 5.9).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from .strata import Floats

# Priors: median and standard deviation of the logarithm. Lengths in widths of the bounds: scores of
# merges change over about half of them; with d coefficients distances grow as sqrt(d), and so do
# lengths (Hvarfner et al. 2024, arXiv:2402.02229).
_LENGTH = (0.5, 0.6)
_AMPLITUDE = (1.0, 1.0)  # of the spread of y
_NUGGET = (0.01, 1.0)  # of the spread of y
_BROAD = 25.0  # prior variance of m, in squared spreads of y


@dataclass(frozen=True)
class Posterior:
    """What is believed at some points: means, shape (q,), and covariances, shape (q, q)."""

    mean: Floats
    covariance: Floats


@dataclass(frozen=True)
class Surrogate:
    """A fitted process.

    Attributes:
        x: points, shape (n, d), in [0, 1].
        lengths: l, shape (d,).
        amplitude: variance of f; `nugget`: variance of g; in squared units of y.
        centre: mean of y, about which m varies; `spread`: unit of y's deviations.
        root: lower Cholesky root of the covariance of y, shape (n, n).
        weights: its solution for y - centre, shape (n,).
    """

    x: Floats
    lengths: Floats
    amplitude: float
    nugget: float
    centre: float
    spread: float
    root: Floats
    weights: Floats

    def at(self, points: Floats) -> Posterior:
        """Posterior of m + f at points in [0, 1], shape (q, d)."""
        level = _BROAD * self.spread**2
        cross = self._kernel(points, self.x) + level
        solved = linalg.solve_triangular(self.root, cross.T, lower=True, check_finite=False)
        mean: Floats = self.centre + cross @ self.weights
        return Posterior(mean, self._kernel(points, points) + level - solved.T @ solved)

    def _kernel(self, a: Floats, b: Floats) -> Floats:
        return self.amplitude * _matern(_scaled(a, b, self.lengths))


def fit(
    x: Floats,
    y: Floats,
    variances: Floats,
    nugget: float | None = None,
) -> Surrogate:
    """Fit the process to estimates.

    Args:
        x: points in [0, 1], shape (n, d), n >= 1.
        y: estimates, shape (n,).
        variances: their squared standard errors, shape (n,).
        nugget: prior median of the nugget, in squared units of y; by default a hundredth of y's variance.
    """
    errors = np.diag(variances)
    return conditioned(x, y, errors, tuned(x, y, errors, nugget))


def tuned(
    x: Floats,
    y: Floats,
    errors: Floats,
    nugget: float | None = None,
) -> Floats:
    """The logarithms of lengths, amplitude and nugget in units of y's spread, shape (d + 2,).

    Args:
        x: points, `y` estimates, and `nugget`, as `fit` takes them.
        y: estimates, shape (n,).
        errors: covariances of the estimates' errors, shape (n, n).
        nugget: see `fit`.
    """
    n, d = x.shape
    centre, spread = _unit(y)
    scaled, noise = (y - centre) / spread, errors / spread**2
    rough = _NUGGET[0] if nugget is None else min(max(nugget / spread**2, 1e-4), 1.0)
    squares = (x[:, None, :] - x[None, :, :]) ** 2
    median = np.log(
        np.concatenate([np.full(d, _LENGTH[0] * np.sqrt(d / 2)), [_AMPLITUDE[0], rough]])
    )
    width = np.concatenate([np.full(d, _LENGTH[1]), [_AMPLITUDE[1], _NUGGET[1]]])

    def loss(theta: Floats) -> tuple[float, Floats]:
        lengths, amplitude, nugget = np.exp(theta[:d]), np.exp(theta[d]), np.exp(theta[d + 1])
        r = np.sqrt(5 * (squares / lengths**2).sum(-1))
        shape = _matern(r)
        covariance = amplitude * shape + _BROAD + noise
        covariance[np.diag_indices(n)] += nugget + 1e-8
        try:
            root = linalg.cholesky(covariance, lower=True, check_finite=False)
        except linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse = linalg.cho_solve((root, True), np.eye(n), check_finite=False)
        alpha = inverse @ scaled
        value = 0.5 * scaled @ alpha + np.log(np.diag(root)).sum()
        pull = inverse - np.outer(alpha, alpha)
        # d shape / d log l_k = (1 + r) exp(-r) / 3 * 5 (x_k - x'_k)^2 / l_k^2
        slope = amplitude * (1 + r) * np.exp(-r) * 5 / 3
        gradient = np.empty(d + 2)
        for k in range(d):
            gradient[k] = 0.5 * (pull * slope * squares[:, :, k]).sum() / lengths[k] ** 2
        gradient[d] = 0.5 * amplitude * (pull * shape).sum()
        gradient[d + 1] = 0.5 * nugget * np.trace(pull)
        away = (theta - median) / width
        return float(value + 0.5 * away @ away), gradient + away / width

    found = optimize.minimize(
        loss,
        median,
        jac=True,
        method="L-BFGS-B",
        bounds=[(m - 4 * w, m + 4 * w) for m, w in zip(median, width, strict=True)],
        options={"maxiter": 25},
    )
    return np.asarray(found.x, dtype=float)


def conditioned(x: Floats, y: Floats, errors: Floats, theta: Floats) -> Surrogate:
    """The process given estimates with known covariances of their errors, shape (n, n), and what `tuned` gave."""
    d = x.shape[1]
    centre, spread = _unit(y)
    lengths = np.exp(theta[:d])
    amplitude, nugget = np.exp(theta[d]) * spread**2, np.exp(theta[d + 1]) * spread**2
    covariance = amplitude * _matern(_scaled(x, x, lengths)) + _BROAD * spread**2 + errors
    covariance[np.diag_indices(len(x))] += nugget + 1e-8 * spread**2
    root = linalg.cholesky(covariance, lower=True)
    weights = linalg.cho_solve((root, True), y - centre)
    return Surrogate(x, lengths, float(amplitude), float(nugget), centre, spread, root, weights)


def _unit(y: Floats) -> tuple[float, float]:
    """Mean of the estimates, and the unit of their deviations from it."""
    return float(np.mean(y)), max(float(np.std(y)), 1e-3)


def _scaled(a: Floats, b: Floats, lengths: Floats) -> Floats:
    """r of the kernel between all pairs, shape (len(a), len(b))."""
    left, right = a / lengths, b / lengths
    squared = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T
    result: Floats = np.sqrt(5 * np.maximum(squared, 0))
    return result


def _matern(r: Floats) -> Floats:
    value: Floats = (1 + r + r**2 / 3) * np.exp(-r)
    return value
