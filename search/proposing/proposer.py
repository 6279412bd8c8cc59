"""Where to spend the next documents: the knowledge gradient over new and over begun points.

A look at point x through m of n documents would move the posterior means by sigma(x', x) z, z ~ N(0, 1):

    sigma(x', x) = cov(x', x) / sqrt(cov(x, x) + nugget + noise(m)),    noise(m) = spread (1 / m - 1 / n)
    KG(x, m) = E max_x' (mu(x') + sigma(x', x) z) - max_x' mu(x')

(Frazier, Powell and Dayanik 2009, doi:10.1287/ijoc.1080.0314, eq. 11, here by quadrature over z.) It
asks what a look would change about which point is named best, so noise is part of it, and a point that was begun and
left may be worth a second look. What is chosen is the point and the length with the largest gain for each document: a score on
all documents is without noise, so a long look can be worth more than its parts. The maximum runs over points drawn at random,
points about the best ones in steps from coarse to fine, the tops of the surrogate and of optimistic views of it, which local ascent
finds, and all points that were tried.

With more than `FEW` coefficients the first rounds move all groups of a checkpoint together, and later
ones a random few of them at a time (random subspaces; Wang et al. 2016, arXiv:1301.1942).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy import optimize

from exme.search.racing.strata import Floats
from exme.search.racing.surrogate import Posterior, Surrogate

FEW = 4

# Drawn points that are climbed from, in each optimistic view.
STARTS = 2

# Standard deviations below the posterior mean at which points are compared when one is named best.
CAUTION = 0.5
# Points tried before groups move apart, per block of coefficients. On the tuning landscapes of 6 and of 12
# coefficients 24 needed about half of the documents that 6 did.
TOGETHER = 24

_LEVELS = (np.arange(9) + 0.5) / 9
_Z: Floats = np.array([NormalDist().inv_cdf(level) for level in _LEVELS])
_Z /= np.sqrt(np.mean(_Z**2))


@dataclass(frozen=True)
class Choice:
    """What to look at next.

    Attributes:
        point: in [0, 1], shape (d,).
        begun: number of the tried point that it is; None for a new one.
        gain: knowledge gradient for each document, in units of the metric: by how much the look is expected to
            raise the best posterior mean.
        documents: to score, unless the race ends before; at most those that are left.
    """

    point: Floats
    begun: int | None
    gain: float
    documents: int = 1


class NothingLeft(Exception):
    """No point is left that may be looked at."""


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
    open_points: Mapping[int, int],
    looks: Mapping[int, float],
    generator: np.random.Generator,
    blocks: Sequence[Sequence[int]] = (),
    wide: int = 40,
    near: int = 20,
    tried: int | None = None,
    is_new: Callable[[Floats], bool] = lambda point: True,
) -> Choice:
    """The evaluation with the highest expected improvement per document (knowledge gradient).

    Args:
        surrogate: fitted to all points tried.
        open_points: by number, the documents that are left of those that may be looked at again.
        looks: by number of documents, the variance of the estimate that a look gives.
        generator: of the random points.
        blocks: coefficients that belong together, e.g. the groups of one checkpoint.
        wide: random points all over; `near`: about each of the two best.
        tried: how many of the surrogate's points were tried, the others being in hand; all by default.
        is_new: whether a look at a point that was not tried may be chosen. Tops of the surrogate are points
            that were tried already where it is flat, and others are rounded to such points.

    Raises:
        NothingLeft: no point may be looked at.
    """
    d = surrogate.x.shape[1]
    tried = len(surrogate.x) if tried is None else tried
    means = surrogate.at(surrogate.x[:tried]).mean
    centres = surrogate.x[np.argsort(-means)[:2]]
    fresh = candidates(centres, tried, d, generator, blocks, wide, near)
    if wide + near:
        fresh = np.concatenate([fresh, summits(surrogate, centres, fresh, ties(d, tried, blocks))])
    points = np.concatenate([surrogate.x, fresh])
    posterior = surrogate.at(points)
    left = np.zeros(len(points))
    left[len(surrogate.x) :] = [np.inf if is_new(point) else 0.0 for point in fresh]
    left[list(open_points)] = list(open_points.values())
    if not left.any():
        raise NothingLeft
    first = int(np.argmax(left > 0))
    best = Choice(points[first], first if first < len(surrogate.x) else None, -np.inf)
    for documents, noise in looks.items():
        worth = knowledge_gradient(posterior, np.full(len(points), surrogate.nugget + noise))
        each = np.where(left > 0, worth, -np.inf) / np.clip(left, 1, documents)
        i = int(np.argmax(each))
        if each[i] > best.gain:
            begun = i if i < len(surrogate.x) else None
            best = Choice(points[i], begun, float(each[i]), documents)
    return best


def summits(surrogate: Surrogate, centres: Floats, drawn: Floats, directions: Floats) -> Floats:
    """Where the surrogate is highest nearby, in the mean and in optimistic views of it, shape (about 3 * STARTS + 1, d).

    Drawn points alone miss the top where there are many coefficients.

    Args:
        surrogate: fitted.
        centres: to climb from in the mean; `drawn`: the best `STARTS` of these are climbed from in optimistic views.
        directions: those in which to move, shape (d, k).
    """
    found = [_climb(surrogate, c, 0.0, directions) for c in centres]
    for optimism in (1.0, 2.0):
        posterior = surrogate.at(drawn)
        deviation = np.sqrt(np.maximum(np.diag(posterior.covariance), 0))
        order = np.argsort(-(posterior.mean + optimism * deviation))
        found += [_climb(surrogate, drawn[i], optimism, directions) for i in order[:STARTS]]
    return np.array(found)


def _climb(surrogate: Surrogate, start: Floats, optimism: float, directions: Floats) -> Floats:
    """The nearest top of mean plus so many standard deviations, within [0, 1]."""
    shares = directions / directions.sum(0)  # coordinates are means over what moves together

    def loss(point: Floats) -> tuple[float, Floats]:
        value, gradient = surrogate.height(directions @ point, optimism)
        return -value / surrogate.spread, -(gradient @ directions) / surrogate.spread

    top = optimize.minimize(
        loss,
        start @ shares,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 1)] * directions.shape[1],
        options={"maxiter": 15},
    )
    point: Floats = np.clip(directions @ top.x, 0, 1)
    return point


def ties(d: int, tried: int, blocks: Sequence[Sequence[int]]) -> Floats:
    """What moves together after so many points, as directions, shape (d, k)."""
    if not _is_tied(d, tried, blocks):
        return np.eye(d)
    columns = np.zeros((d, len(blocks)))
    for column, block in enumerate(blocks):
        columns[list(block), column] = 1.0
    return columns


def _is_tied(d: int, tried: int, blocks: Sequence[Sequence[int]]) -> bool:
    return d > FEW and bool(blocks) and tried < TOGETHER * len(blocks)


def best_point(surrogate: Surrogate, generator: np.random.Generator) -> tuple[Floats, int | None]:
    """The point to name best: where posterior mean minus `CAUTION` standard deviations is highest.

    Of a point that was tried, of its score on these documents; of another, of what the process says of it.

    Returns:
        The point, and its number when it was tried.
    """
    tried = surrogate.tried()
    known = _cautious(tried)
    point, best, number = surrogate.x[np.argmax(known)], float(known.max()), int(np.argmax(known))
    named: int | None = number
    start = surrogate.x[int(np.argmax(_cautious(surrogate.at(surrogate.x))))]
    points = _climb(surrogate, start, -CAUTION, np.eye(len(start)))[None]
    for _ in range(2):
        worth = _cautious(surrogate.at(points), surrogate.nugget)
        if worth.max() > best:
            point, best, named = points[np.argmax(worth)], float(worth.max()), None
        points = _about(point, 40, generator, len(point))
    return point, named


def _cautious(posterior: Posterior, rough: float = 0.0) -> Floats:
    deviation = np.sqrt(np.maximum(np.diag(posterior.covariance), 0) + rough)
    worth: Floats = posterior.mean - CAUTION * deviation
    return worth


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
    if _is_tied(d, tried, blocks):
        tied = list(blocks)
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
