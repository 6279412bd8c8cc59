"""Where a proposal stands within the bounds of now: each coordinate in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .space import Bounds, Value
from .strata import Floats


def point_of(proposal: Mapping[str, Value], bounds: Bounds) -> Floats:
    """A proposal's place, shape (d,)."""
    return np.array(
        [(float(proposal[n]) - low) / ((high - low) or 1.0) for n, (low, high) in bounds.items()]
    )


def proposal_at(point: Floats, bounds: Bounds) -> dict[str, Value]:
    """Inverse of `point_of`."""
    pairs = zip(bounds.items(), point, strict=True)
    return {name: low + float(x) * (high - low) for (name, (low, high)), x in pairs}
