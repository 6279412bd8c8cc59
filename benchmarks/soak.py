"""Many trials by several workers on a synthetic landscape: does a trial cost the same at the end?

    make bench BENCH=soak ARGS="--storage postgres --trials 2000 --workers 4"

Scoring takes no time here: what is measured is proposing, storing and reading back, with all workers
at it at once, which is the most that a storage ever meets. Prints a row per tenth of the search: wall
time per trial, and the workers' memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.search.crew import Crew, complaints
from tests.search.postgres import Postgres, find_binaries


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
        url = None
        if options.storage == "postgres":
            binaries = find_binaries()
            if binaries is None:
                sys.exit("no PostgreSQL here (Debian and Ubuntu: apt install postgresql)")
            url = stack.enter_context(Postgres(binaries, durable=True)).url
        crew = Crew(folder, options.trials, url, options.sampler, documents=options.documents)
        crew.open().storage.close()
        sys.exit(soak(crew, options.workers))


def soak(crew: Crew, workers: int) -> int:
    """Run the study; the number of things that are wrong."""
    begin = time.monotonic()
    processes = [psutil.Process(crew.start(number)) for number in range(workers)]
    step = max(1, crew.trials // 10)
    done, last, tenths = 0, begin, 0
    while done < crew.trials and any(p.status() != psutil.STATUS_ZOMBIE for p in processes):
        time.sleep(0.2)
        done = sum(line.startswith("#") for line in crew.said())
        if done >= (tenths + 1) * step:
            now = time.monotonic()
            memory = [p.memory_info().rss >> 20 for p in processes]
            each = 1000 * (now - last) / (done - tenths * step)
            print(f"{done:6d} trials: {each:7.1f} ms each, workers of {memory} MiB", flush=True)
            last, tenths = now, done // step
    codes = [os.waitstatus_to_exitcode(os.waitpid(p.pid, 0)[1]) for p in processes]
    with crew.open() as search:
        wrong = complaints(search, crew.said(), crew.trials)
    wrong += [f"a worker ended with {code}" for code in codes if code]
    print(f"{crew.trials} trials in {time.monotonic() - begin:.0f} s; wrong: {wrong or 'nothing'}")
    return len(wrong)


if __name__ == "__main__":
    main()
