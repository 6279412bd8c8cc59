"""Landscapes of the real model, for `benchmarks.search_gain`: one a suite, of all search documents, on a square grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.landscape import FOLDER, Landscape
from benchmarks.make_landscape import grid
from exme.evaluators import Scores
from exme.search import open_search

from .comparison import STUDY, SUITES
from .scoreboard import Scoreboard

AXIS = np.linspace(0.0, 2.0, 5)


def write(folder: Path, points: int) -> None:
    """Score points of the grid that are not scored yet, corners first, and write benchmarks/landscapes/smollm2-*.npz."""
    with open_search(STUDY, SUITES, runs=folder / "runs") as found:
        names = tuple(found.study.checkpoints)
        board = Scoreboard(found, folder / "scores.json")
        places = grid(AXIS, points)
        scores: list[Scores] = [
            board.score(dict(zip(names, map(float, place), strict=True)), "search")[0]
            for place in places
        ]
    for number, suite in enumerate(part.suite for part in scores[0].parts):
        outcomes = np.array([s.parts[number].values for s in scores]) > 0
        count = outcomes.shape[1]
        landscape = Landscape(
            name=f"smollm2-{suite}",
            names=names,
            points=places,
            outcomes=outcomes,
            kinds=("",) * count,
            thresholds=np.full(count, 0.5),
        )
        landscape.save(FOLDER / f"{landscape.name}.npz")
