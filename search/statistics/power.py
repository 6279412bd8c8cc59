"""How many documents a test would need to show a gain."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import special

from .paired import Floats

POWER = 0.8


def documents_needed(
    moved: Sequence[tuple[float, Floats]], gain: float, level: float
) -> int | None:
    """Documents on which a gain would be shown in four of five tries, if documents differ as much as these do.

    By the normal approximation: the mean's standard error must be gain / (z_(1 - level) + z_POWER). With several suites each
    keeps its share of the documents. Checked by simulation in its test; for bounded values that are not 0 and 1 the test
    needs more.

    Args:
        moved: per suite its weight and the differences seen, shape (n,) each; weights add up to 1.
        gain: in the scores' own unit.
        level: one-sided.

    Returns:
        None where no document differs, so that nobody can say.
    """
    count = sum(len(d) for _, d in moved)
    variance = sum(w * w * float(d.var()) / len(d) for w, d in moved)
    if not variance:
        return None
    reach = float(special.ndtri(1 - level) + special.ndtri(POWER))
    return math.ceil(count * variance * (reach / gain) ** 2)
