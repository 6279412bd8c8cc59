"""Replay searches on landscapes: `python -m benchmarks.replay --seeds 200`.

Only the searcher is replayed; outcomes are a real model's (benchmarks/landscape.py). Regret is what
the point named best lacks to the landscape's best, on all documents; a search that names a point
that was scored in part is charged for the documents still to be scored.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exme.search.allocation import Racing

from .landscape import FOLDER, Floats, Landscape, load
from .methods import Method, Step, cmaes_full, optuna_gp, ours, random_full

METHODS: Mapping[str, Method] = {
    "ours": ours(Racing()),
    "CMA-ES, all documents": cmaes_full,
    "Optuna GP, all documents": optuna_gp(wilcoxon=False, known=False),
    "Optuna GP, WilcoxonPruner": optuna_gp(wilcoxon=True, known=False),
    "Optuna GP, WilcoxonPruner, known points": optuna_gp(wilcoxon=True, known=True),
    "random, all documents": random_full,
}
MARKS = (
    0.5,
    1,
    1.5,
    2,
    3,
    4,
    6,
    8,
    12,
    16,
    24,
    32,
)  # regret is shown after so many times all documents


@dataclass(frozen=True)
class Replay:
    """One search on one landscape.

    Attributes:
        documents: spent, by step, shape (s,).
        owed: further documents to have the point named best scored on all, shape (s,).
        regrets: of the point named best, shape (s,).
        stops: races lost; `wrong` of those, the loser was better on all documents.
    """

    documents: Floats
    owed: Floats
    regrets: Floats
    stops: int
    wrong: int

    def needed(self, tolerance: float, *, settled: bool = False) -> float:
        """Documents after which the regret stays within `tolerance`; infinite for never.

        With `settled` those owed are counted in.
        """
        late = np.flatnonzero(self.regrets > tolerance)
        after = int(late[-1]) + 1 if len(late) else 0
        if after == len(self.documents):
            return np.inf
        return float(self.documents[after] + (self.owed[after] if settled else 0))

    def at(self, documents: float) -> float:
        """Regret when so many were spent; that of the first step before it."""
        done = np.flatnonzero(self.documents <= documents)
        return float(self.regrets[done[-1] if len(done) else 0])


def top_of(landscape: Landscape, points: int = 4000) -> float:
    """The landscape's best mean, over its table and random points."""
    low, high = landscape.bounds.T
    drawn = np.random.default_rng(0).uniform(low, high, (points, len(low)))
    found = max(float(landscape.solve(p).mean()) for p in drawn)
    return max(found, float(landscape.outcomes.mean(1).max()))


def replay(method: Method, landscape: Landscape, seed: int, budget: float, top: float) -> Replay:
    """Run one search until it has spent `budget` documents."""
    documents, owed, regrets = [], [], []
    stops = wrong = 0
    steps: Iterator[Step] = method(landscape, seed)
    for step in steps:
        if step.documents > budget:
            break
        documents.append(step.documents)
        owed.append(step.owed)
        regrets.append(top - float(landscape.solve(step.best).mean()))
        if step.stopped is not None:
            loser, rival = (float(landscape.solve(p).mean()) for p in step.stopped)
            stops += 1
            wrong += loser > rival
    return Replay(
        np.array(documents, dtype=float),
        np.array(owed, dtype=float),
        np.array(regrets),
        stops,
        wrong,
    )


def landscapes(path: str) -> dict[str, Landscape]:
    """The landscape on all documents, and one for each kind of documents."""
    whole = load(FOLDER / f"{path}.npz")
    found = {path: whole}
    for kind in sorted(set(whole.kinds)):
        chosen = np.array([k == kind for k in whole.kinds])
        found[kind] = whole.of(f"{path}: {kind}", chosen)
    return found


def table(
    landscape: Landscape, methods: Mapping[str, Method], seeds: Sequence[int], multiples: int
) -> None:
    """Replay the methods and print what they needed, and the curve of regret."""
    top = top_of(landscape)
    n = landscape.count
    error = float(np.sqrt(top * (1 - top) / n))
    print(f"\n{landscape.name}: {n} documents, best {top:.3f}, standard error {error:.3f}")
    print(
        "| method | documents needed (quartiles) | and the finalist | not reached | stops | wrong | "
        + " | ".join(f"{m}n" for m in MARKS if m <= multiples)
        + " |"
    )
    for name, method in methods.items():
        began = time.perf_counter()
        runs = [replay(method, landscape, seed, multiples * n, top) for seed in seeds]
        needed = np.array([r.needed(error) for r in runs])
        low, median, high = np.quantile(needed, [0.25, 0.5, 0.75], method="lower")
        settled = np.quantile([r.needed(error, settled=True) for r in runs], 0.5, method="lower")
        stops, wrong = sum(r.stops for r in runs), sum(r.wrong for r in runs)
        curve = [np.median([r.at(m * n) for r in runs]) for m in MARKS if m <= multiples]
        print(
            f"| {name} | {median:,.0f} ({low:,.0f} to {high:,.0f}) | {settled:,.0f} | {np.mean(np.isinf(needed)):.0%} "
            f"| {stops} | {wrong / stops if stops else 0:.1%} | "
            + " | ".join(f"{100 * c:.1f}" for c in curve)
            + f" | {time.perf_counter() - began:.0f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--landscape", default="gsm8k-mini")
    parser.add_argument("--part", default="", help="kind of documents; all by default")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--multiples", type=int, default=24, help="budget in times all documents")
    parser.add_argument("--method", action="append", help="one or several; all by default")
    options = parser.parse_args()
    chosen = {k: v for k, v in METHODS.items() if not options.method or k in options.method}
    landscape = landscapes(options.landscape)[options.part or options.landscape]
    table(landscape, chosen, range(options.seeds), options.multiples)


if __name__ == "__main__":
    main()
