"""Candidates scored as a search scores them, with what each cost; kept in a file, so that a table goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exme.evaluators import DocumentScores, Scores, join
from exme.search import Candidate, Search


@dataclass
class Cost:
    """What was spent.

    Attributes:
        documents: on the search split.
        cpu: seconds of the processor; `wall` seconds by the clock.
    """

    documents: int = 0
    cpu: float = 0.0
    wall: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.documents + other.documents, self.cpu + other.cpu, self.wall + other.wall)


class Scoreboard:
    """Scores of candidates of one study.

    Args:
        search: the study, opened; its worker is made at the first candidate that neither its proof nor the file has.
        file: JSON, by split and the candidate's digest.
    """

    def __init__(self, search: Search, file: Path) -> None:
        self.search, self._file = search, file
        self._kept = json.loads(file.read_text()) if file.is_file() else {}
        outcome = search.outcome()
        entries = [*outcome.inputs, *([outcome.merged] if outcome.merged else [])]
        self._proved = {entry.candidate.digest: entry.report for entry in entries}

    def candidate(self, coefficients: Mapping[str, float]) -> Candidate:
        """A plain sum of task vectors; checkpoints left out have coefficient 0."""
        whole = {name: coefficients.get(name, 0.0) for name in self.search.study.checkpoints}
        return Candidate(
            whole,
            "task_arithmetic",
            self.search.precision.dtype,
            self.search.sources.fingerprints,
        )

    def score(self, coefficients: Mapping[str, float], split: str) -> tuple[Scores, Cost]:
        """Scores on all documents of a split, and what they cost."""
        candidate = self.candidate(coefficients)
        proved = self._proved.get(candidate.digest)
        if split == "report" and proved is not None:
            return proved, Cost()
        key = f"{split} {candidate.digest}"
        if key not in self._kept:
            self._kept[key] = self._measure(candidate, split)
            partial = self._file.with_suffix(".partial")
            partial.write_text(json.dumps(self._kept))
            partial.replace(self._file)
        found = self._kept[key]
        scores = join([_scores(part) for part in found["parts"]])
        cost = Cost(scores.count * (split == "search"), found["cpu"], found["wall"])
        return scores, cost

    def _measure(self, candidate: Candidate, split: str) -> dict[str, object]:
        worker = self.search.worker
        cpu, wall = time.process_time(), time.perf_counter()
        scores = worker.score(candidate, split).scores
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        said = " ".join(f"{name} {c:.2f}" for name, c in candidate.coefficients.items())
        print(f"{split}: {said}: {scores.mean:.1%}, {cpu:.0f} CPU s, {wall:.0f} s", flush=True)
        return {"parts": [asdict(part) for part in scores.parts], "cpu": cpu, "wall": wall}


def _scores(part: Mapping[str, Any]) -> DocumentScores:
    """What `asdict` made of them and JSON gave back: its lists were tuples."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in part.items()}
    return DocumentScores(**fields)
