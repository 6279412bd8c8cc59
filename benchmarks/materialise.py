"""How fast candidates are made: GB/s, and the share of the copy bandwidth measured in the same run.

Bytes are those of the base and of every source, read once, and of the live model, written once. A
round copies a tensor list of the model's size and makes a candidate by every method; the share is the
median over rounds of the ratio within a round, for machines are noisy.

    OMP_NUM_THREADS=1 python benchmarks/materialise.py --gigabytes 1 --sources 2 4
    OMP_NUM_THREADS=1 python benchmarks/materialise.py --mergekit ~/mergekit-environment

The second form merges two fine-tunes of a random Llama of about that size on disk, with mergekit and
with `exme materialise`'s code, on the disk, in memory (/dev/shm), and without writing.
`benchmarks/mergekit_golden.py` makes that environment.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import torch

from exme.search.merging.candidate import Candidate
from exme.search.merging.materialise import Merger
from exme.search.merging.sources.fetched import Fetched
from exme.search.merging.sources.residence import Part

SHAPE = (2048, 4096)  # of every tensor
TENSOR = 2048 * 4096
OWN = {
    "task_arithmetic": {},
    "slerp": {},
    "model_stock": {"stock": 1.0},
    "ties": {"density": 0.3},
    "dare_linear": {"density": 0.5},
    "dare_ties": {"density": 0.5},
    "della": {"density": 0.5, "epsilon": 0.15},
    "breadcrumbs": {"density": 0.5, "gamma": 0.01},
}


class Random:
    """Sources in memory: random bfloat16 tensors, fine-tunes near their base."""

    frugal = False

    def __init__(self, tensors: int, sources: int) -> None:
        generator = torch.Generator().manual_seed(0)
        seed = torch.randn(TENSOR, generator=generator)
        noise = torch.randn(TENSOR, generator=generator) * 0.01
        self.names = [f"layers.{i}.weight" for i in range(tensors)]
        self.kept = {}
        for i, name in enumerate(self.names):
            base = seed.roll(i).bfloat16().view(SHAPE)
            tuned = {
                f"s{k}": (base + noise.roll(7 * i + k).view(SHAPE)).bfloat16()
                for k in range(sources)
            }
            self.kept[name] = Fetched(base, tuned)

    def fetch(self, tensor: str, device: torch.device) -> Fetched:
        return self.kept[tensor]

    def stream(self, tensors: Sequence[tuple[str, torch.device]]) -> Iterator[Part]:
        whole = slice(0, TENSOR)
        return ((name, whole, self.kept[name].part(whole)) for name, _ in tensors)

    def room(self, count: int) -> torch.Tensor:
        return torch.empty(count, dtype=torch.uint8)


class Peak(threading.Thread):
    """The largest private memory of this process while it runs, beyond that at its start."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._process, self._done = psutil.Process(), threading.Event()
        self._first = self._most = self._private()

    def _private(self) -> int:
        found = self._process.memory_info()
        return int(found.rss - found.shared)

    def run(self) -> None:
        while not self._done.wait(0.005):
            self._most = max(self._most, self._private())

    def stop(self) -> int:
        self._done.set()
        self.join()
        return self._most - self._first


def seconds(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


def in_memory(gigabytes: float, sources: int, rounds: int, *, wide: bool) -> None:
    """Print a table of all methods."""
    count = round(gigabytes * 1e9 / 2 / TENSOR)
    given = Random(count, sources)
    compute = torch.float32 if wide else torch.bfloat16
    live = {name: torch.zeros(SHAPE, dtype=compute) for name in given.names}
    merger = Merger(given, torch.bfloat16, compiled=True)
    places = [(name, torch.device("cpu")) for name in given.names]
    copied = {name: torch.zeros(SHAPE, dtype=torch.bfloat16) for name in given.names}

    def copy() -> None:
        for name, tensor in copied.items():
            tensor.copy_(given.kept[name].base)

    def candidate(method: str) -> Candidate:
        names = [f"s{k}" for k in range(2 if method == "slerp" else sources)]
        c = {name: 0.3 + 0.2 * k for k, name in enumerate(names)}
        return Candidate(c, method, "bfloat16", {}, parameters=OWN[method])

    def make(method: str) -> None:
        merges = merger.instructions(candidate(method), given.names)
        for name, part, found in given.stream(places):
            assert merger.write(name, part, merges[name], found, live[name].view(-1))

    copy()
    tables, shares, speeds, times, peaks = {}, {}, {}, {}, {}  # type: ignore[var-annotated]
    for method in OWN:
        tables[method] = seconds(lambda m=method: merger.instructions(candidate(m), given.names))
        if method == "della":  # its ranks are found at the first use
            tables[method] += seconds(lambda: make("della")) - seconds(lambda: make("della"))
        peak = Peak()
        peak.start()
        make(method)
        peaks[method] = peak.stop()
    for _ in range(rounds):
        for method in OWN:
            bandwidth = 2 * count * TENSOR * 2 / min(seconds(copy) for _ in range(2))
            took = seconds(lambda m=method: make(m))
            read = 1 + len(candidate(method).coefficients)
            moved = count * TENSOR * (2 * read + compute.itemsize)
            shares.setdefault(method, []).append(moved / took / bandwidth)
            speeds.setdefault(method, []).append(moved / took / 1e9)
            times.setdefault(method, []).append(took)
    print(
        f"\n{count * TENSOR * 2 / 1e9:.2f} GB of bfloat16, {sources} sources, live model in "
        f"{str(compute).removeprefix('torch.')}, {torch.get_num_threads()} thread(s), {rounds} rounds; "
        f"copy {bandwidth / 1e9:.1f} GB/s (read + written) in the last"
    )
    print("| method | once per study, s | candidate, s | GB/s | share of copy | peak extra, MB |")
    print("|---|---|---|---|---|---|")
    for method in OWN:
        print(
            f"| {method} | {tables[method]:.2f} | {statistics.median(times[method]):.3f} | "
            f"{statistics.median(speeds[method]):.1f} | {statistics.median(shares[method]):.0%} | "
            f"{peaks[method] / 1e6:.1f} |"
        )


MERGEKIT = """
import re, sys, threading, time, yaml
from mergekit.config import MergeConfiguration
from mergekit.io.tensor_writer import TensorWriter
from mergekit.merge import MergeOptions, run_merge
if sys.argv[2] == "-":  # nothing written
    sys.argv[2] = sys.argv[3]
    TensorWriter.save_tensor = TensorWriter.finalize = lambda *a, **k: None
config = MergeConfiguration.model_validate(yaml.safe_load(open(sys.argv[1])))
def private():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
first, peaks, done = private(), [0], threading.Event()
def watch():
    while not done.wait(0.005):
        peaks.append(max(peaks.pop(), private() - first))
threading.Thread(target=watch, daemon=True).start()
start = time.perf_counter()
run_merge(config, sys.argv[2], options=MergeOptions(
    copy_tokenizer=False, device="cpu", quiet=True, lazy_loader=True))
took = time.perf_counter() - start
print(took, max(peaks))
"""


def random_llamas(folder: Path, gigabytes: float) -> None:
    """Write a base and two fine-tunes of it of about this size."""
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    layers = max(
        1, round((gigabytes * 1e9 / 2 - 2 * 32000 * 2048) / (4 * 2048**2 + 3 * 2048 * 5632))
    )
    config = LlamaConfig(num_hidden_layers=layers, hidden_size=2048, intermediate_size=5632,
                         num_attention_heads=16, num_key_value_heads=16, vocab_size=32000,
                         tie_word_embeddings=False)  # fmt: skip
    pattern = torch.randn(2**20, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.device("meta"):  # half a billion draws would take a minute
        model = LlamaForCausalLM(config).bfloat16()
    model.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            for piece in parameter.view(-1).split(2**20):
                piece.copy_(pattern[: len(piece)])
        for name in ("base", "math", "code"):
            model.save_pretrained(folder / name)
            for parameter in model.parameters():
                parameter.view(-1)[::3].add_(0.01)


def against_mergekit(
    environment: Path, gigabytes: float, scratch: Path | None, rounds: int
) -> None:
    """Print times of the same merge by mergekit and by us."""
    from exme.search.merging.folders.stream import write_stream  # noqa: PLC0415
    from exme.search.merging.sources.checkpoint import Checkpoint  # noqa: PLC0415
    from exme.search.merging.sources.residence import Mapped  # noqa: PLC0415
    from exme.search.merging.sources.sources import Sources  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
        memory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        random_llamas(folder, gigabytes)
        content = {
            "merge_method": "task_arithmetic",
            "base_model": str(folder / "base"),
            "models": [
                {"model": str(folder / n), "parameters": {"weight": w}}
                for n, w in (("math", 0.7), ("code", 0.6))
            ],
            "dtype": "float32",
            "out_dtype": "bfloat16",
        }
        (folder / "merge.yml").write_text(json.dumps(content))
        opened = {n: Checkpoint(n, folder / n) for n in ("base", "math", "code")}
        sources = Sources(opened.pop("base"), opened)
        candidate = Candidate(
            {"math": 0.7, "code": 0.6}, "task_arithmetic", "bfloat16", sources.fingerprints
        )
        live = {
            n: torch.zeros(s.shape, dtype=torch.bfloat16) for n, s in sources.base.tensors.items()
        }
        mapped = Mapped(sources)
        merger = Merger(mapped, torch.bfloat16, compiled=True)

        def resident() -> None:
            merges = merger.instructions(candidate, list(live))
            for name, part, found in mapped.stream([(n, torch.device("cpu")) for n in live]):
                merger.write(name, part, merges[name], found, live[name].view(-1)[part])

        rows: dict[str, list[tuple[float, float]]] = {}

        def theirs(what: str, *places: Path | str) -> None:
            script = [environment.expanduser() / "bin" / "python", "-c", MERGEKIT]
            command = [*script, folder / "merge.yml", *places]
            found = subprocess.run(command, check=False, capture_output=True, text=True)  # type: ignore[arg-type]
            if found.returncode:
                raise SystemExit(f"mergekit ended with {found.returncode}:\n{found.stderr[-2000:]}")
            took, peak = found.stdout.split()[-2:]
            rows.setdefault(f"mergekit, {what}", []).append((float(took), float(peak)))
            print(f"mergekit, {what}: {float(took):.2f} s", flush=True)

        def ours(what: str, work: Callable[[], object]) -> None:
            peak = Peak()
            peak.start()
            took = seconds(work)
            rows.setdefault(f"exme, {what}", []).append((took, peak.stop()))
            print(f"exme, {what}: {took:.2f} s", flush=True)

        for round_ in range(rounds):
            for where, out in (("disk", folder), ("/dev/shm", memory)):
                theirs(f"written to {where}", out / f"mergekit-{round_}")
                target = out / f"ours-{round_}"
                target.mkdir()
                ours(
                    f"written to {where}",
                    lambda t=target: write_stream(t, sources, candidate, max_shard_bytes=10**9),  # type: ignore[misc]
                )
                for made in (target, out / f"mergekit-{round_}"):
                    shutil.rmtree(made)
            theirs("nothing written", "-", folder / f"nothing-{round_}")
            ours("into a live model, nothing written", resident)
        size = sources.base.bytes
        print(
            f"\nRandom Llama of {size / 1e9:.2f} GB (bfloat16), two sources, {torch.get_num_threads()} "
            f"thread(s); median of {rounds}; memory beyond that before the merge, files apart\n"
        )
        print("| what | s | peak extra, MB |\n|---|---|---|")
        for what, values in rows.items():
            took, most = (statistics.median(column) for column in zip(*values, strict=True))
            print(f"| {what} | {took:.2f} | {most / 1e6:.0f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--sources", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wide", action="store_true", help="the live model computes in float32")
    parser.add_argument("--mergekit", type=Path, help="environment that has mergekit")
    parser.add_argument("--scratch", type=Path, help="folder on the disk to measure")
    options = parser.parse_args()
    if options.mergekit is not None:
        against_mergekit(options.mergekit, options.gigabytes, options.scratch, options.rounds)
        return
    for sources in options.sources:
        in_memory(options.gigabytes, sources, options.rounds, wide=options.wide)


if __name__ == "__main__":
    main()
