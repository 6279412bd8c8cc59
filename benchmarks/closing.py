"""Whole searches beside a plain grid over alpha and beta at the same cost.

    python -m benchmarks.closing --suites gsm8k --documents 2560
    python -m benchmarks.closing --suites gsm8k --documents 2560 --groups 6

Both are proved on the same report documents. The grid's points are alpha in 0 to 2 and beta in 0 to 1,
as many as the search's documents pay for, each scored on all search documents.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from exme.search.merging.candidate import Candidate
from exme.search.running.search import Search, open_search
from exme.search.statistics.intervals import compare
from exme.search.study.study_file import StudyFile, load_study_file
from exme.search.trials.budget import spent

from .make_landscape import _groups


def plain_grid(search: Search, points: int) -> list[Candidate]:
    """About so many points of ExMe with one alpha, evenly over alpha and beta."""
    names = list(search.study.checkpoints)
    if len(names) != 2:
        raise ValueError(f"a grid over alpha and beta takes two checkpoints, found {len(names)}")
    betas = max(2, round(math.sqrt(points)))
    alphas = max(2, points // betas)
    found = []
    for alpha in np.linspace(0, 2, alphas):
        for beta in np.linspace(0, 1, betas):
            shares = {names[0]: (1 + alpha) * beta, names[1]: (1 + alpha) * (1 - beta)}
            found.append(
                search.candidate(
                    {**dict.fromkeys(search.settled.plan.method.checkpoints, 0.0), **shares}
                )
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=Path("studies/mini.yaml"))
    parser.add_argument("--suites", default="gsm8k")
    parser.add_argument("--documents", type=int, default=2560)
    parser.add_argument("--groups", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    content = load_study_file(options.study).model_dump()
    suites = options.suites.split(",")
    content |= {
        "suites": suites,
        "budget": {"documents": options.documents},
        "groups": _groups(options.groups),
        "sampler": {"name": "auto", "seed": options.seed},
        "run_generated_code": True,
    }
    study = StudyFile.model_validate(content)
    with tempfile.TemporaryDirectory() as runs, open_search(study, "all", runs=runs) as search:
        began = time.perf_counter()
        search.work()
        middle = time.perf_counter()
        outcome = search.prove()
        trials, documents, _ = spent(outcome.trials)
        print(f"\nsearch: {trials} candidates, {documents} documents, {middle - began:.0f} s")
        winner = outcome.winner
        if winner is not None and winner.candidate is not None and winner.scores is not None:
            print(
                f"search: {dict(winner.candidate.coefficients)} {winner.scores.mean:.4f} on search"
            )
        print(f"search: {outcome.verdict.sentence}")
        for entry in outcome.inputs:
            print(f"input {entry.name}: {entry.report.mean:.4f} on report")
        began = time.perf_counter()
        per_point = sum(len(d.search) for d in search.documents)
        points = plain_grid(search, documents // per_point)
        scored = [(search.worker.score(c, "search").scores.mean, i) for i, c in enumerate(points)]
        top, place = max(scored, key=lambda pair: (pair[0], -pair[1]))
        middle = time.perf_counter()
        report = search.worker.score(points[place], "report").scores
        best = max(outcome.inputs, key=lambda e: e.report.mean)
        result = compare(report, best.report)
        print(
            f"grid: {len(points)} candidates, {len(points) * per_point} documents, {middle - began:.0f} s"
            f"\ngrid: {dict(points[place].coefficients)} {top:.4f} on search, {report.mean:.4f} on report, "
            f"{100 * result.difference.estimate:+.1f} points over {best.name}"
        )
        if outcome.merged is not None:
            both = compare(outcome.merged.report, report)
            print(
                f"search minus grid: {100 * both.difference.estimate:+.1f} points "
                f"({100 * both.difference.low:.1f} to {100 * both.difference.high:.1f})"
            )


if __name__ == "__main__":
    main()
