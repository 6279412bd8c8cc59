"""Make a landscape: `python -m benchmarks.make_landscape --suite gsm8k`; hours on one core.

Every point is a model made of the mini models and asked every document. The table so far is kept
in `<name>.partial.npz`, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from exme.tasks.mini import gsm8k, model_path
from exme.tasks.mini.scoring import combine, load_weights, solve
from exme.tasks.mini.train import read_weights

from .landscape import FOLDER, Bools, Floats, Landscape

CHECKPOINTS = ("sums", "products")
BATCH = 32  # the fastest on one core: a larger batch's cache does not stay in it

# Coefficients by name in, whether each document is solved out, shape (n,).
Outcomes = Callable[[Mapping[str, float]], Bools]


def make(
    name: str,
    outcomes: Outcomes,
    kinds: Sequence[str],
    axes: Mapping[str, Floats],
    folder: Path = FOLDER,
) -> Landscape:
    """Fill a grid, a point at a time, and write `<folder>/<name>.npz`.

    Args:
        name: of the landscape.
        outcomes: scores a candidate.
        kinds: kind of each document, shape (n,).
        axes: values along each coefficient.
        folder: where it is written.
    """
    points = np.stack([g.ravel() for g in np.meshgrid(*axes.values(), indexing="ij")], 1)
    partial = folder / f"{name}.partial.npz"
    table = np.zeros((len(points), len(kinds)), dtype=bool)
    done = np.zeros(len(points), dtype=bool)
    if partial.exists():
        with np.load(partial, allow_pickle=False) as file:
            table, done = file["table"], file["done"]
    began, before = time.perf_counter(), int(done.sum())
    # Every second value of each coefficient first: a quarter of the table is a table already.
    places = np.stack(np.unravel_index(np.arange(len(points)), [len(a) for a in axes.values()]))
    between = (places % 2).any(0)
    for number in np.lexsort([np.random.default_rng(0).permutation(len(points)), between]):
        if done[number]:
            continue
        point = dict(zip(axes, map(float, points[number]), strict=True))
        table[number] = outcomes(point)
        done[number] = True
        np.savez_compressed(partial, table=table, done=done)
        pace = (time.perf_counter() - began) / (int(done.sum()) - before)
        print(
            f"{int(done.sum())}/{len(points)} {point} {table[number].mean():.3f} {pace:.1f} s",
            flush=True,
        )
    landscape = Landscape(
        name=name,
        names=tuple(axes),
        points=points,
        outcomes=table,
        kinds=tuple(kinds),
        axes=tuple(axes.values()),
        thresholds=np.full(len(kinds), 0.5),
    )
    landscape.save(folder / f"{name}.npz")
    partial.unlink()
    return landscape


def gsm8k_mini() -> tuple[Outcomes, list[str]]:
    """Scorer of the mini models on the mini GSM8K's search documents, and the documents' kinds."""
    base = read_weights(model_path("base"))
    others = [read_weights(model_path(name)) for name in CHECKPOINTS]
    tokenizer = AutoTokenizer.from_pretrained(model_path("base"))
    model = LlamaForCausalLM.from_pretrained(model_path("base"), dtype=torch.float32).eval()
    shots, rows = gsm8k.read_rows("fewshot"), gsm8k.read_rows("search")

    def outcomes(coefficients: Mapping[str, float]) -> Bools:
        weights = combine(base, others, [coefficients[name] for name in CHECKPOINTS])
        load_weights(model, weights)
        return np.array(solve(model, tokenizer, shots, rows, batch=BATCH))

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
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    axis = np.linspace(options.low, options.high, options.steps).round(6)
    outcomes, kinds = SUITES[options.suite]()
    make(f"{options.suite}-mini", outcomes, kinds, dict.fromkeys(CHECKPOINTS, axis))


if __name__ == "__main__":
    main()
