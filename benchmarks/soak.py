"""Many trials by several workers on a synthetic landscape: does a trial cost the same at the end?

    make bench BENCH=soak ARGS="--storage postgres --trials 2000 --workers 4"

Scoring takes no time here: what is measured is proposing, storing and reading back, with all workers
at it at once, which is the most that a storage ever meets. Prints a row per tenth of the search: wall
time per trial over all workers; of one worker and trial, the time that calls into the storage took, the
time that it waited for its turn, and the processor time; and the workers' memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from exme.search.running.search import Search
from tests.helpers.searches.crew import Crew, complaints
from tests.helpers.services.postgres import storage_url


@dataclass(frozen=True)
class Watched(Crew):
    """A crew whose workers write down what each trial took."""

    def open(self, lines: Path | None = None) -> Search:
        search = super().open(lines)
        if lines is not None:
            _watch(search, lines.with_suffix(".jsonl"))
        return search


def _watch(search: Search, log: Path) -> None:
    """Have a worker append a line per trial to a file."""
    spent = {"storage": 0.0, "turn": 0.0}
    patience = search.storage._backend.patience  # type: ignore[attr-defined]
    call, hold, one = patience.call, search.storage._locks.hold, search.loop.trial
    process = psutil.Process()

    def timed_call(work: Callable[[int], Any]) -> Any:
        begin = time.perf_counter()
        try:
            return call(work)
        finally:
            spent["storage"] += time.perf_counter() - begin

    @contextlib.contextmanager
    def timed_hold(name: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        begin, within = time.perf_counter(), spent["storage"]
        lock: AbstractContextManager[None] = hold(name, waiting)
        with lock:
            spent["turn"] += time.perf_counter() - begin - (spent["storage"] - within)
            yield

    last = time.process_time()

    def timed_trial() -> int | None:
        """A trial, and all that came since the one before: reading back, the line on the screen."""
        nonlocal last
        number = one()
        if number is not None:
            line = {
                "trial": number,
                "at": time.monotonic(),
                "processor": time.process_time() - last,
                "memory": process.memory_info().rss,
                **spent,
            }
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            spent.update(storage=0.0, turn=0.0)
            last = time.process_time()
        return number

    patience.call = timed_call
    search.storage._locks.hold = timed_hold  # type: ignore[method-assign]
    search.loop.trial = timed_trial  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--storage", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(storage_url(options.storage))
        crew = Watched(folder, options.trials, url, options.sampler, documents=options.documents)
        crew.open().storage.close()
        sys.exit(soak(crew, options.workers))


def soak(crew: Watched, workers: int) -> int:
    """Run the study; the number of things that are wrong."""
    begin = time.monotonic()
    processes = [crew.start(number) for number in range(workers)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in processes]
    took = time.monotonic() - begin
    for row in rows(crew.folder, begin):
        print(row, flush=True)
    with crew.open() as search:
        wrong = complaints(search, crew.said(), crew.trials)
    wrong += [f"a worker ended with {code}" for code in codes if code]
    wrong += [path.read_text() for path in crew.folder.glob("*.error")]
    print(
        f"{crew.trials} trials of {crew.documents} documents by {workers} workers in {took:.0f} s, "
        f"{1000 * took / crew.trials:.0f} ms each; wrong: {wrong or 'nothing'}"
    )
    return len(wrong)


def rows(folder: Path, begin: float) -> Iterator[str]:
    """A Markdown row per tenth of the trials, in the order in which they ended."""
    lines = [line for log in folder.glob("*.jsonl") for line in log.read_text().splitlines()]
    found = sorted(map(json.loads, lines), key=lambda line: line["at"])
    yield "| trials | wall ms | storage ms | turn ms | processor ms | memory MiB |"
    yield "|---|---|---|---|---|---|"
    step = max(1, -(-len(found) // 10))
    for first in range(0, len(found), step):
        part = found[first : first + step]
        wall = (part[-1]["at"] - begin) / len(part)
        begin = part[-1]["at"]
        medians = [
            1000 * statistics.median(line[name] for line in part)
            for name in ("storage", "turn", "processor")
        ]
        memory = statistics.median(line["memory"] for line in part) / 2**20
        shown = " | ".join(f"{value:.1f}" for value in (1000 * wall, *medians, memory))
        yield f"| {first + 1} to {first + len(part)} | {shown} |"


if __name__ == "__main__":
    main()
