"""Where to spend the next documents: the knowledge gradient over new and over begun points.

A look at point x through m documents would move the posterior means by sigma(x', x) z, z ~ N(0, 1):

    sigma(x', x) = cov(x', x) / sqrt(cov(x, x) + nugget + noise / m)
    KG(x) = E max_x' (mu(x') + sigma(x', x) z) - max_x' mu(x')

(Frazier, Powell and Dayanik 2009, doi:10.1287/ijoc.1080.0314, eq. 11, here by quadrature over z.) It
asks what a look would change about which point is named best, so noise is part of it, and a point that was begun and
left may be worth a second look. The maximum runs over points drawn at random, points about the best ones
in steps from coarse to fine, and all points that were tried.

With more than `FEW` coefficients the first rounds move all groups of a checkpoint together, and later
ones a random few of them at a time (random subspaces; Wang et al. 2016, arXiv:1301.1942).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from .strata import Floats
from .surrogate import Posterior, Surrogate

FEW = 4
# Points tried before groups move apart, per block of coefficients.
TOGETHER = 6

_LEVELS = (np.arange(9) + 0.5) / 9
_Z: Floats = np.array([NormalDist().inv_cdf(level) for level in _LEVELS])
_Z /= np.sqrt(np.mean(_Z**2))


@dataclass(frozen=True)
class Choice:
    """What to look at next.

    Attributes:
        point: in [0, 1], shape (d,).
        begun: number of the tried point that it is; None for a new one.
        gain: knowledge gradient, in units of the metric: by how much the look is expected to
            raise the best posterior mean.
        chunks: chunks of documents to score, unless the race ends before.
    """

    point: Floats
    begun: int | None
    gain: float
    chunks: int = 1


def knowledge_gradient(posterior: Posterior, noise: Floats) -> Floats:
    """KG of a look at each point, the maximum being over the same points.

    Args:
        posterior: at q points.
        noise: variance of what a look at each would tell, nugget included, shape (q,).
    """
    variance = np.maximum(np.diag(posterior.covariance), 1e-12)
    sigma = posterior.covariance / np.sqrt(variance + noise)[None]
    moved = posterior.mean[:, None, None] + sigma[:, :, None] * _Z
    result: Floats = moved.max(0).mean(-1) - posterior.mean.max()
    return result


def choose(
    surrogate: Surrogate,
    open_points: Sequence[int],
    look: float,
    generator: np.random.Generator,
    blocks: Sequence[Sequence[int]] = (),
    wide: int = 40,
    near: int = 20,
    tried: int | None = None,
) -> Choice:
    """The point at which a look is worth most.

    Args:
        surrogate: fitted to all points tried.
        open_points: numbers of those that may be looked at again.
        look: variance of the estimate that one look gives.
        generator: of the random points.
        blocks: coefficients that belong together, e.g. the groups of one checkpoint.
        wide: random points all over; `near`: about each of the two best.
        tried: how many of the surrogate's points were tried, the others being in hand; all by default.
    """
    d = surrogate.x.shape[1]
    tried = len(surrogate.x) if tried is None else tried
    means = surrogate.at(surrogate.x[:tried]).mean
    centres = surrogate.x[np.argsort(-means)[:2]]
    fresh = candidates(centres, tried, d, generator, blocks, wide, near)
    points = np.concatenate([surrogate.x, fresh])
    posterior = surrogate.at(points)
    worth = knowledge_gradient(posterior, np.full(len(points), surrogate.nugget + look))
    closed = np.ones(len(points), dtype=bool)
    closed[list(open_points)] = False
    closed[len(surrogate.x) :] = False
    worth = np.where(closed, -np.inf, worth)
    best = int(np.argmax(worth))
    begun = best if best < len(surrogate.x) else None
    return Choice(points[best], begun, float(worth[best]))


def best_point(
    surrogate: Surrogate, generator: np.random.Generator, caution: float = 0.5, rounds: int = 2
) -> tuple[Floats, int | None]:
    """The point to name best: where posterior mean minus `caution` standard deviations is highest.

    Returns:
        The point, and its number when it was tried.
    """
    points = surrogate.x
    best = _most(surrogate, points, caution)
    for _ in range(rounds):
        point = points[best]
        around = _about(point, 40, generator, len(point))
        points = np.concatenate([surrogate.x, point[None], around])
        best = _most(surrogate, points, caution)
    return points[best], best if best < len(surrogate.x) else None


def _most(surrogate: Surrogate, points: Floats, caution: float) -> int:
    posterior = surrogate.at(points)
    deviation = np.sqrt(np.maximum(np.diag(posterior.covariance), 0))
    return int(np.argmax(posterior.mean - caution * deviation))


def candidates(
    centres: Floats,
    tried: int,
    d: int,
    generator: np.random.Generator,
    blocks: Sequence[Sequence[int]] = (),
    wide: int = 40,
    near: int = 20,
) -> Floats:
    """Points to choose from, in [0, 1], shape (about wide + near * len(centres), d)."""
    tied = list(blocks) if d > FEW else []
    if tied and tried < TOGETHER * len(tied):
        spread = generator.random((wide, len(tied)))
        points = [_untie(spread, tied, d)]
        for centre in centres:
            middle = np.array([centre[list(block)].mean() for block in tied])
            points.append(_untie(_about(middle, near, generator, len(tied)), tied, d))
        return np.concatenate(points)
    few = d if d <= FEW else max(2, d // 3)
    return np.concatenate(
        [generator.random((wide, d)), *(_about(c, near, generator, few) for c in centres)]
    )


def _about(centre: Floats, count: int, generator: np.random.Generator, few: int) -> Floats:
    """Points about one, in steps from coarse to fine, `few` random coordinates at a time."""
    d = len(centre)
    scale = 0.3 * 2.0 ** -generator.uniform(0, 4, size=(count, 1))
    moved = generator.random((count, d)).argsort(1) < few
    return np.clip(centre + np.where(moved, scale * generator.normal(size=(count, d)), 0), 0, 1)


def _untie(values: Floats, blocks: Sequence[Sequence[int]], d: int) -> Floats:
    """One value per block, given to all of its coefficients."""
    result = np.full((len(values), d), 0.5)
    for column, block in enumerate(blocks):
        result[:, list(block)] = values[:, column : column + 1]
    return result
