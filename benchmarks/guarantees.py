"""Whether a search fools its user: wrong stops and false proofs, on real outcomes.

    python -m benchmarks.guarantees

Races: pairs of a landscape's points, each candidate with strata from a handful of other points, as a
search has them. Proofs: report documents drawn from a landscape's documents, with what
`exme.search.verdict` asks of the one-sided p-value.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from exme.evaluators.scores import DocumentScores
from exme.search.racing import Leg, Race
from exme.search.statistics import compare
from exme.search.strata import draw_order, stratify
from exme.search.verdict import SIGNIFICANCE

from .landscape import Floats, Landscape
from .methods import pruned_at
from .replay import landscapes

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


def _bin(gap: float) -> str:
    if gap == 0:
        return "equal"
    top = next(g for g in GAPS if abs(gap) <= g)
    return f"{'worse' if gap > 0 else 'better'} by up to {100 * top:3.0f} points"


def proofs(landscape: Landscape, runs: int, count: int = 500, seed: int = 0) -> None:
    """Print how often a gain is called proved: with none there, and with one of 5 points.

    The pairs are real: two points of the landscape whose gap is nearest to 0 or 5 points, their
    documents drawn with replacement. To have the gap exactly, discordant documents are drawn with the odds that
    make it so, at the pair's own discordance.
    """
    generator = np.random.default_rng(seed)
    table = landscape.outcomes.astype(float)
    print(f"\n{landscape.name}: proofs on {count} report documents")
    print("| true gain | discordant documents | runs | proved |")
    for gain in (0.0, 0.05):
        shares = _discordances(table, gain)
        for name, share in zip(
            ("a quarter of pairs below", "median pair", "a quarter of pairs above"),
            np.quantile(shares, [0.25, 0.5, 0.75]),
            strict=True,
        ):
            odds = ((share + gain) / 2, (share - gain) / 2, 1 - share)
            drawn = generator.multinomial(count, odds, size=runs)
            known = {(int(w), int(k)): False for w, k, _ in drawn}
            for won, lost in known:
                result = compare(*_pair(won, lost, count))
                better = result.difference.estimate > 0
                known[won, lost] = better and result.p_better < SIGNIFICANCE
            hits = np.mean([known[int(w), int(k)] for w, k, _ in drawn])
            print(f"| {100 * gain:.0f} points | {share:.1%} ({name}) | {runs} | {hits:.1%} |")


def _discordances(table: Floats, gain: float) -> Sequence[float]:
    """Share of documents on which good candidates of this gap differ, within a point."""
    means = table.mean(1)
    good = np.flatnonzero(means >= np.quantile(means, 0.5))
    return [
        float((table[i] != table[j]).mean())
        for i in good
        for j in good
        if i != j and abs(means[i] - means[j] - gain) <= 0.01
    ]


def _pair(won: int, lost: int, count: int) -> tuple[DocumentScores, DocumentScores]:
    same = count - won - lost
    names = tuple(map(str, range(count)))
    first = (1.0,) * won + (0.0,) * lost + (1.0,) * same
    second = (0.0,) * won + (1.0,) * lost + (1.0,) * same
    return (
        DocumentScores("gsm8k", "report", "accuracy", names, first, 0),
        DocumentScores("gsm8k", "report", "accuracy", names, second, 0),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--landscape", default="gsm8k-mini")
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=2000)
    options = parser.parse_args()
    for landscape in landscapes(options.landscape).values():
        races(landscape, options.pairs)
    proofs(landscapes(options.landscape)[options.landscape], options.runs)


if __name__ == "__main__":
    main()
