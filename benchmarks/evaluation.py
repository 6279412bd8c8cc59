"""The fast engine beside lm-eval's `hf` model: same documents, same candidates, one process.

Candidates stand where a search puts them: the known points first, then a cloud around the best that
narrows. Per suite: the best batch size for the stock engine; the first candidate, with new engines
(nothing tokenised, nothing drafted); then candidates one after another by the fast engine, the last
ones by both in turn. Ratios are medians over the repeats. Every answer of both engines is compared.

    python benchmarks/evaluation.py                           # everything
    python benchmarks/evaluation.py --suites gsm8k --documents 64 --repeats 2

The real suites are answered by the mini models too, their longest sequence raised to hold the
prompts: what they say is nonsense, but the prompts, the stop strings and the work are real. Such
answers would run on, so they are cut at `--longest` tokens.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.fast.engine import FastEngine
from exme.evaluators.harness import Engine, Evaluation, Judge, StockEngine
from exme.tasks.documents import MINI_DATA, load_documents
from exme.tasks.mini import model_path
from exme.tasks.mini.scoring import Weights, combine, load_weights
from exme.tasks.mini.train import read_weights
from exme.tasks.suite import load_suite

DOCUMENTS = {"gsm8k": 256, "mmlu": 128, "bbh": 40, "humaneval": 64}
# Of mmlu's 57 and bbh's 27 subjects, as many as leave each the documents that it has in a search: a
# search on 256 documents of bbh has 9 of each, one on mmlu's validation split 27.
SUBJECTS = {"mmlu": 8, "bbh": 4}
NAMES = {"gsm8k": "gsm8k mini", "mmlu": "mmlu", "bbh": "bbh", "humaneval": "humaneval"}
KNOWN = [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1.3, 0.0), (0.65, 0.65)]
BEST = (1.2, 1.4)


@dataclass
class Bench:
    """The resident model, what to load into it, and how to run a judge."""

    model: Any
    tokenizer: Any
    sources: list[Weights]
    judge: Judge

    def load(self, coefficients: tuple[float, float]) -> None:
        base, *checkpoints = self.sources
        load_weights(self.model, combine(base, checkpoints, coefficients))

    def stock(self, batch: int) -> StockEngine:
        return StockEngine(self.model, self.tokenizer, batch)

    def run(self, engine: Engine) -> tuple[float, Evaluation]:
        found = self.judge.score(engine)
        return found.engine_seconds, found


def candidates(count: int, seed: int = 0) -> list[tuple[float, float]]:
    """Coefficients in the order in which a search visits them."""
    draw = torch.Generator().manual_seed(seed)
    found = list(KNOWN)
    while len(found) < count:
        radius = 0.8 / (1 + len(found) - len(KNOWN)) ** 0.5
        step = (radius * torch.randn(2, generator=draw)).tolist()
        found.append((BEST[0] + step[0], BEST[1] + step[1]))
    return found[:count]


def open_bench(suite: str, count: int, subjects: int | None, data: Path, longest: int) -> Bench:
    folder = MINI_DATA.parent / "models" / "base"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    where = "mini" if suite == "gsm8k" else str(data)
    loaded = load_suite(suite)
    if where != "mini":
        model.config.max_position_embeddings = 8192
        some = dict(list(loaded.lm_eval_tasks.items())[:subjects])
        loaded = loaded.model_copy(update={"lm_eval_tasks": some})
    documents = load_documents(loaded, where, search=count, report=1, seed=0)
    judge = Judge(documents, "search")
    if where != "mini":
        for requests in judge._requests:
            for request in requests:
                if request.request_type == "generate_until":
                    context, settings = request.args
                    request.arguments = (context, {**settings, "max_gen_toks": longest})
    # Scoring is not what is measured here, and humaneval's would run programs.
    for task in judge._tasks.values():
        task.process_results = lambda doc, results, m=judge.suite.metric: {m: 0.0}
    sources = [read_weights(model_path(name)) for name in ("base", "sums", "products")]
    return Bench(model, AutoTokenizer.from_pretrained(folder), sources, judge)  # type: ignore[arg-type]


def peak_megabytes(work: Callable[[], object]) -> float:
    """Most memory that work takes beyond what the process held before it."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name))


def least_work(bench: Bench, found: Evaluation) -> tuple[int, float]:
    """Tokens and FLOPs that no engine can do without: every different token once.

    A token costs two FLOPs per weight of the layers, and four per layer, hidden size and token that
    it attends to; the vocabulary's matrix is counted for answers only.
    """
    config = bench.model.config
    matrices = sum(p.numel() for n, p in bench.model.named_parameters() if "layers" in n)
    head = config.hidden_size * config.vocab_size
    tokens, flops = 0, 0.0
    previous: Sequence[int] = ()
    encode = bench.tokenizer.encode
    rows = sorted(
        ((encode(p), encode(a)) for p, a in zip(bench.judge.prompts, found.answers, strict=True)),
        key=lambda row: row[0],
    )
    for prompt, answer in rows:
        pairs = zip(prompt, previous, strict=False)
        shared = next((i for i, (a, b) in enumerate(pairs) if a != b), len(previous))
        new, length = len(prompt) - shared + len(answer), len(prompt) + len(answer)
        tokens += new
        attended = (length * (length + 1) - shared * (shared + 1)) / 2
        flops += 2 * matrices * new + 2 * head * (len(answer) + 1)
        flops += 4 * config.num_hidden_layers * config.hidden_size * attended
        previous = prompt
    return tokens, flops


def flops_per_second() -> float:
    """Of one matrix product of the mini models' shape, best of many."""
    left, right = torch.randn(1024, 128), torch.randn(128, 384)
    best = float("inf")
    for _ in range(200):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * 1024 * 128 * 384 / best


def differing(ours: Evaluation, theirs: Evaluation) -> int:
    return sum(a != b for a, b in zip(ours.answers, theirs.answers, strict=True))


def measure(suite: str, options: argparse.Namespace) -> list[str]:
    """One suite's rows of the table; details are printed on the way."""
    count = options.documents or DOCUMENTS[suite]
    bench = open_bench(
        suite, count, options.subjects or SUBJECTS.get(suite), options.data, options.longest
    )
    points = candidates(options.candidates)
    bench.load(points[0])
    walls = {batch: bench.run(bench.stock(batch))[0] for batch in options.batch}
    batch = min(walls, key=walls.__getitem__)
    print(f"\n## {NAMES[suite]}, {count} documents; stock by batch size: {_round(walls)}")

    first, rows, wrong, compared = [], [], 0, 0
    for _ in range(options.repeats):
        fast_seconds, ours = bench.run(FastEngine(bench.stock(batch)))
        stock_seconds, theirs = bench.run(bench.stock(batch))
        first.append((stock_seconds, fast_seconds))
        wrong, compared = wrong + differing(ours, theirs), compared + count
    rows.append(_row(NAMES[suite], "first candidate", first))

    stock, fast = bench.stock(batch), FastEngine(bench.stock(batch))
    assert fast.fallback is None
    bench.run(stock)
    steady, growth = [], []
    for number, point in enumerate(points):
        bench.load(point)
        fast.profile.reset()
        seconds, ours = bench.run(fast)
        growth.append(f"{number + 1}: {seconds:.2f} s")
        if number >= len(points) - options.repeats:
            stock_seconds, theirs = bench.run(stock)
            steady.append((stock_seconds, seconds))
            wrong, compared = wrong + differing(ours, theirs), compared + count
    rows.append(
        _row(NAMES[suite], f"candidates {len(points) - options.repeats + 1} and on", steady)
    )
    print("fast, by candidate:", ", ".join(growth))
    print(f"answers that differ: {wrong} of {compared}")
    _print_profile(bench, fast, ours, seconds)
    if options.distances:
        _print_distances(bench, fast, points[-1])
    memory = {
        "fast": peak_megabytes(lambda: bench.run(fast)),
        "stock": peak_megabytes(lambda: bench.run(stock)),
    }
    print("peak memory beyond the model:", _round(memory), "MB")
    return rows


def _print_profile(bench: Bench, fast: FastEngine, found: Evaluation, seconds: float) -> None:
    profile = fast.profile
    print("\n| work | seconds | passes | tokens |\n|---|---|---|---|")
    for work, spent in sorted(profile.seconds.items(), key=lambda item: -item[1]):
        print(f"| {work} | {spent:.3f} | {profile.passes[work]} | {profile.tokens[work]} |")
    rest = seconds - sum(profile.seconds.values())
    print(f"| Python and the rest | {rest:.3f} | | |")
    tokens, flops = least_work(bench, found)
    speed = flops_per_second()
    print(
        f"\nfloor: {tokens} different tokens, {flops / 1e9:.1f} GFLOP, {flops / speed:.2f} s at "
        f"{speed / 1e9:.0f} GFLOP/s; the last candidate took {seconds / (flops / speed):.1f} times that"
    )


def _print_distances(bench: Bench, fast: FastEngine, centre: tuple[float, float]) -> None:
    for distance in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):
        bench.load((centre[0] + distance, centre[1] - distance))
        fast.profile.reset()
        seconds, _ = bench.run(fast)
        passes = sum(fast.profile.passes.values())
        print(f"at distance {distance:.2f} of each coefficient: {seconds:.2f} s, {passes} passes")


def _row(name: str, what: str, pairs: Sequence[tuple[float, float]]) -> str:
    stock, fast = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    ratio = statistics.median(ratios)
    return (
        f"| {name} | {what} | {stock:.2f} s | {fast:.2f} s | "
        f"**{ratio:.1f}** ({ratios[0]:.1f} to {ratios[-1]:.1f}) |"
    )


def _round(values: dict[Any, float]) -> str:
    return ", ".join(f"{key}: {value:.1f}" for key, value in values.items())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", nargs="+", default=list(DOCUMENTS), choices=list(DOCUMENTS))
    parser.add_argument("--documents", type=int, help="fewer documents than usual")
    parser.add_argument("--subjects", type=int, help="of mmlu and bbh, the first few")
    parser.add_argument("--candidates", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--longest", type=int, default=128, help="tokens of a real suite's answer")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--distances", action="store_true", help="time against distance, too")
    options = parser.parse_args()
    rows = [row for suite in options.suites for row in measure(suite, options)]
    print("\n| work | when | stock | fast | stock / fast |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
