"""Mixtures of experts: merged tensor by tensor as their files name them, wherever transformers stacks them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from exme.search.directions.bench import Bench
from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.model_folder import export_model
from exme.search.merging.live import live_tensors
from exme.tasks.errors import UserError
from tests.helpers.models.small_models import (
    edit_weights,
    load_weights,
    make_family,
    open_resident,
    open_sources,
)

KINDS = [
    "mixtral", "qwen2-moe", "qwen3-moe", "olmoe", "deepseek-v3", "gpt-oss", "granite-moe", "phimoe",
]  # fmt: skip
IDS = torch.arange(4, 30)[None]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(IDS).logits
    return found


def alone(folder: Path) -> torch.Tensor:
    return logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_answers_as_its_own_model_and_a_merge_is_that_of_the_files_tensors(
    tmp_path: Path, kind: str
) -> None:
    family = make_family(tmp_path, kind, dtypes=(torch.float32,) * 3)
    live = open_resident(family, dtype=torch.float32)

    def make(math: float, code: float) -> Candidate:
        c = {"math": math, "code": code}
        return Candidate(c, "exme", "float32", live.sources.fingerprints)

    for name in family:
        live.materialise(make(float(name == "math"), float(name == "code")))
        assert torch.equal(logits(live.model), alone(family[name]))
    live.materialise(make(0.7, 0.6))
    found = live.state_dict()
    base, math, code = (load_weights(folder) for folder in family.values())
    assert found.keys() == base.keys()
    for name, tensor in base.items():
        b = tensor.double()
        wanted = b + 0.7 * (math[name].double() - b) + 0.6 * (code[name].double() - b)
        torch.testing.assert_close(found[name], wanted.float(), rtol=0, atol=1e-6)
    export_model(
        live.sources, make(0.7, 0.6), tmp_path / "out", card="", names=dict.fromkeys(family, "x")
    )
    assert torch.equal(alone(tmp_path / "out"), logits(live.model))


@pytest.mark.parametrize("kind", ["mixtral", "qwen2-moe"])
def test_an_expert_that_the_files_lack_is_noticed(tmp_path: Path, kind: str) -> None:
    family = make_family(tmp_path, kind)
    model = AutoModelForCausalLM.from_pretrained(family["base"])
    names = set(load_weights(family["base"]))
    gone = min(name for name in names if ".experts.2." in name)
    with pytest.raises(UserError, match=r"needs tensor 'model\.layers\.0\.mlp\.experts\..*_proj'"):
        live_tensors(model, names - {gone}, who="base")
    for folder in family.values():
        edit_weights(folder, **{gone.replace(".", "__"): None})
    with pytest.raises(UserError, match="transformers cannot load it"):
        open_resident(family)


def test_directions_are_refused_by_name(tmp_path: Path) -> None:
    bench = Bench(
        open_sources(make_family(tmp_path / "models", "mixtral")),
        compute=torch.float32,
        device=torch.device("cpu"),
        scratch=tmp_path,
    )
    with pytest.raises(UserError, match="directions are not computed for mixtures of experts"):
        _ = bench.live
