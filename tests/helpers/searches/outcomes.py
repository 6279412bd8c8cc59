"""Searches that are over, made up of values on documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exme.evaluators.scores import DocumentScores
from exme.search.merging.candidate import Candidate
from exme.search.proof.outcome import Entry, Outcome
from exme.search.trials.trial import TrialRecord

NAMES = ("sums", "minus")


def candidate(*coefficients: float) -> Candidate:
    values = dict(zip(NAMES, coefficients, strict=True))
    return Candidate(values, "exme", "bfloat16", {"base": "aa"})


def scored(
    values: Sequence[float], split: str = "report", **audit: tuple[float, ...]
) -> DocumentScores:
    documents = tuple(f"{split}{i}" for i in range(len(values)))
    numbers = tuple(map(float, values))
    return DocumentScores("gsm8k", split, "exact_match,strict-match", documents, numbers, 7, audit)


def solved(count: int, of: int, split: str = "search") -> DocumentScores:
    return scored([1] * count + [0] * (of - count), split)


def pair(won: int, lost: int, both: int, n: int) -> tuple[list[float], list[float]]:
    """Values of two models that differ on `won` + `lost` of n documents and share `both`."""
    rest = [0.0] * (n - won - lost - both)
    merged = [1.0] * won + [0.0] * lost + [1.0] * both + rest
    best = [0.0] * won + [1.0] * lost + [1.0] * both + rest
    return merged, best


def trial(
    number: int, place: tuple[float, float], count: int | None = None, **other: Any
) -> TrialRecord:
    fields: dict[str, Any] = {"state": "complete", "origin": "gp", "seconds": 2.5} | other
    scores = None if count is None else solved(count, 200)
    return TrialRecord(number, candidate=candidate(*place), scores=scores, **fields)


def search(
    merged: Sequence[float], best: Sequence[float], /, use: int = 1, **other: Any
) -> Outcome:
    """A finished search: `merged` and `best` are values on the report documents, of `sums`."""
    trials = (
        trial(0, (1, 0), 70, origin="sums alone"),
        trial(1, (0, 1), 60, origin="minus alone"),
        trial(2, (0.5, 0.5), 80, origin="mean"),
        trial(3, (0.8, 0.7), 90),
    )
    low = [0] * len(best)
    inputs = (
        Entry("base", candidate(0, 0), scored(low), solved(20, 200)),
        Entry("sums", candidate(1, 0), scored(best), trials[0].scores),
        Entry("minus", candidate(0, 1), scored(low), trials[1].scores),
    )
    winner = trials[3]
    fields: dict[str, Any] = {
        "study": "mini",
        "task": "gsm8k",
        "bounds": {"sums": (-0.5, 2.0), "minus": (-0.5, 3.0)},
        "trials": trials,
        "winner": winner,
        "inputs": inputs,
        "merged": Entry("merged", candidate(0.8, 0.7), scored(merged), winner.scores),
        "use": use,
    }
    return Outcome(**(fields | other))


def before_the_proof(**other: Any) -> Outcome:
    fields: dict[str, Any] = {"use": 0, "inputs": (), "merged": None}
    return search([1, 0], [0, 0], **(fields | other))
