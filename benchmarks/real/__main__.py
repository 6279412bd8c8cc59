"""A real model from training runs to the table: `python -m benchmarks.real [train|search|table]`, all three by default.

`python -m benchmarks.real landscapes` makes landscapes of it for `benchmarks.search_gain`.

Every step goes on where it was interrupted. Models, runs and scores lie in studies/runs/smollm2/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import exme.search  # noqa: F401  (before torch, whose threads then sleep while they wait)

FOLDER = Path("studies/runs/smollm2")
STEPS = ("train", "search", "table")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="*", choices=["all", *STEPS, "landscapes"], default="all")
    parser.add_argument("--points", type=int, default=25, help="of a landscape")
    options = parser.parse_args()
    steps = STEPS if "all" in options.steps else options.steps
    FOLDER.mkdir(parents=True, exist_ok=True)
    if "train" in steps:
        from benchmarks.smollm2 import smollm2  # noqa: PLC0415  (loads torch)

        from .training import RECIPES, train, trained  # noqa: PLC0415

        base = smollm2(FOLDER / "base")
        for name, recipe in RECIPES.items():
            if not trained(FOLDER / name, recipe):
                print(f"Training {name}: {recipe.steps} steps of {recipe.batch} chats.", flush=True)
                train(base, FOLDER / name, recipe)
    if "search" in steps or "table" in steps:
        from . import comparison  # noqa: PLC0415

        if "search" in steps:
            comparison.search(FOLDER)
        if "table" in steps:
            print(comparison.table(list(comparison.rows(FOLDER))))
    if "landscapes" in steps:
        from . import landscapes  # noqa: PLC0415

        landscapes.write(FOLDER, options.points)


if __name__ == "__main__":
    main()
