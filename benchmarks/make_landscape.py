"""Make a landscape: `python -m benchmarks.make_landscape --suite gsm8k`; hours on one core.

Every point is a model made of the mini models and asked every document. What there is when it is
interrupted is a landscape, and the same command with more `--points` goes on from it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from exme.tasks.mini import gsm8k, model_path
from exme.tasks.mini.scoring import combine, load_weights, solve
from exme.tasks.mini.train import read_weights

from .landscape import FOLDER, Bools, Floats, Landscape, load

CHECKPOINTS = ("sums", "products")
BATCH = 32  # the fastest on one core: a larger batch's cache does not stay in it

# Coefficients by name in, whether each document is solved out, shape (n,).
Outcomes = Callable[[Mapping[str, float]], Bools]


def make(
    name: str,
    outcomes: Outcomes,
    kinds: Sequence[str],
    points: Floats,
    names: Sequence[str],
    folder: Path = FOLDER,
) -> Landscape:
    """Score candidates one by one; `<folder>/<name>.npz` holds those done, and a run goes on from it.

    Args:
        name: of the landscape.
        outcomes: scores a candidate.
        kinds: kind of each document, shape (n,).
        points: coefficients of the candidates, shape (p, d).
        names: of the coefficients.
        folder: where it is written.
    """
    path = folder / f"{name}.npz"
    landscape = load(path) if path.exists() else None
    began = time.perf_counter()
    for number, point in enumerate(points):
        old = np.zeros((0, len(names))) if landscape is None else landscape.points
        if np.isclose(old, point).all(1).any():
            continue
        row = outcomes(dict(zip(names, map(float, point), strict=True)))[None]
        landscape = Landscape(
            name=name,
            names=tuple(names),
            points=np.concatenate([old, point[None]]),
            outcomes=row if landscape is None else np.concatenate([landscape.outcomes, row]),
            kinds=tuple(kinds),
            thresholds=np.full(len(kinds), 0.5),
        )
        written = folder / f"{name}.new.npz"
        landscape.save(written)  # whole before it takes the old one's place
        written.replace(path)
        print(f"{number} {point} {row.mean():.3f} {time.perf_counter() - began:.0f} s", flush=True)
    if landscape is None:
        raise ValueError("no points")
    return landscape


def scatter(axis: Floats, d: int, count: int, seed: int = 0) -> Floats:
    """Points of a grid in random order, its corners first, shape (count, d)."""
    grid = np.stack([g.ravel() for g in np.meshgrid(*[axis] * d, indexing="ij")], 1)
    between = ~np.isin(grid, [axis[0], axis[-1]]).all(1)
    order = np.lexsort([np.random.default_rng(seed).permutation(len(grid)), between])
    chosen: Floats = grid[order[:count]]
    return chosen


def gsm8k_mini() -> tuple[Outcomes, list[str]]:
    """Scorer of the mini models on the mini GSM8K's search documents, and the documents' kinds."""
    base = read_weights(model_path("base"))
    others = [read_weights(model_path(name)) for name in CHECKPOINTS]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model_path("base"))
    model = LlamaForCausalLM.from_pretrained(model_path("base"), dtype=torch.float32).eval()
    shots, rows = gsm8k.read_rows("fewshot"), gsm8k.read_rows("search")

    def outcomes(coefficients: Mapping[str, float]) -> Bools:
        weights = combine(base, others, [coefficients[name] for name in CHECKPOINTS])
        load_weights(model, weights)
        return np.array(solve(model, tokenizer, shots, rows, batch=BATCH), dtype=np.bool_)

    return outcomes, [_kind(row["answer"]) for row in rows]


def _kind(answer: str) -> str:
    """Kind of a problem by the operations of its worked steps."""
    steps = [part.split("=")[0] for part in answer.split("<<")[1:]]
    sums = [any(sign in step[1:] for sign in "+-") for step in steps]
    return "sums" if all(sums) else "mixed" if any(sums) else "products"


SUITES = {"gsm8k": gsm8k_mini}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=sorted(SUITES), default="gsm8k")
    parser.add_argument("--low", type=float, default=-0.2)
    parser.add_argument("--high", type=float, default=2.6)
    parser.add_argument("--steps", type=int, default=15, help="values per coefficient")
    parser.add_argument("--points", type=int, default=110, help="of the grid, its corners first")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    axis = np.linspace(options.low, options.high, options.steps).round(6)
    outcomes, kinds = SUITES[options.suite]()
    points = scatter(axis, len(CHECKPOINTS), options.points)
    make(f"{options.suite}-mini", outcomes, kinds, points, CHECKPOINTS)


if __name__ == "__main__":
    main()
