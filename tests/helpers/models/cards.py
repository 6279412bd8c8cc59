"""A finished search, and the model card of its export."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from exme.evaluators.scores import DocumentScores
from exme.search.merging.candidate import Candidate
from exme.search.proof.outcome import Entry, Outcome
from exme.search.reports.exports.model_card import model_card
from exme.search.trials.trial import TrialRecord
from tests.helpers.models.exports import NAMES, POINT


def scores(split: str, right: int, count: int = 10) -> DocumentScores:
    values = tuple(float(i < right) for i in range(count))
    documents = tuple(f"{split}/{i}" for i in range(count))
    return DocumentScores("gsm8k", split, "exact_match,strict-match", documents, values, 0)


@pytest.fixture
def outcome() -> Outcome:
    def entry(name: str, c: dict[str, float], right: int) -> Entry:
        made = Candidate(c, "exme", "bfloat16", {"base": "b"})
        return Entry(name, made, scores("report", right), scores("search", right - 1))

    merged = entry("merged", POINT, 8)
    trial = TrialRecord(5, "complete", "gp", merged.candidate, merged.search)
    return Outcome(
        study="mine",
        task="gsm8k",
        bounds={},
        trials=(trial,),
        winner=trial,
        inputs=(
            entry("base", {"math": 0.0, "code": 0.0}, 3),
            entry("math", {"math": 1.0, "code": 0.0}, 5),
        ),
        merged=merged,
        facts={"seed": "0", "a|b": "c`d\ne"},
    )


def card(outcome: Outcome, licences: dict[str, dict[str, str]] | None = None) -> str:
    return model_card(
        outcome,
        names=NAMES,
        verdict="Proved: better.",
        licences=licences or {},
        taken="All from the base.",
        version="0.1.0",
    )


def front_matter(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    return found
