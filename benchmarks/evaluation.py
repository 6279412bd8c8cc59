"""The fast engine beside lm-eval's `hf` model: same documents, same candidates, one process.

Candidates stand where a search puts them: the known points first, then a cloud around the best that
narrows. Per suite: the best batch size for the stock engine; the first candidate, with new engines
(nothing tokenised, nothing drafted); then candidates one after another by the fast engine, the last
ones by both in turn. Ratios are medians over the repeats. Every answer of both engines is compared.

    python benchmarks/evaluation.py                           # everything
    python benchmarks/evaluation.py --suites gsm8k --documents 64 --repeats 2
    python benchmarks/evaluation.py --suites gsm8k --dtype bfloat16    # how many answers differ
    python benchmarks/evaluation.py --suites gsm8k --documents 64 --wide 4 --deep 8

The last one puts the mini models, padded with zeros, into 27M parameters: the same answers for as much
work as any model of that size takes.

Times are CPU seconds of the process, which are what the clock shows on one thread with nothing else
running, and are steadier where other programs share the machine; with `--threads`, of more than one, they are
seconds by the clock.

The real suites are answered by the mini models too, their longest sequence raised to hold the
prompts: what they say is nonsense, but the prompts, the stop strings and the work are real. Such
answers may run on, so they are cut at the mean length of the suite's own reference answers. They are mostly short; with
`--models` of `imitators.py` they have the form and the length of the suite's own:

    python benchmarks/evaluation.py --suites bbh humaneval --models studies/runs/imitators
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from exme.evaluators.fast.attention.products import faster_products
from exme.evaluators.fast.engine import FastEngine
from exme.evaluators.fast.profile import Profile
from exme.evaluators.harness import Engine, Evaluation, Judge, StockEngine
from exme.tasks.documents import MINI_DATA, load_documents
from exme.tasks.mini import MODELS
from exme.tasks.mini.training.saving import read_weights
from exme.tasks.mini.training.scoring import Weights, combine, load_weights
from exme.tasks.suite import load_suite

DOCUMENTS = {"gsm8k": 256, "mmlu": 128, "bbh": 40, "humaneval": 64}
# Of mmlu's 57 and bbh's 27 subjects, as many as leave each the documents that it has in a search: a
# search on 256 documents of bbh has 9 of each, one on mmlu's validation split 27.
SUBJECTS = {"mmlu": 8, "bbh": 4}
# Mean tokens of humaneval's canonical solutions, and of the answers in bbh's chain-of-thought prompts.
LONGEST = {"humaneval": 99, "bbh": 282, "mmlu": 1}
NAMES = {"gsm8k": "gsm8k mini", "mmlu": "mmlu", "bbh": "bbh", "humaneval": "humaneval"}
KNOWN = [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1.3, 0.0), (0.65, 0.65)]
BEST = (1.2, 1.4)


@dataclass(frozen=True)
class Difference:
    """How many answers are other strings, of how many, and how far log-likelihoods are apart."""

    strings: int = 0
    answers: int = 0
    nats: float = 0.0

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.strings + other.strings,
            self.answers + other.answers,
            max(self.nats, other.nats),
        )


def pad(weights: Weights, model: Any) -> dict[str, torch.Tensor]:
    """The same function in a wider and deeper model: zeros beside the weights, layers that add nothing."""
    found = {}
    for name, like in model.state_dict().items():
        new = torch.zeros(like.shape, dtype=torch.float32)
        if name in weights:
            old = weights[name].float()
            # The mean of squares that a norm divides by is over more numbers, the new ones zero.
            shrink = (old.shape[-1] / like.shape[-1]) ** 0.5 if old.ndim == 1 else 1.0
            new[tuple(slice(size) for size in old.shape)] = old * shrink
        found[name] = new
    return found


def clock() -> Callable[[], float]:
    """Of the processor on one thread; on several the one on the wall."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


@dataclass
class Bench:
    """The resident model, what to load into it, and how to run a judge."""

    model: Any
    tokenizer: Any
    sources: list[Weights]
    judge: Judge
    answers: list[Any] = field(default_factory=list)

    def load(self, coefficients: tuple[float, float]) -> None:
        base, *checkpoints = self.sources
        weights = combine(base, checkpoints, coefficients)
        load_weights(self.model, pad(weights, self.model))

    def stock(self, batch: int) -> StockEngine:
        return StockEngine(self.model, self.tokenizer, batch)

    def run(self, engine: Engine) -> tuple[float, Evaluation]:
        """Seconds, judging included (it takes a hundredth), and the evaluation."""
        now = clock()
        start = now()
        found = self.judge.score(engine)
        seconds = now() - start
        self.answers = [r.resps[0] for requests in self.judge._requests for r in requests]
        return seconds, found

    def compare(self, ours: list[Any]) -> Difference:
        """Earlier answers beside those of the last run."""
        texts = [(a, b) for a, b in zip(ours, self.answers, strict=True) if isinstance(a, str)]
        sums = [
            abs(a[0] - b[0])
            for a, b in zip(ours, self.answers, strict=True)
            if not isinstance(a, str)
        ]
        return Difference(sum(a != b for a, b in texts), len(ours), max(sums, default=0.0))


def candidates(count: int, seed: int = 0) -> list[tuple[float, float]]:
    """Coefficients in the order in which a search visits them."""
    draw = torch.Generator().manual_seed(seed)
    found = list(KNOWN)
    while len(found) < count:
        radius = 0.8 / (1 + len(found) - len(KNOWN)) ** 0.5
        step = (radius * torch.randn(2, generator=draw)).tolist()
        found.append((BEST[0] + step[0], BEST[1] + step[1]))
    return found[:count]


def open_bench(suite: str, count: int, options: argparse.Namespace) -> Bench:
    folder = MINI_DATA.parent / "models" / "base"
    config = AutoConfig.from_pretrained(folder)
    for size in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"):
        setattr(config, size, getattr(config, size) * options.wide)
    config.num_hidden_layers = options.deep or config.num_hidden_layers
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, options.dtype)).eval()
    model.generation_config = GenerationConfig.from_pretrained(folder)
    subjects, data = options.subjects or SUBJECTS.get(suite), options.data
    longest = options.longest or LONGEST.get(suite)
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
    names = ("base", "sums", "products")
    sources = [read_weights(options.models / n if options.models else MODELS / n) for n in names]
    gc.collect()
    gc.freeze()  # as a search does; both engines gain by it
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
    """Of one matrix product of the mini models' shape, as the fast engine multiplies, best of many."""
    given, layer = torch.randn(1024, 128), torch.nn.Linear(128, 384, bias=False)
    best = float("inf")
    with torch.inference_mode(), faster_products(layer):
        for _ in range(200):
            start = time.perf_counter()
            layer(given)
            best = min(best, time.perf_counter() - start)
    return 2 * 1024 * 128 * 384 / best


def measure(suite: str, options: argparse.Namespace) -> list[str]:
    """One suite's rows of the table; details are printed on the way."""
    count = options.documents or DOCUMENTS[suite]
    bench = open_bench(suite, count, options)
    points = candidates(options.candidates)
    bench.load(points[0])
    walls = {batch: bench.run(bench.stock(batch))[0] for batch in options.batch}
    batch = min(walls, key=walls.__getitem__)
    size = sum(parameter.numel() for parameter in bench.model.parameters()) / 1e6
    print(f"\n## {NAMES[suite]}, {count} documents, {size:.1f}M parameters, {options.dtype}")
    print(f"stock, seconds by batch size: {_round(walls)}")
    if options.dtype != "float32":
        _print_rounding(bench, points[-options.repeats :], batch)
        return []

    first, rows, differ = [], [], Difference()
    for _ in range(options.repeats):
        fast_seconds, _ = bench.run(FastEngine(bench.stock(batch)))
        ours = bench.answers
        stock_seconds, _ = bench.run(bench.stock(batch))
        first.append((stock_seconds, fast_seconds))
        differ += bench.compare(ours)
    rows.append(_row(NAMES[suite], "first candidate", first))

    stock, fast = bench.stock(batch), FastEngine(bench.stock(batch))
    assert fast.fallback is None
    fast.profile.timer = clock()
    bench.run(stock)
    steady, growth = [], []
    for number, point in enumerate(points):
        bench.load(point)
        forget(fast.profile)
        seconds, evaluation = bench.run(fast)
        growth.append(f"{number + 1}: {seconds:.2f} s")
        if number >= len(points) - options.repeats:
            ours = bench.answers
            stock_seconds, _ = bench.run(stock)
            steady.append((stock_seconds, seconds))
            differ += bench.compare(ours)
    rows.append(
        _row(NAMES[suite], f"candidates {len(points) - options.repeats + 1} and on", steady)
    )
    lengths = [len(bench.tokenizer.encode(a)) for a in bench.answers if isinstance(a, str)]
    if lengths:
        print(f"tokens of an answer: {statistics.mean(lengths):.0f} on average")
    print("fast, by candidate:", ", ".join(growth))
    print(
        f"answers that differ: {differ.strings} of {differ.answers}; "
        f"log-likelihoods by at most {differ.nats:.1e}"
    )
    _print_profile(bench, fast, evaluation, seconds)
    if options.distances:
        _print_distances(bench, fast, points[-1])
    fast._decoder._cache = None  # it counts, too
    memory = {
        "fast": peak_megabytes(lambda: bench.run(fast)),
        "stock": peak_megabytes(lambda: bench.run(stock)),
    }
    print("peak memory beyond the model:", _round(memory), "MB")
    return rows


def _print_rounding(bench: Bench, points: Sequence[tuple[float, float]], batch: int) -> None:
    """How often rounding alone decides an answer: the fast engine, and stock at another batch size."""
    fast, drafted = Difference(), Difference()
    other = {size: Difference() for size in (1, batch // 2)}
    engine = FastEngine(bench.stock(batch))
    for point in points:
        bench.load(point)
        bench.run(bench.stock(batch))
        stock = bench.answers
        bench.run(FastEngine(bench.stock(batch)))
        fast += bench.compare(stock)
        bench.run(engine)
        drafted += bench.compare(stock)
        for size in other:
            bench.run(bench.stock(size))
            other[size] += bench.compare(stock)
    print(f"\n| beside stock, batches of {batch} | answers that differ | of |\n|---|---|---|")
    named = {"fast, no drafts": fast, "fast, drafts": drafted}
    for name, found in (*named.items(), *((f"stock, batches of {s}", d) for s, d in other.items())):
        print(
            f"| {name} | {found.strings} ({found.strings / found.answers:.1%}) | {found.answers} |"
        )


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
        forget(fast.profile)
        seconds, _ = bench.run(fast)
        passes = sum(fast.profile.passes.values())
        print(f"at distance {distance:.2f} of each coefficient: {seconds:.2f} s, {passes} passes")


def forget(profile: Profile) -> None:
    """Begin a profile anew."""
    for counts in (profile.seconds, profile.passes, profile.tokens):
        counts.clear()


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
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--longest", type=int, help="tokens at which a real suite's answer is cut")
    parser.add_argument("--wide", type=int, default=1, help="times the mini models' width")
    parser.add_argument("--deep", type=int, help="layers")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--models", type=Path, help="of `imitators.py`, instead of the mini models")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--distances", action="store_true", help="time against distance, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [row for suite in options.suites for row in measure(suite, options)]
    print("\n| work | when | stock | fast | stock / fast |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
