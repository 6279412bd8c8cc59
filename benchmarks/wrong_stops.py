"""How often a race stops a candidate that is better than the incumbent, on real outcomes.

    python -m benchmarks.wrong_stops

Races: pairs of a landscape's points, each candidate with strata from a handful of other points, as a
search has them, beside Optuna's WilcoxonPruner.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from exme.search.racing.race import Leg, Race
from exme.search.racing.strata import draw_order, stratify

from .landscape import FOLDER, Floats, Landscape, load

GAPS = (0.02, 0.05, 0.1, 0.2, 1.0)
KNOWN = 6  # points whose outcomes made the strata


def races(landscape: Landscape, pairs: int, seed: int = 0) -> None:
    """Print how often candidates are stopped, and after how many documents, by their true gap."""
    generator = np.random.default_rng(seed)
    table = landscape.outcomes.astype(float)
    n = landscape.count
    rows: dict[str, list[tuple[int, bool, int, int | None]]] = {}
    for number in range(pairs):
        x, y = (table[i] for i in generator.choice(len(table), 2, replace=False))
        gap = float(y.mean() - x.mean())
        strata = stratify([table[i] for i in generator.choice(len(table), KNOWN)])
        order = draw_order(strata, [seed, number])
        ours = Race(order, (Leg(0, y),)).stops_at(x[order.documents])
        plain = generator.permutation(n)
        theirs = pruned_at(x[plain], y[plain], float(y.mean()), 0.1)
        rows.setdefault(_bin(gap), []).append((ours or n, ours is not None, theirs or n, theirs))
    print(f"\n{landscape.name}: {pairs} races on {n} documents")
    print(
        "| the candidate is | races | stopped | documents | WilcoxonPruner: stopped | documents |"
    )
    for name, part in sorted(rows.items()):
        ours_at, ours_hit = np.mean([r[0] for r in part]), np.mean([r[1] for r in part])
        their_at = np.mean([r[2] for r in part])
        their_hit = np.mean([r[3] is not None for r in part])
        print(
            f"| {name} | {len(part)} | {ours_hit:.1%} | {ours_at:.0f} "
            f"| {their_hit:.1%} | {their_at:.0f} |"
        )


def landscapes(name: str) -> dict[str, Landscape]:
    """The landscape on all documents, and one for each kind of documents."""
    whole = load(FOLDER / f"{name}.npz")
    found = {name: whole}
    for kind in sorted(set(whole.kinds)):
        chosen = np.array([k == kind for k in whole.kinds])
        if kind:
            found[kind] = whole.of(f"{name}: {kind}", chosen)
    return found


def pruned_at(values: Floats, best: Floats, best_mean: float, threshold: float) -> int | None:
    """Document after which optuna.pruners.WilcoxonPruner would prune; None for never.

    Its test, `scipy.stats.wilcoxon(..., zero_method="zsplit")`, for differences of -1, 0 and 1 at all
    numbers of documents at once, by the normal approximation that scipy uses where there are ties.

    Args:
        values: the trial's, 0 or 1, in order, shape (n,).
        best: the best trial's on the same documents, NaN where it has none, shape (n,).
        best_mean: of the best trial.
        threshold: of the p-value.
    """
    difference = np.nan_to_num(values - best)
    n = (~np.isnan(best)).cumsum().astype(float)
    won, lost = (difference > 0).cumsum(), (difference < 0).cumsum()
    zero = n - won - lost
    moved = won + lost
    rank_zero, rank_moved = (zero + 1) / 2, zero + (moved + 1) / 2
    plus = rank_moved * won + rank_zero * zero / 2
    mean = n * (n + 1) / 4
    square = n * (n + 1) * (2 * n + 1) - (zero**3 - zero) / 2 - (moved**3 - moved) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (plus - mean) / np.sqrt(square / 24)
    p = np.nan_to_num(stats.norm.cdf(z), nan=1.0)
    running = values.cumsum() / np.arange(1, len(values) + 1)
    hits = np.flatnonzero((p < threshold) & (n >= 2) & (best_mean > running))
    return int(hits[0]) + 1 if len(hits) else None


def _bin(gap: float) -> str:
    if gap == 0:
        return "equal"
    top = next(g for g in GAPS if abs(gap) <= g)
    return f"{'worse' if gap > 0 else 'better'} by up to {100 * top:3.0f} points"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--landscape", default="gsm8k-mini")
    parser.add_argument("--pairs", type=int, default=4000)
    options = parser.parse_args()
    for landscape in landscapes(options.landscape).values():
        races(landscape, options.pairs)


if __name__ == "__main__":
    main()
