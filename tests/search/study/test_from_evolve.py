"""mergekit-evolve's file as the start of a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exme.tasks.errors import UserError
from exme.tasks.mini import MODELS
from tests.helpers.mergekit_files import study_of

EVOLVE: dict[str, Any] = {
    "genome": {
        "models": ["mini/sums", "mini/products"],
        "merge_method": "dare_ties",
        "base_model": "mini/base",
        "layer_granularity": 2,
        "allow_negative_weights": True,
        "filters": ["mlp"],
    },
    "tasks": [{"name": "gsm8k", "weight": 2.0, "metric": "exact_match,strict-match"}, "mmlu"],
    "limit": 100,
}


def test_the_genome_and_the_tasks_of_mergekit_evolve_are_a_study(tmp_path: Path) -> None:
    layers = json.loads((MODELS / "base" / "config.json").read_text())["num_hidden_layers"]
    study, said = study_of(tmp_path, EVOLVE)
    assert (study.base, study.method) == ("mini/base", "dare_ties")
    assert dict(study.checkpoints) == {"sums": "mini/sums", "products": "mini/products"}
    assert study.suites == ("gsm8k", "mmlu") and dict(study.weights) == {"gsm8k": 2.0, "mmlu": 1.0}
    assert study.groups is not None and study.groups.blocks == layers // 2
    assert study.documents.search == 100 and study.space.coefficients == (-1.0, 2.4)
    assert "filters ['mlp'] is left out" in said and "gsm8k: mergekit-evolve" not in said
    assert "TASK=gsm8k,mmlu" in said


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tasks": [{"name": "gsm8"}]}, "tasks: no suite 'gsm8'.*did you mean 'gsm8k'"),
        ({"tasks": []}, "tasks: expected a list"),
        ({"genome": EVOLVE["genome"] | {"normalise": True}}, "did you mean 'normalize'"),
        ({"genome": EVOLVE["genome"] | {"merge_method": "passthrough"}}, r"docs/limits\.md"),
        ({"genome": ["mini/sums"]}, "genome: expected keys and values"),
        ({"limits": 3}, "did you mean 'limit'"),
    ],
)
def test_what_of_mergekit_evolve_is_no_study_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        study_of(tmp_path, EVOLVE | changed)
