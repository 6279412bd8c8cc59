"""The papers of an export: model card, licence, scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from exme.evaluators.scores import DocumentScores
from exme.search.merging.sources.location import mini_names
from exme.search.proof.outcome import Outcome
from exme.search.reports.exports.licences import read_licence
from exme.search.reports.exports.model_card import scores_file
from exme.tasks.mini import MODELS
from tests.helpers.models.cards import card, front_matter, outcome
from tests.helpers.models.exports import NAMES

__all__ = ["outcome"]  # a fixture


def test_the_card_says_what_it_is_and_what_it_scored(outcome: Outcome) -> None:
    text = card(outcome)
    for line in (
        "Proved: better.",
        "    weights = base + 1.3 (math - base) + 0.5 (code - base)",
        "| math | `someone/math@v1` | 1.3 | 0.7222 |",
        "alpha +0.8000",
        "| merged | 70.0% [34.8%, 93.3%], n = 10 | 80.0% [44.4%, 97.5%], n = 10 |",
        "gsm8k exact_match,strict-match",
        r"| a\|b | `c'd e` |",
    ):
        assert line in text


def test_the_card_says_where_nothing_else_was_measured(outcome: Outcome) -> None:
    assert "It was scored on gsm8k alone: what merging changed elsewhere" in card(outcome)


def test_the_front_matter_lists_hub_models_only(outcome: Outcome) -> None:
    front = front_matter(card(outcome))
    assert front["base_model"] == ["someone/math", "folders/code"]
    assert front["tags"] == ["merge", "exme"]
    assert front["library_name"] == "transformers"
    assert "license" not in front


def test_a_licence_is_stated_where_all_inputs_agree(outcome: Outcome) -> None:
    same = {name: {"license": "mit"} for name in NAMES}
    assert front_matter(card(outcome, same))["license"] == "mit"
    assert "Every input states the same licence: mit." in card(outcome, same)


def test_licences_that_differ_are_listed_and_not_claimed(outcome: Outcome) -> None:
    text = card(outcome, {"base": {"license": "mit"}, "math": {"license": "llama3"}})
    assert "license" not in front_matter(text)
    assert "base: mit; math: llama3; code: not stated" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: mit\ntags: [a]\n---\n# x", {"license": "mit"}),
        ("---\nlicense: [a, b]\n---\n", {}),
        ("---\n{{\n---\n", {}),
        ("# no front matter --- at all ---", {}),
        ("---\nopen", {}),
        ("---\nlicense: !!python/object/apply:os.system [ls]\n---\n", {}),
        ("---\nlicense: 2020-13-45\n---\n", {}),
        ("---\n- mit\n---\n", {}),
        ("---\nlicense: \0\n---\n", {}),
        ("", {}),
    ],
)
def test_a_licence_is_read_from_a_readme(
    tmp_path: Path, text: str, expected: dict[str, str]
) -> None:
    (tmp_path / "README.md").write_text(text)
    assert read_licence(tmp_path) == expected


def test_a_search_that_is_not_proved_yet_says_so(outcome: Outcome) -> None:
    text = card(replace(outcome, inputs=(), merged=None))
    assert "On the report documents: not proved yet." in text
    assert "| merged | 70.0%" in text


def test_the_scores_file_gives_back_every_score(outcome: Outcome) -> None:
    found = json.loads(scores_file(outcome))
    assert list(found) == ["base", "math", "merged"]
    assert outcome.merged is not None
    assert DocumentScores.from_json(found["merged"]["report"]) == outcome.merged.report


@pytest.mark.parametrize("name", mini_names())
def test_the_mini_models_state_the_licence_of_the_project(name: str) -> None:
    assert read_licence(MODELS / name.removeprefix("mini/")) == {"license": "apache-2.0"}
