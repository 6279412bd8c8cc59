"""Score the mini models and some of their merges on the search documents of every mini suite.

    python benchmarks/mini_suites.py [--documents 128] [--models FOLDER]

The last row counts the documents that only one of the two fine-tunes solves: how much they differ whatever
their means. Scores are the judge's (lm-eval's own tasks, filters and metrics), on the documents that a study of
seed 0 searches on. Generated code runs in the sandbox. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from exme.evaluators.harness import Judge, StockEngine
from exme.evaluators.scores import DocumentScores, join
from exme.search.statistics.intervals import compare
from exme.tasks.documents import load_documents
from exme.tasks.mini import MODELS
from exme.tasks.mini.training.presets import SUITES
from exme.tasks.mini.training.scoring import combine, load_weights
from exme.tasks.suite import load_suite

POINTS = {
    "base": (0.0, 0.0),
    "sums": (1.0, 0.0),
    "products": (0.0, 1.0),
    "(0.5, 0.5)": (0.5, 0.5),
    "(1, 1)": (1.0, 1.0),
    "(1.25, 1.25)": (1.25, 1.25),
    "(1.5, 1.5)": (1.5, 1.5),
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=128, help="search documents per suite")
    parser.add_argument("--models", type=Path, default=MODELS)
    options = parser.parse_args()
    weights = {}
    for name in ("base", "sums", "products"):
        model = LlamaForCausalLM.from_pretrained(options.models / name, dtype=torch.bfloat16)
        weights[name] = {key: tensor.detach() for key, tensor in model.state_dict().items()}
    model = model.float().eval()
    tokenizer = AutoTokenizer.from_pretrained(options.models / "base")
    engine = StockEngine(model, tokenizer, 64)
    judges = {}
    for suite in SUITES:
        documents = load_documents(
            load_suite(suite), "mini", search=options.documents, report=None, seed=0
        )
        judges[suite] = Judge(documents, "search")
    print(f"| model | {' | '.join(judges)} |\n|{'---|' * (len(judges) + 1)}", flush=True)
    seconds = dict.fromkeys(judges, 0.0)
    alone: dict[str, dict[str, DocumentScores]] = {}
    for label, point in POINTS.items():
        merged = combine(weights["base"], [weights["sums"], weights["products"]], point)
        load_weights(model, merged)
        cells = []
        for suite, judge in judges.items():
            began = time.perf_counter()
            scores = judge.score(engine).scores
            cells.append(f"{scores.mean:.1%}")
            alone.setdefault(label, {})[suite] = scores
            seconds[suite] += (time.perf_counter() - began) / len(POINTS)
        print(f"| {label} | {' | '.join(cells)} |", flush=True)
    cells = []
    for suite in judges:
        found = compare(join([alone["sums"][suite]]), join([alone["products"][suite]]))
        cells.append(f"{found.won} : {found.lost} (p = {found.p_value:.2g})")
    print(f"| only sums : only products | {' | '.join(cells)} |")
    print(f"| seconds each | {' | '.join(f'{s:.1f}' for s in seconds.values())} |")


if __name__ == "__main__":
    main()
