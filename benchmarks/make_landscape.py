"""Make a landscape: a table of which documents models made of the mini models solve.

    python -m benchmarks.make_landscape --suite gsm8k --points 225
    python -m benchmarks.make_landscape --suite gsm8k --groups 3 --points 300

Every point is a candidate as a search scores it: the same study, materialiser, engine and judge. What there
is when it is interrupted is a landscape, and the same command goes on from it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from exme.search.merging.groups import joint
from exme.search.running.search import Search, open_search
from exme.search.study.study_file import StudyFile, load_study_file

from .landscape import FOLDER, Bools, Floats, Landscape, load

LAYERS = 4  # of the mini models

# Outcomes of a candidate with these coefficients, shape (n,).
Outcomes = Callable[[Floats], Bools]


def make(
    name: str, outcomes: Outcomes, points: Floats, names: tuple[str, ...], minutes: float
) -> Landscape:
    """Score candidates one by one; the file holds those done, and a run goes on from it.

    Args:
        name: of the landscape.
        outcomes: scores a candidate.
        points: coefficients of the candidates, shape (p, d).
        names: of the coefficients.
        minutes: after which it stops.
    """
    path = FOLDER / f"{name}.npz"
    landscape = load(path) if path.exists() else None
    began = time.perf_counter()
    for number, point in enumerate(points):
        old = np.zeros((0, len(names))) if landscape is None else landscape.points
        if np.isclose(old, point).all(1).any():
            continue
        if time.perf_counter() - began > 60 * minutes:
            break
        row = outcomes(point)[None]
        landscape = Landscape(
            name=name,
            names=names,
            points=np.concatenate([old, point[None]]),
            outcomes=row if landscape is None else np.concatenate([landscape.outcomes, row]),
            kinds=("",) * row.shape[1],
            thresholds=np.full(row.shape[1], 0.5),
        )
        written = FOLDER / f"{name}.new.npz"
        landscape.save(written)  # whole before it takes the old one's place
        written.replace(path)
        print(f"{number} {point} {row.mean():.3f} {time.perf_counter() - began:.0f} s", flush=True)
    if landscape is None:
        raise ValueError("no points")
    return landscape


def grid(axis: Floats, count: int, seed: int = 0) -> Floats:
    """Points of a square grid, its corners first, then every second one, then the others; shape (count, 2)."""
    steps = np.arange(len(axis))
    places = np.stack([g.ravel() for g in np.meshgrid(steps, steps, indexing="ij")], 1)
    corner = np.isin(places, [0, len(axis) - 1]).all(1)
    coarse = (places % 2 == 0).all(1)
    shuffled = np.random.default_rng(seed).permutation(len(places))
    chosen: Floats = axis[places[np.lexsort([shuffled, ~coarse, ~corner])[:count]]]
    return chosen


def scatter(low: float, high: float, checkpoints: int, groups: int, count: int) -> Floats:
    """Points for many coefficients, group by group, shape (count, groups * checkpoints).

    Every third has the same coefficients in all groups; the others spread about such a point, with a
    standard deviation of a sixth of the bounds' width.
    """
    generator = np.random.default_rng(1)
    found = []
    for number in range(count):
        tied = np.tile(generator.uniform(low, high, checkpoints), groups)
        spread = (high - low) / 6 * generator.normal(size=len(tied)) * (number % 3 > 0)
        found.append(np.clip(tied + spread, low, high))
    return np.array(found).round(4)


def open_study(path: Path, suite: str, documents: int, groups: int, folder: str) -> Search:
    """The study whose candidates are scored."""
    content = load_study_file(path).model_dump()
    content["suites"] = [suite]
    content["documents"] = {**content["documents"], "search": documents, "report": documents}
    content["groups"] = _groups(groups)
    content["racing"] = False
    study = StudyFile.model_validate(content)
    return open_search(study, suite, name="landscape", runs=folder)


def _groups(count: int) -> dict[str, object] | None:
    """Two or three blocks of layers; or every layer, the embeddings and the rest (6 for a base of 4 layers)."""
    if count < LAYERS:
        return {"blocks": count} if count else None
    patterns = {f"layer {i}": [f"*layers.{i}.*"] for i in range(LAYERS)}
    return {"patterns": {**patterns, "embeddings": ["*embed_tokens*"]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=Path("studies/mini.yaml"))
    parser.add_argument("--suite", default="gsm8k")
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--split", choices=["search", "report"], default="search")
    parser.add_argument(
        "--groups", type=int, default=0, help="of tensors: 0 is the plane; 2, 3 or 6"
    )
    parser.add_argument("--low", type=float, default=-0.2)
    parser.add_argument("--high", type=float, default=2.6)
    parser.add_argument("--steps", type=int, default=15, help="values per coefficient of the plane")
    parser.add_argument("--points", type=int, default=225)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_study(
            options.study, options.suite, options.documents, options.groups, folder
        ) as search,
    ):
        worker, space = search.local_worker(), search.settled.plan.proposals
        checkpoints = space.first.parameters()
        names = tuple(joint(n, g) for g in space.groups for n in checkpoints) or checkpoints

        def outcomes(point: Floats) -> Bools:
            candidate = space.candidate(
                dict(zip(names, map(float, point), strict=True)),
                dtype=search.precision.dtype,
                sources=search.sources.fingerprints,
            )
            return np.array(worker.score(candidate, options.split).scores.values) > 0

        if options.groups:
            size = f"-{len(names)}"
            points = scatter(
                options.low, options.high, len(checkpoints), options.groups, options.points
            )
        else:
            size = ""
            axis = np.linspace(options.low, options.high, options.steps).round(6)
            points = grid(axis, options.points)
        split = "-report" if options.split == "report" else ""
        make(f"{options.suite}{size}{split}", outcomes, points, tuple(names), options.minutes)


if __name__ == "__main__":
    main()
