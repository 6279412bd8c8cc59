"""Where a trial's time goes, and what a search's memory is.

Reads the times that a finished search recorded: proposing (sampler and storage), materialising, the
model's own work (the engine) and judging (filters and metric).
Everything but materialising and the model's work is overhead; it should be under 5% of a trial.

    make search TASK=gsm8k && python benchmarks/trial.py
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import optuna

from exme.search.storage.backend import sqlite_url


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="studies/runs/mini-gsm8k", type=Path)
    options = parser.parse_args()
    study = optuna.load_study(study_name=options.run.name, storage=sqlite_url(options.run))
    works: dict[str, list[float]] = {}
    walls = []
    scored = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    for trial in study.get_trials(states=scored):
        seconds = trial.user_attrs.get("look", {}).get("seconds")
        if not seconds or trial.datetime_complete is None or trial.datetime_start is None:
            continue
        for work, value in seconds.items():
            works.setdefault(work, []).append(value)
        walls.append((trial.datetime_complete - trial.datetime_start).total_seconds())
    total = sum(sum(values) for values in works.values())
    print(f"{len(walls)} trials, median {statistics.median(walls):.2f} s from ask to tell")
    for work, values in works.items():
        print(
            f"{work:<12} median {statistics.median(values):8.4f} s   "
            f"{sum(values) / total:6.2%} of the trial"
        )
    overhead = 1 - (sum(works["materialise"]) + sum(works["model"])) / total
    print(f"overhead     {overhead:.2%}")


if __name__ == "__main__":
    main()
