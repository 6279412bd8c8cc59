"""What a search gains on fresh documents: `python -m benchmarks.search_gain --seeds 40 --budgets 1,2,4,8,20`.

Every landscape's documents are split at random into two halves: one is searched, and the gain of the model that is
named over the best input is measured on the other. Budgets are in multiples of all search documents. A method is
listed at the budgets that pay for it: a grid of nine points from 9 on. `difference` is the product's gain less the
method's on the same halves, with its standard error.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.landscape import FOLDER, load

from .by_chance import grid_raced, halving, random, random_raced
from .half import Half, halves
from .plain import PLAIN, cost, named
from .samplers import SAMPLERS

PRODUCT = "product"
BY_CHANCE = {
    "random": random,
    "random + racing": random_raced,
    "grid + racing": grid_raced,
    "successive halving": halving,
}
METHODS = (PRODUCT, *PLAIN, *BY_CHANCE, *SAMPLERS)
# Searchers were tuned on these landscapes; all others are only reported.
TUNED_ON = ("gsm8k", "math", "gsm8k-6", "mmlu-12")

Gains = dict[tuple[str, float], list[float]]


def gains(
    half: Half, budgets: Sequence[float], methods: Iterable[str], workers: Sequence[int] = (1,)
) -> dict[tuple[str, float], float]:
    """Gain of what each method names, by method and budget, in points; the product's with so many workers at once."""
    found: dict[tuple[str, float], float] = {}
    for method in methods:
        if method == PRODUCT:
            from .product import product  # noqa: PLC0415  (loads torch)

            for count in workers[1:]:
                several = product(half, budgets, count)
                name = f"{PRODUCT}, {count} workers"
                found |= {(name, b): half.gain(point) for b, point in several.items()}
            named_at: Mapping[float, Any] = product(half, budgets, workers[0])
        elif method in PLAIN:
            points = PLAIN[method](half)
            best = named(points, half)
            named_at = {b: best for b in budgets if cost(points) <= b}
        elif method in BY_CHANCE:
            named_at = {b: BY_CHANCE[method](half, b) for b in budgets}
        else:
            tried = SAMPLERS[method](half, int(max(budgets)))
            scores = [half.score(p) for p in tried]
            named_at = {b: tried[int(np.argmax(scores[: int(b)]))] for b in budgets if b >= 1}
        found |= {(method, b): half.gain(point) for b, point in named_at.items()}
    return found


def table(landscape: str, found: Gains) -> list[dict[str, Any]]:
    """A row per method and budget; differences where the product was measured beside it."""
    rows = []
    for (method, budget), mine in found.items():
        row = {"landscape": landscape, "budget": budget, "method": method}
        row |= {"gain": float(np.mean(mine)), "se": _error(mine)}
        beside = found.get((PRODUCT, budget))
        away = None if beside is None else np.subtract(beside, mine)
        row["difference"] = None if away is None else float(away.mean())
        row["difference_se"] = None if away is None else _error(away)
        rows.append(row)
    return rows


def _error(values: Sequence[float] | np.ndarray) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def shown(rows: Sequence[Mapping[str, Any]], budgets: Sequence[float]) -> str:
    """A landscape's rows as a Markdown table, a line per method, a column per budget."""
    lines = [
        f"| {rows[0]['landscape']} | " + " | ".join(f"{b:g}" for b in budgets) + " |",
        "|---" * (len(budgets) + 1) + "|",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = {r["budget"]: r for r in rows if r["method"] == method}
        said = [
            f"{cells[b]['gain']:+.1f} ({cells[b]['se']:.1f})" if b in cells else "" for b in budgets
        ]
        lines.append(f"| {method} | " + " | ".join(said) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--landscapes", type=Path, default=FOLDER, help="folder of .npz files")
    parser.add_argument("--only", nargs="*", help="names of landscapes; default: all")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--budgets", default="1,2,4,8,20,25")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--workers", default="1", help="of the product at once: 1,2,4,8")
    parser.add_argument("--json", action="store_true", help="print a list of rows instead")
    options = parser.parse_args()
    budgets = [float(b) for b in options.budgets.split(",")]
    workers = [int(count) for count in options.workers.split(",")]
    rows = []
    for path in sorted(options.landscapes.glob("*.npz")):
        if options.only and path.stem not in options.only:
            continue
        began = time.perf_counter()
        found: Gains = {}
        for half in halves(load(path), range(options.first, options.first + options.seeds)):
            for key, gain in gains(half, budgets, options.methods, workers).items():
                found.setdefault(key, []).append(gain)
        mine = table(path.stem, found)
        rows += mine
        if not options.json:
            print(f"{shown(mine, budgets)}\n\n{time.perf_counter() - began:.0f} s\n", flush=True)
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
