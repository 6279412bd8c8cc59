"""Replay searches on landscapes: `python -m benchmarks.replay --seeds 200`.

Only the searcher is replayed; outcomes are a real model's (benchmarks/landscape.py). Regret is what
the point named best lacks to the landscape's best, on all documents; a search that names a point
that was scored in part is charged for the documents still to be scored.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exme.search.racing.field import Racing

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
# Regret is shown after so many times all documents.
MARKS = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)


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


def top_of(landscape: Landscape, points: int = 2000, rounds: int = 400) -> float:
    """The landscape's best mean, over its table, random points, and steps from the best of these."""
    generator = np.random.default_rng(0)
    low, high = landscape.bounds.T
    drawn = [*generator.uniform(low, high, (points, len(low))), *landscape.points]
    scores = [float(landscape.solve(p).mean()) for p in drawn]
    top = max(float(landscape.outcomes.mean(1).max()) if len(low) == 2 else 0.0, *scores)
    for start in np.argsort(scores)[-5:]:
        point, best = drawn[start], scores[start]
        for round_ in range(rounds):
            step = (high - low) * 0.2 * 0.99**round_ * generator.normal(size=len(low))
            moved = np.clip(point + step, low, high)
            found = float(landscape.solve(moved).mean())
            if found >= best:
                point, best = moved, found
        top = max(top, best)
    return top


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
        if kind:
            found[kind] = whole.of(f"{path}: {kind}", chosen)
    return found


def study(
    landscape: Landscape, name: str, seeds: Sequence[int], multiples: int, top: float
) -> dict[str, object]:
    """Replay one method; what it needed, by seed, and the curve of its regret."""
    n = landscape.count
    error = float(np.sqrt(top * (1 - top) / n))
    began = time.process_time()
    runs = [replay(METHODS[name], landscape, seed, multiples * n, top) for seed in seeds]
    needed = [r.needed(error) for r in runs]
    settled = [r.needed(error, settled=True) for r in runs]
    return {
        "landscape": landscape.name,
        "method": name,
        "documents": n,
        "top": top,
        "standard error": error,
        "budget": multiples * n,
        "needed": [None if np.isinf(x) else x for x in needed],
        "settled": [None if np.isinf(x) else x for x in settled],
        "stops": sum(r.stops for r in runs),
        "wrong": sum(r.wrong for r in runs),
        "marks": [m for m in MARKS if m <= multiples],
        "regret": [
            np.quantile([r.at(m * n) for r in runs], [0.25, 0.5, 0.75]).tolist()
            for m in MARKS
            if m <= multiples
        ],
        "seconds": time.process_time() - began,
    }


def quartiles(needed: Sequence[float | None]) -> tuple[float, float, float]:
    """Of the documents needed; infinite where that many searches never got there."""
    found = [np.inf if x is None else x for x in needed]
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75], method="lower")
    return float(low), float(middle), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--landscape", default="gsm8k-mini")
    parser.add_argument("--part", default="", help="kind of documents; all by default")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--multiples", type=int, default=48, help="budget in times all documents")
    parser.add_argument("--method", action="append", help="one or several; all by default")
    parser.add_argument(
        "--out", type=Path, default=FOLDER / "replays", help="folder of the results"
    )
    options = parser.parse_args()
    landscape = landscapes(options.landscape)[options.part or options.landscape]
    top = top_of(landscape)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in METHODS:
        if options.method and name not in options.method:
            continue
        found = study(landscape, name, range(options.seeds), options.multiples, top)
        place = f"{landscape.name} {name}".replace(": ", "-").replace(", ", "-").replace(" ", "-")
        (options.out / f"{place}.json").write_text(json.dumps(found))
        low, middle, high = quartiles(found["needed"])  # type: ignore[arg-type]
        print(
            f"{landscape.name} | {name} | {middle:,.0f} ({low:,.0f} to {high:,.0f}) | stops "
            f"{found['stops']} wrong {found['wrong']} | {found['seconds']:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
