"""CMA-ES over the proposals of a study, replayed from its history.

The distribution is that of the generations that are whole; a proposal draws from it with a seed of its own, so
any worker can make the next one, and none has a state to lose. Learning rates adapt to noise (Nomura et al.
2023, arXiv:2304.03473): estimates of stopped candidates are told like scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exme.search.racing.strata import Floats

STEP = 1 / 6  # of the bounds' width, to begin with


def evolve(
    start: Floats, told: Sequence[tuple[Floats, float]], bounds: Floats, seed: int
) -> Floats:
    """The next point of an evolution.

    Args:
        start: mean to begin with, shape (d,).
        told: its points so far with what they scored, in order.
        bounds: lowest and highest value of each coordinate, shape (d, 2).
        seed: of this point.
    Returns:
        Shape (d,).
    """
    from cmaes import CMA  # noqa: PLC0415  (brings scipy.stats: 18 MB that no other sampler needs)

    # (one coordinate more than there is, where there is one: the library wants two)
    pad = np.zeros(int(len(start) == 1))
    limits = np.concatenate([bounds, np.tile([[-1.0, 1.0]], (len(pad), 1))])
    mean = np.append(np.clip(start, bounds[:, 0], bounds[:, 1]), pad)
    evolution = CMA(mean, STEP, bounds=limits, seed=seed, lr_adapt=True)
    size = evolution.population_size
    for first in range(0, len(told) - size + 1, size):
        batch = told[first : first + size]
        evolution.tell([(np.append(x, pad), -value) for x, value in batch])
    drawn: Floats = evolution.ask()[: len(start)]
    return drawn
