"""Whole searches over methods, their parameters and groups, on a known landscape."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from exme.search.running.search import open_search
from exme.tasks.errors import UserError
from exme.tasks.mini import MODELS
from tests.helpers.models.small_models import edit_json, edit_weights, load_weights
from tests.helpers.searches.opened import Opened, close, study_file


def test_a_search_over_ties_tries_inputs_mean_and_paper_first_and_then_densities(
    tmp_path: Path,
) -> None:
    opened = Opened(tmp_path, method="ties", budget={"trials": 9})
    outcome = opened.search.run()
    assert [t.origin for t in outcome.trials[:6]] == [
        "sums alone",
        "products alone",
        "mean",
        "TIES 0.2",
        "ExPO 0.3 of sums",
        "ExPO 0.5 of sums",
    ]
    made = [t.candidate for t in outcome.trials if t.candidate is not None]
    assert [c.method for c in made[:4]] == ["task_arithmetic", "task_arithmetic", "ties", "ties"]
    assert made[3].parameters == {"density": 0.2}
    densities = {c.parameters["density"] for c in made[6:]}
    assert len(densities) == 3 and all(0.05 <= d <= 1 for d in densities)
    assert any("density (share of every delta's" in line for line in opened.lines)
    assert any("ties density 0.2" in line for line in opened.lines)
    assert [entry.name for entry in outcome.inputs] == ["base", "sums", "products"]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["gp", "random"])
def test_a_search_may_choose_between_methods(tmp_path: Path, sampler: str) -> None:
    opened = Opened(
        tmp_path, method=["exme", "breadcrumbs"], sampler={"name": sampler}, budget={"trials": 16}
    )
    outcome = opened.search.run()
    used = {t.candidate.method for t in outcome.trials if t.candidate is not None}
    assert {"exme", "breadcrumbs"} <= used
    assert outcome.winner is not None


def test_a_search_in_groups_goes_on_where_it_was(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"groups": {"blocks": 2}, "budget": {"trials": 7}}
    first = Opened(tmp_path, **settings)
    first.search.run()
    close(first)
    again = Opened(tmp_path, **settings | {"budget": {"trials": 9}})
    outcome = again.search.run()
    close(again)
    assert sum(t.scores is not None for t in outcome.trials) == 9
    grouped = [t.candidate for t in outcome.trials if t.candidate and t.candidate.grouped]
    assert len(grouped) == 4
    assert all(len(c.grouped) == 2 for c in grouped)
    with pytest.raises(UserError, match="groups changed since study"):
        Opened(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "slerp", "checkpoints": {"a": "mini/sums"}}, "goes from one checkpoint to"),
        ({"method": ["exme", "linear"]}, "'linear' cannot be one of several"),
        ({"method": ["ties", "ties"]}, "each of them once"),
        ({"method": []}, "at least one method"),
        ({"groups": {}}, "set exactly one of blocks, kinds, patterns"),
        ({"groups": {"blocks": 2, "kinds": ["mlp"]}}, "set exactly one of"),
    ],
)
def test_methods_and_groups_that_do_not_fit_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        study_file(**changes)


def test_groups_that_the_base_does_not_have_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match="blocks of"):
        open_search(study_file(groups={"blocks": 50}), "gsm8k", runs=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_search_over_merged_vocabularies_says_what_was_copied_and_goes_on_only_with_them(
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(MODELS / "sums", tmp_path / "sums"))
    words = AutoTokenizer.from_pretrained(folder)
    words.add_tokens(["<think>"], special_tokens=True)
    words.save_pretrained(folder)
    weights = load_weights(folder)
    name = "model.embed_tokens.weight"
    wider = torch.cat([weights[name], weights[name][-1:]])
    edit_weights(folder, **{name.replace(".", "__"): wider})
    edit_json(folder / "config.json", vocab_size=len(wider))
    settings: dict[str, Any] = {
        "checkpoints": {"sums": str(folder), "products": "mini/products"},
        "vocabulary": "union",
        "budget": {"trials": 3},
    }
    opened = Opened(tmp_path / "runs", **settings)
    outcome = opened.search.run()
    added = f"1 are added: '<think>' (id {len(weights[name])},"
    assert any(added in line for line in opened.lines)
    assert outcome.winner is not None and outcome.winner.candidate is not None
    assert "vocabulary" in outcome.winner.candidate.sources
    close(opened)
    with pytest.raises(UserError, match="shape"):
        Opened(tmp_path / "runs", **settings | {"vocabulary": "same"})
