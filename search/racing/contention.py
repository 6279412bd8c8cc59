"""Whether one of several candidates may still be the best of them, by a test that may be looked at any time.

**Hypothesis.** H0: on documents like these x is at least as good as each of the others y on some suite, E[x_s - y_s] >= 0. The
best of all is one for which H0 holds; whoever is rejected is worse than some other on every suite.

**Bet.** A gambler who doubts H0 stakes a fixed share lambda on the differences d = x - y of suite s, which lie in [-1, 1]:

    K_t(y, s) = mean over lambda of prod_{i <= t} (1 - lambda d_i)        E_t = mean over y of min over s of K_t(y, s)

**Proof.** Documents are drawn in an order by chance, so that under H0 E[1 - lambda d_i | past] <= 1 for the suite s(y) of H0:
K(y, s(y)) is a nonnegative supermartingale, and so is its mean over y, which E never exceeds. By Ville's inequality
P(sup_t E_t >= 1 / a) <= a. The others are all there were, whoever was picked of them later: no choice is to be paid for.

Sources: Waudby-Smith and Ramdas 2024, doi:10.1093/jrsssb/qkad009; Vovk and Wang 2021, doi:10.1214/20-AOS2020 (means of
e-values are e-values).
"""

from __future__ import annotations

import numpy as np

from .race import STAKES
from .strata import Floats, Ints


def evidence(own: Floats, others: Floats, suites: Ints) -> tuple[float, int]:
    """Highest E_t against a candidate's being the best, and the number of the other that tells most against it.

    Args:
        own: its values, within 0 and 1, in the order in which documents were drawn, shape (m,).
        others: of all others on these documents, NaN where not scored, shape (k, m).
        suites: number of each document's suite, shape (m,).
    """
    if not len(own) or not len(others):
        return 1.0, 0
    moved = np.nan_to_num(own - others)
    least = np.full(moved.shape, np.inf)
    for suite in np.unique(suites):
        mine = np.where(suites == suite, moved, 0.0)
        growth = np.log1p(-STAKES[:, None, None] * mine[None])
        least = np.minimum(least, np.exp(growth.cumsum(2)).mean(0))
    return max(1.0, float(least.mean(0).max())), int(least.max(1).argmax())
