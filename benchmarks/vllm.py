"""The engine vllm beside what it replaces, in one run: merging, a candidate, drafts.

    python benchmarks/vllm.py --models FOLDER [--data ../shared/data] [--documents 24] [--tokens 96]

FOLDER holds base, gsm and math, as benchmarks/smollm2.py makes them (and does here where they are missing). Needs the
environment of `make test-vllm`. On a CPU linear weights are left unpacked, which is the layout that GPUs have.

Printed: seconds to write a candidate in place beside moving its bytes at this run's copy bandwidth; seconds of a
candidate beside a fresh lm-eval run on the candidate as a folder, and beside a warm engine that answers the same
requests; steps and seconds with drafts and without, all rows at once and two at a time, and answers that differ.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

sys.path.pop(0)  # in this file's own folder it would be the package vllm
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.smollm2 import make
from benchmarks.vllm_costs import Cost, all_seconds, cost_of, merge_and_copy
from exme.evaluators.harness import Chat, lm_eval_scores
from exme.evaluators.vllm.alone import vllm_alone
from exme.evaluators.vllm.engine import Start
from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.model_folder import write_model
from exme.search.merging.sources.checkpoint import read_json
from exme.search.running.search import Search, open_search
from exme.search.scoring.served_model import ServedModel
from exme.search.scoring.worker import Worker

POINTS = ((0.5, 0.5), (0.8, 0.4), (0.6, 0.6), (0.7, 0.5), (0.65, 0.55), (0.7, 0.6))
REPEATS = 15


def study_of(options: argparse.Namespace, *, drafts: bool) -> dict[str, Any]:
    """The study, as its file says it."""
    return {
        "base": str(options.models / "base"),
        "checkpoints": {n: str(options.models / n) for n in ("gsm", "math")},
        "suites": ["gsm8k"],
        "data": str(options.data),
        "documents": {"search": options.documents, "report": 1},
        "max_gen_toks": options.tokens,
        "engine": "vllm",
        "device": options.device,
        "vllm": {
            "max_model_len": 2048,
            "drafts": drafts,
            "dtype": options.dtype,
            "engine_args": options.engine_args,
            # Two engines share the GPU.
            **({"gpu_memory_utilization": 0.35} if options.device == "cuda" else {}),
        },
    }


def opened(options: argparse.Namespace, folder: Path, *, drafts: bool) -> Search:
    """The study, open; nothing is started."""
    file = folder / f"vllm-{'drafts' if drafts else 'plain'}.yaml"
    file.write_text(yaml.safe_dump(study_of(options, drafts=drafts)))
    return open_search(file, "gsm8k", runs=folder)


# The measures -------------------------------------------------------------------------------------


def candidate_of(search: Search, point: Sequence[float]) -> Candidate:
    """A plain sum."""
    return search.candidate(dict(zip(("gsm", "math"), point, strict=True)))


def check_weights(search: Search, worker: Worker, candidate: Candidate, folder: Path) -> None:
    """What the workers hold beside what vLLM reads from the export; ends the program if a bit differs."""
    assert isinstance(worker.live, ServedModel)
    served = worker.live.served
    worker.take_in(candidate)
    ours = served.call("compute_weight_checksums")
    export = folder / "export"
    export.mkdir()
    write_model(export, search.sources, candidate, code=False)
    read = served.model.model.collective_rpc
    read("reload_weights", kwargs={"weights_path": str(export)})
    if ours != served.call("compute_weight_checksums"):
        sys.exit("the workers' weights are not those of the export")
    print(f"weights: {sum(map(len, ours))} parameters are those of the export, bit for bit")


def measure_merging(worker: Worker, candidate: Candidate) -> None:
    """Writing in place beside moving the bytes."""
    assert isinstance(worker.live, ServedModel)
    served = worker.live.served
    [report] = served.call("exme_report")
    assert report["path"] == "in place", report
    served.call("start_weight_update")
    [(merging, copying, copied)] = served.model.model.collective_rpc(
        merge_and_copy, args=(candidate.to_json(), REPEATS)
    )
    served.call("finish_weight_update")
    moved = report["bytes"] + report["written"]
    print(f"\nmerge in place: {moved / 1e9:.2f} GB moved")
    print("| seconds | merging | at the copies' bandwidth | times | GB/s of the copies |")
    print("|---|---|---|---|---|")
    kinds = (
        ("median", statistics.median, 0),
        ("least", min, 0),
        ("median, of the processor", statistics.median, 1),
    )
    for what, pick, place in kinds:
        own = float(pick(t[place] for t in merging))
        bandwidth = copied / float(pick(t[place] for t in copying))
        ideal = moved / bandwidth
        print(f"| {what} | {own:.3f} | {ideal:.3f} | {own / ideal:.2f} | {bandwidth / 1e9:.1f} |")


def score(worker: Worker, candidate: Candidate, rows: int) -> tuple[Cost, Cost, list[str]]:
    """What taking a candidate in and answering cost, and the answers; so many requests at a time."""
    taking = cost_of(worker, lambda: worker.take_in(candidate))
    [judge] = worker.judges("search")
    answers: list[str] = []

    def answer() -> None:
        for first in range(0, len(judge.documents), rows):
            chosen = range(first, min(first + rows, len(judge.documents)))
            answers.extend(judge.score(worker.engine, chosen).answers)

    return taking, cost_of(worker, answer), answers


def steps_of(worker: Worker) -> dict[str, int]:
    """Decoding steps and drafted tokens since the last question."""
    assert isinstance(worker.live, ServedModel)
    found: dict[str, int] = worker.live.served.call("exme_draft_counts")[0]
    return found


def measure_drafts(
    search: Search,
    drafting: Worker,
    plain: Worker,
    rows: int,
    points: Sequence[Sequence[float]],
    must_agree: bool = False,
) -> list[tuple[Cost, Cost]]:
    """Candidates with drafts and without, in turn; what each cost, the first of the pair with drafts and merging."""
    costs, differing, total = [], 0, 0
    print(f"\n{rows} rows at a time:")
    print(
        "| candidate | tokens | drafted | right | decoding steps | share | steps of all rows | s with drafts | without | gain | processor s with | without |"
    )
    print("|" + 12 * "---|")
    for number, point in enumerate(points, 1):
        candidate = candidate_of(search, point)
        steps_of(drafting)
        taken, with_drafts, answers = score(drafting, candidate, rows)
        counts = steps_of(drafting)
        _, without, expected = score(plain, candidate, rows)
        differing += sum(a != b for a, b in zip(answers, expected, strict=True))
        total += len(answers)
        costs.append((taken + with_drafts, without))
        # An answer takes a step for each of its tokens that was not drafted; without drafts, for each of its tokens.
        tokens, right = counts["tokens"], counts["right"]
        print(
            f"| {number} | {tokens} | {counts['drafted']} | {right} | {tokens - right} | {1 - right / tokens:.2f} | "
            f"{counts['steps']} | {with_drafts.clock:.1f} | {without.clock:.1f} | {without.clock / with_drafts.clock:.2f} | "
            f"{with_drafts.processor:.1f} | {without.processor:.1f} |",
            flush=True,
        )
    print(f"answers that differ: {differing} of {total}")
    if must_agree and differing:
        sys.exit("answers with drafts differ from those without")
    return costs


def measure_alone(options: argparse.Namespace, search: Search, candidate: Candidate) -> Cost:
    """What it costs to write a candidate and to have a fresh process of lm-eval answer with it."""
    with tempfile.TemporaryDirectory() as temporary:
        start, before = time.perf_counter(), all_seconds()
        folder = Path(temporary)
        write_model(folder, search.sources, candidate, code=False)
        written = time.perf_counter() - start
        given = [str(v) for v in ("--models", options.models, "--data", options.data)]
        given += ["--documents", str(options.documents), "--tokens", str(options.tokens)]
        given += [
            "--device",
            options.device,
            "--dtype",
            options.dtype,
            "--engine-args",
            json.dumps(options.engine_args),
        ]
        command = [sys.executable, __file__, *given, "--alone", temporary]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        cost = Cost(time.perf_counter() - start, all_seconds() - before)
    print(
        f"fresh lm-eval, model vllm: {cost.clock:.1f} s, {written:.1f} s of it writing the candidate; of the "
        f"processor {cost.processor:.1f} s"
    )
    return cost


def run_alone(options: argparse.Namespace) -> None:
    """In a process of its own: lm-eval's `vllm` model on a folder, by itself."""
    with tempfile.TemporaryDirectory() as temporary:
        search = opened(options, Path(temporary), drafts=False)
        config = read_json(options.alone / "config.json")
        start = Start(
            folder=options.alone,
            config=config,
            dtype=search.precision.compute,
            device=options.device,
            trust_remote_code=False,
            cache_bytes=2**30 if options.device == "cpu" else None,
            utilization=0.85,
            log=Path(temporary) / "vllm.log",
        )
        with vllm_alone(start, search.study.vllm) as model:
            lm_eval_scores(search.documents[0], "search", model, Chat())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto", help="in which the model computes")
    parser.add_argument(
        "--check", action="store_true", help="weights and answers alone; exit code 1 if any differ"
    )
    parser.add_argument("--engine-args", type=json.loads, default={})
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["EXME_VLLM_UNPACKED"] = "0" if options.alone else "1"
    os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"  # to measure inside a worker
    if options.alone is not None:
        run_alone(options)
        return
    if not (options.models / "math/config.json").is_file():
        make(options.models, options.data, 12)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as temporary:
        measure(options, Path(temporary))
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def measure(options: argparse.Namespace, folder: Path) -> None:
    """All of it."""
    search = opened(options, folder, drafts=True)
    start = time.perf_counter()
    drafting = search.local_worker()
    print(f"engine start, sources read and probed: {time.perf_counter() - start:.1f} s")
    plain = opened(options, folder, drafts=False).local_worker()
    try:
        check_weights(search, plain, candidate_of(search, POINTS[1]), folder)
        measure_merging(plain, candidate_of(search, POINTS[0]))
        pairs = measure_drafts(search, drafting, plain, options.documents, POINTS, options.check)
        if options.check:
            return
        measure_drafts(search, drafting, plain, 2, POINTS[-3:])
    finally:
        drafting.close()
        plain.close()
    alone = measure_alone(options, search, candidate_of(search, POINTS[-1]))
    for kind in ("clock", "processor"):
        own = statistics.median(getattr(cost, kind) for cost, _ in pairs)
        warm = statistics.median(getattr(cost, kind) for _, cost in pairs)
        print(
            f"a candidate, by the {kind}: {own:.1f} s, {own / getattr(alone, kind):.2f} of a fresh run, "
            f"{own / warm:.2f} of a warm engine's answers"
        )


if __name__ == "__main__":
    main()
