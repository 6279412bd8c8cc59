"""Kill workers with SIGKILL at random moments and look for what was lost or done twice.

    make bench BENCH=soak_kill ARGS="--kills 50 --storage postgres"

Workers score a synthetic landscape in 50 ms, so that most of the time goes into the storage, where a
kill does the most harm. Ends with exit code 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.helpers.searches.crew import Crew, complaints
from tests.helpers.services.postgres import storage_url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--storage", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.05, help="that a candidate takes")
    parser.add_argument("--pause", type=float, default=0.8, help="longest between two kills")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(storage_url(options.storage))
        crew = Crew(folder, options.trials, url, seconds=options.seconds)
        sys.exit(
            soak(crew, options.kills, options.workers, random.Random(options.seed), options.pause)
        )


def soak(crew: Crew, kills: int, workers: int, chance: random.Random, pause: float) -> int:
    """Run the study, killing; the number of things that are wrong."""
    begin, killed, number = time.monotonic(), 0, 0
    running: list[int] = []
    while True:
        while len(running) < workers:
            running.append(crew.start(number))
            number += 1
        if killed >= kills:
            break
        time.sleep(chance.uniform(0.0, pause))
        victim = running.pop(chance.randrange(len(running)))
        done, _ = os.waitpid(victim, os.WNOHANG)
        if done:
            break  # the budget is used up
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        killed += 1
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in running]
    took = time.monotonic() - begin
    with crew.open() as search:
        lines = crew.said()
        wrong = complaints(search, lines, crew.trials)
        wrong += [f"a worker ended with {code}" for code in codes if code]
        wrong += [path.read_text() for path in crew.folder.glob("*.error")]
        trials = search.storage.trials()
    # Random points do not repeat themselves: a repetition is a trial that was taken up again in vain.
    twins = [t.number for t in trials if t.duplicate_of is not None]
    wrong += [f"trial {number} repeats an earlier one" for number in twins]
    cut = sum(t.state == "cut off" for t in trials)
    rescued = sum("had been scored when" in line for line in lines)
    print(
        f"{killed} kills in {took:.0f} s over {len(trials)} trials: {cut} trials cut off and taken "
        f"up again, {rescued} finished by another worker, "
        f"{sum(t.scores is not None for t in trials)} scored; wrong: {wrong or 'nothing'}"
    )
    return len(wrong)


if __name__ == "__main__":
    main()
