"""Do the literature's merge methods help a search, and what do they cost?

    python benchmarks/directions.py growth                      # seconds and memory against model size
    python benchmarks/directions.py compare --out runs.jsonl    # on the mini models; add --suites, --seeds
    python benchmarks/directions.py table runs.jsonl

`compare` gives every arm the same number of documents on each suite and seed: the search without directions, and for each
method the search that starts from it, whose budget is smaller by the passes that the method made over documents
(backward passes count as the forward pass they belong to). Each method's own point is scored on the report
documents, too, without a search. Seeds choose the documents and drive the sampler. Scores of a candidate are
remembered from arm to arm: arms share their first points, so their differences are of the rest. Directions are
computed from `EXAMPLES` documents, not 32, to leave a small budget something to search with.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from scipy import stats
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from exme.search.directions import DIRECTIONS, direction_of, prompts
from exme.search.directions.bench import Bench, Example
from exme.search.merging.candidate import Candidate
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.sources import Sources
from exme.search.running.screen import Screen
from exme.search.running.search import Search, open_search
from exme.search.scoring.probing import DocumentTime
from exme.search.scoring.worker import Scored, Worker
from exme.search.study.study_file import StudyFile

EXAMPLES = 8
# Hidden size, intermediate size, layers, heads: about this many parameters with 512 tokens of vocabulary.
SIZES = {
    "0.25M": (64, 172, 4, 4),
    "1M": (128, 344, 5, 4),
    "4M": (256, 688, 5, 4),
    "16M": (512, 1376, 5, 8),
}


class Remembering:
    """A worker that scores a candidate once, whichever arm asks."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.known: dict[tuple[Any, ...], Scored] = {}

    def score(self, candidate: Candidate, split: str) -> Scored:
        coefficients = sorted((n, c) for n, c in candidate.coefficients.items() if c)
        key = (split, *coefficients)
        if key not in self.known:
            self.known[key] = self.worker.score(candidate, split)
        return self.known[key]

    def score_part(self, candidate: Candidate, documents: Sequence[int]) -> Scored:
        return self.worker.score_part(candidate, documents)

    def score_longer(self, candidate: Candidate) -> Scored | None:
        return self.worker.score_longer(candidate)

    def document_time(self) -> DocumentTime:
        return DocumentTime(0.01)  # (it is only said)


def study(suite: str, seed: int, options: argparse.Namespace, **changed: Any) -> StudyFile:
    """A study of the mini models."""
    off = {"racing": "off"} if "racing" in StudyFile.model_fields else {}
    return StudyFile.model_validate(
        {
            "base": "mini/base",
            "checkpoints": {name: f"mini/{name}" for name in options.checkpoints.split(",")},
            "data": "mini",
            "suites": [suite],
            "run_generated_code": True,
            "documents": {"search": options.search, "report": options.report, "seed": seed},
            "sampler": {"name": "gp", "seed": seed},
            "batch_size": 64,
            **off,
        }
        | changed
    )


def quiet() -> Screen:
    return Screen(Console(file=io.StringIO()))


def compare_one(suite: str, seed: int, options: argparse.Namespace) -> None:
    """All arms on one suite and seed."""
    names = options.methods.split(",") if options.methods else list(DIRECTIONS)
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        everything = study(suite, seed, options, directions=names, budget={"trials": 1})
        with open_search(everything, suite, name="all", runs=runs, screen=quiet()) as master:
            master.work()
            worker = master.worker
            assert isinstance(worker, Worker)
            shared = Remembering(worker)
            for arm in ("", *names):
                found = run_arm(arm, master, shared, suite, seed, options, runs)
                with options.out.open("a") as stream:
                    stream.write(json.dumps(found) + "\n")
                print(json.dumps(found), flush=True)


def run_arm(
    arm: str,
    master: Search,
    shared: Remembering,
    suite: str,
    seed: int,
    options: argparse.Namespace,
    runs: Path,
) -> dict[str, Any]:
    """A search with one direction, or with none."""
    record: dict[str, Any] = {"passes": 0, "seconds": 0.0}
    if arm:
        there = master.folder / "directions" / arm
        record = json.loads((there / "direction.json").read_text())
        shutil.copytree(there, runs / f"arm-{arm}-{suite}" / "directions" / arm)
    left = options.documents - record["passes"]
    content = study(
        suite,
        seed,
        options,
        directions=[arm] if arm else [],
        budget={"documents": max(left, options.search)},
    )
    name = f"arm-{arm}" if arm else "none"
    opened = open_search(
        content, suite, name=name, runs=runs, screen=quiet(), worker=lambda _: shared
    )
    with opened as search:
        outcome = search.run()
        inputs = {entry.name: entry.report.mean for entry in outcome.inputs}
        searched = outcome.merged.report.mean if outcome.merged else max(inputs.values())
        alone = None
        if arm:
            point = next(p for p in search.settled.plan.first if p.name == arm)
            candidate = search.settled.candidate(search.settled.plan.of_point(point))
            alone = shared.score(candidate, "report").scores.mean
    return {
        "suite": suite,
        "seed": seed,
        "arm": arm or "none",
        "searched": searched,
        "alone": alone,
        "inputs": inputs,
        "trials": sum(t.scores is not None and t.duplicate_of is None for t in outcome.trials),
        "passes": record["passes"],
        "seconds": record["seconds"],
        "winner": outcome.winner.origin if outcome.winner else "",
    }


def compare(options: argparse.Namespace) -> None:
    prompts.COUNT = EXAMPLES
    done = set()
    if options.out.exists():
        rows = [json.loads(line) for line in options.out.read_text().splitlines()]
        done = {(row["suite"], row["seed"]) for row in rows}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for suite in options.suites.split(","):
            if (suite, seed) not in done:
                start = time.perf_counter()
                compare_one(suite, seed, options)
                print(f"# {suite} seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)


def interval(values: Sequence[float]) -> str:
    """Mean and 95% interval by Student's t, in points."""
    mean = 100 * statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:+.1f}"
    half = 100 * float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values)
    half /= len(values) ** 0.5
    return f"{mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f})"


def table(options: argparse.Namespace) -> None:
    """Differences from the search without directions, over suites and seeds."""
    rows = [json.loads(line) for line in options.file.read_text().splitlines()]
    plain = {(r["suite"], r["seed"]): r for r in rows if r["arm"] == "none"}
    suites = sorted({r["suite"] for r in rows})
    best = [r["searched"] - max(r["inputs"].values()) for r in plain.values()]
    print(
        f"{len(plain)} suite-seeds; search without directions over the best input: {interval(best)}"
    )
    heads = ["method", "alone - best input", "alone - search", "start - search"]
    heads += [f"start - search, {suite}" for suite in suites] + ["passes", "seconds"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for name in DIRECTIONS:
        mine = [r for r in rows if r["arm"] == name]
        if not mine:
            continue
        pairs = [(r, plain[r["suite"], r["seed"]]) for r in mine]
        start = [r["searched"] - p["searched"] for r, p in pairs]
        cells = [
            name,
            interval([r["alone"] - max(r["inputs"].values()) for r in mine]),
            interval([r["alone"] - p["searched"] for r, p in pairs]),
            interval(start),
            *(interval([r["searched"] - p["searched"] for r, p in pairs if r["suite"] == s]) for s in suites),
            f"{statistics.median(r['passes'] for r in mine):.0f}",
            f"{statistics.median(r['seconds'] for r in mine):.1f}",
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |")


# Growth ------------------------------------------------------------------------------------------


def make_family(folder: Path, size: str) -> dict[str, Path]:
    """A random Llama and two fine-tunes, in bfloat16."""
    hidden, inner, layers, heads = SIZES[size]
    config = LlamaConfig(
        vocab_size=512, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=512, tie_word_embeddings=False,
    )  # fmt: skip
    logging.disable_progress_bar()
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(config)
    model.to(torch.bfloat16)
    made = {"base": folder / "base"}
    model.save_pretrained(made["base"])
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    for name in ("one", "two"):
        with torch.no_grad():
            for key, p in model.named_parameters():
                p.copy_(start[key].float() + 0.002 * torch.randn(p.shape))
        made[name] = folder / name
        model.save_pretrained(made[name])
    return made


def measure(folder: Path, method: str, steps: int) -> tuple[int, float, int]:
    """Compute one direction, in a process of its own: elements of the model, seconds, bytes."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)

    def example() -> Example:
        ids = torch.randint(3, 512, (144,), generator=generator).tolist()
        return Example(tuple(ids[:128]), tuple(ids[128:]), 40)

    names = ("one", "two")
    base = Checkpoint("base", folder / "base")
    sources = Sources(base, {n: Checkpoint(n, folder / n) for n in names})
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(
            sources,
            compute=torch.float32,
            device=torch.device("cpu"),
            scratch=Path(scratch),
            examples=[example() for _ in range(4)],
        )
        bench.logits(bench.batches()[0], 1)  # what first calls set up is not the method's
        direction: Any = direction_of(method)
        if steps and getattr(direction, "steps", 0) == 20:  # what is learnt by passes over examples
            direction.steps = steps
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is held now
        before, start = resident("VmRSS"), time.process_time()
        direction.check(bench)
        direction.compute(bench, lambda name, delta: None)
        seconds = time.process_time() - start  # of one thread, whoever else is on the core
    elements = sum(spec.elements for spec in base.tensors.values())
    return elements, seconds, resident("VmHWM") - before


def resident(key: str) -> int:
    """``VmRSS``, memory held now, or ``VmHWM``, the most since it was last set to now; Linux only."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def growth(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    sizes = options.sizes.split(",") if options.sizes else list(SIZES)
    print(f"| {' | '.join(['method', *sizes])} |\n{'|---' * (len(sizes) + 1)}|")
    # A new process for each: a fork would not have torch's threads, and not its own peak of memory.
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            make_family(Path(folder) / size, size)
        for method in options.methods.split(",") if options.methods else DIRECTIONS:
            cells = []
            for size in sizes:
                with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
                    place = Path(folder) / size
                    told = pool.submit(measure, place, method, options.steps)
                    elements, seconds, memory = told.result()
                share = memory / (4 * elements)
                cells.append(f"{seconds:.2f} s, {memory / 1e6:.0f} MB ({share:.1f} x)")
            print(f"| {method} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    grow = commands.add_parser("growth")
    grow.add_argument("--methods", default="")
    grow.add_argument("--sizes", default="")
    grow.add_argument("--steps", type=int, default=0, help="in the place of the methods' own 20")
    grow.set_defaults(run=growth)
    versus = commands.add_parser("compare")
    versus.add_argument("--out", type=Path, required=True)
    versus.add_argument("--methods", default="")
    versus.add_argument("--suites", default="gsm8k,mmlu,math")
    versus.add_argument("--checkpoints", default="sums,products")
    versus.add_argument("--seeds", type=int, default=5)
    versus.add_argument("--first-seed", type=int, default=0)
    versus.add_argument("--search", type=int, default=64)
    versus.add_argument("--report", type=int, default=256)
    versus.add_argument("--documents", type=int, default=768)
    versus.set_defaults(run=compare)
    show = commands.add_parser("table")
    show.add_argument("file", type=Path)
    show.set_defaults(run=table)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
