"""The colours of scores, in every picture: viridis, which the colour-blind can read.

Source: Smith and van der Walt's viridis (matplotlib 1.5, 2015), at ten places of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PLACES = np.array(
    [
        [68, 1, 84], [72, 40, 120], [62, 73, 137], [49, 104, 142], [38, 130, 142],
        [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37],
    ],
    dtype=float,
)  # fmt: skip


def viridis(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Red, green and blue, shape (*s, 3), of shares between 0 and 1, shape (*s)."""
    at = np.clip(shares, 0, 1) * (len(_PLACES) - 1)
    parts = [np.interp(at, np.arange(len(_PLACES)), _PLACES[:, c]) for c in range(3)]
    return np.stack(parts, axis=-1).round().astype(np.uint8)


def shares_of(scores: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where scores lie between the lowest and the highest of others that the picture shows."""
    floor, top = ends_of(among)
    return np.asarray(np.clip((scores - floor) / (top - floor), 0, 1))


def ends_of(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Scores at which the colours begin and end, one below the other."""
    floor, top = lowest_shown(scores), float(np.max(scores))
    return (floor if floor < top else top - 1.0), top


def lowest_shown(scores: NDArray[np.float64]) -> float:
    """The lowest score that a picture tells from those below it.

    A few very bad trials must not take the room and the colours from the good ones: far below the median all are the
    same.
    """
    low, middle, top = (float(f(scores)) for f in (np.min, np.median, np.max))
    return max(low, 3 * middle - 2 * top)
