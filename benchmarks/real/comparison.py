"""What a search finds beside what one could do without it, on the same fresh documents.

Everything is chosen on the search documents; the report documents are looked at once, by what was chosen.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from exme.evaluators import Scores
from exme.search import StudyFile, load_study_file, open_search, write_report
from exme.search.statistics import compare

from .scoreboard import Cost, Scoreboard

STUDY = Path(__file__).parent / "study.yaml"
SUITES = "ifeval,choice"
# Of instructions and choice: as many documents as the search has.
GRID = ((0.5, 1.0), (0.5, 1.0, 1.5))
ALPHAS = (0.25, 0.5)  # of the paper's procedure


@dataclass(frozen=True)
class Row:
    """A line of the table: one model and how it came about."""

    name: str
    coefficients: Mapping[str, float]
    report: Scores
    cost: Cost


def search(folder: Path) -> None:
    """Run the study's search, with its proof and report; note what it cost, interruptions included."""
    before, cpu, wall = _spent(folder), time.process_time(), time.perf_counter()
    with open_search(STUDY, SUITES, runs=folder / "runs") as found:
        try:
            write_report(found.run(), found.folder)
        finally:
            cost = Cost(
                sum(trial.documents for trial in found.trials),
                before.cpu + time.process_time() - cpu,
                before.wall + time.perf_counter() - wall,
            )
            (folder / "search.json").write_text(json.dumps(asdict(cost)))


def _spent(folder: Path) -> Cost:
    file = folder / "search.json"
    return Cost(**json.loads(file.read_text())) if file.is_file() else Cost()


def rows(folder: Path) -> Iterator[Row]:
    """Every line of the table; what is missing is measured."""
    with open_search(STUDY, SUITES, runs=folder / "runs") as found:
        board = Scoreboard(found, folder / "scores.json")
        names = list(found.study.checkpoints)
        winner = found.outcome().winner
        alone = {name: {name: 1.0} for name in names}
        best = _best(board, list(alone.values()))
        grid = [dict(zip(names, point, strict=True)) for point in itertools.product(*GRID)]
        chosen: dict[str, tuple[Mapping[str, float], Cost]] = {
            "base": ({}, Cost()),
            **{name: (point, Cost()) for name, point in alone.items()},
            "plain average": (dict.fromkeys(names, 0.5), Cost()),
            "task arithmetic": (dict.fromkeys(names, 1.0), Cost()),
            "ExPO of the best": (
                {n: 1.5 * c for n, c in best.items()},
                _cost(board, list(alone.values())),
            ),
            f"grid of {len(grid)}": (_best(board, grid), _cost(board, grid)),
        }
        if winner is not None and winner.candidate is not None:
            chosen["our search"] = (winner.candidate.coefficients, _spent(folder))
        for name, (point, cost) in chosen.items():
            yield Row(name, point, board.score(point, "report")[0], cost)
    yield _papers(folder, next(iter(best)))


def _papers(folder: Path, run: str) -> Row:
    """The two best checkpoints of a run, each extrapolated, mixed half and half."""
    with open_search(study_of_run(folder, run), SUITES, name=run, runs=folder / "runs") as found:
        board = Scoreboard(found, folder / f"scores-{run}.json")
        ranked = sorted(
            ({name: 1.0} for name in found.study.checkpoints),
            key=lambda point: -board.score(point, "search")[0].mean,
        )
        tried, mixed = list(ranked), {}
        for (name,) in ranked[:2]:
            line = [{name: 1 + alpha} for alpha in ALPHAS]
            tried += line
            mixed[name] = _best(board, [{name: 1.0}, *line])[name] / 2
        report = board.score(mixed, "report")[0]
        return Row(f"the paper's procedure, {run}", mixed, report, _cost(board, tried))


def study_of_run(folder: Path, run: str) -> StudyFile:
    """The study with all checkpoints of one run."""
    content = load_study_file(STUDY).model_dump()
    checkpoints = sorted(
        (folder / run).glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2])
    )
    content["residence"] = "mapped"  # four models of float32
    content["checkpoints"] = {path.name: str(path) for path in checkpoints}
    return StudyFile.model_validate(content)


def _best(board: Scoreboard, points: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    return max(points, key=lambda point: board.score(point, "search")[0].mean)


def _cost(board: Scoreboard, points: Sequence[Mapping[str, float]]) -> Cost:
    return sum((board.score(point, "search")[1] for point in points), Cost())


def table(found: Sequence[Row]) -> str:
    """Markdown. Gains are paired, over the best input, with their 95% intervals, in points."""
    inputs = found[:3]
    best = max(inputs, key=lambda row: row.report.mean)
    suites = [part.suite for part in best.report.parts]
    lines = [
        f"| model | coefficients | {' | '.join(suites)} | mean | over {best.name} | documents | CPU s | s |",
        f"|---|---|{'---|' * len(suites)}---|---|---|---|---|",
    ]
    for row in found:
        said = ", ".join(f"{name} {c:.2f}" for name, c in row.coefficients.items())
        each = " | ".join(f"{part.mean:.1%}" for part in row.report.parts)
        gain = ""
        if row is not best:
            apart = compare(row.report, best.report).difference
            gain = f"{100 * apart.estimate:+.1f} ({100 * apart.low:.1f} to {100 * apart.high:.1f})"
        cost = row.cost
        lines.append(
            f"| {row.name} | {said} | {each} | {row.report.mean:.1%} | {gain} "
            f"| {cost.documents:,} | {cost.cpu:.0f} | {cost.wall:.0f} |"
        )
    return "\n".join(lines)
