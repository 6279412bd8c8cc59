"""Copies and strangers among a study's checkpoints are named."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from exme.search.merging.sources.adapter import open_checkpoint
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.sources import Sources
from exme.search.opening import kinship as module
from exme.search.opening.kinship import kinship_of
from tests.helpers.models.adapters import PLAIN, make_adapter
from tests.helpers.models.small_models import (
    edit_json,
    edit_weights,
    load_weights,
    make_family,
    make_model,
    open_sources,
)


def odd(family: dict[str, Path]) -> list[str]:
    return list(kinship_of(open_sources(family)).odd())


def zeros(family: dict[str, Path]) -> None:
    weights = load_weights(family["math"])
    save_file(
        {n: torch.zeros_like(t) for n, t in weights.items()}, family["math"] / "model.safetensors"
    )


def copied(name: str) -> Callable[[dict[str, Path]], object]:
    file = "model.safetensors"
    return lambda family: shutil.copyfile(family[name] / file, family["math"] / file)


ODD: dict[str, tuple[Callable[[dict[str, Path]], object], str]] = {
    "the base once more": (copied("base"), "Checkpoint 'math' is the base, weight for weight"),
    "another checkpoint's copy": (copied("code"), "Checkpoints 'math' and 'code' are the same"),
    "no fine-tune": (
        lambda family: make_model(family["math"], seed=9),
        r"'math' is no fine-tune of this base: its task vector is 1\.\d\d times as long",
    ),
    "zeros": (
        zeros,
        r"'math' is no fine-tune of this base: its task vector is 1\.00 times as long",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_checkpoint_is_named(tmp_path: Path, case: str) -> None:
    family = make_family(tmp_path)
    assert odd(family) == []
    change, expected = ODD[case]
    change(family)
    (line,) = kinship_of(open_sources(family))
    assert re.search(expected, line)


def test_one_weight_that_differs_makes_two_checkpoints(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    copied("code")(family)
    weight = load_weights(family["math"])["lm_head.weight"]
    weight[-1, -1] += 1
    edit_weights(family["math"], lm_head__weight=weight)
    assert odd(family) == []


def test_the_length_of_a_task_vector_is_that_of_all_deltas(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    base, math = (load_weights(family[name]) for name in ("base", "math"))
    moved = sum(float((math[n].double() - t.double()).square().sum()) for n, t in base.items())
    whole = sum(float(t.double().square().sum()) for t in base.values())
    found = kinship_of(open_sources(family)).lengths["math"]
    assert found == pytest.approx((moved / whole) ** 0.5)


def test_an_adapter_is_as_long_as_what_peft_merges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft", reason="peft makes the adapter and is the reference")
    base = make_model(tmp_path / "base", dtype=torch.float32)
    settings = {**PLAIN, "target_modules": ["q_proj", "embed_tokens", "down_proj"]}
    folder = make_adapter(base, tmp_path / "lora", **settings)
    origin = Checkpoint("base", base)
    sources = Sources(origin, {"lora": open_checkpoint("lora", folder, origin)})
    before, merged = load_weights(base), load_weights(folder / "merged")
    moved = sum(float((merged[n] - t).double().square().sum()) for n, t in before.items())
    whole = sum(float(t.double().square().sum()) for t in before.values())
    assert kinship_of(sources).lengths["lora"] == pytest.approx((moved / whole) ** 0.5, rel=1e-4)
    monkeypatch.setattr(module, "_SAMPLE", 64)  # four rows of each
    assert kinship_of(sources).lengths["lora"] == pytest.approx((moved / whole) ** 0.5, rel=0.5)


@pytest.mark.parametrize("trained_on", ["the base", "a copy in bfloat16", "math", "an adapter"])
def test_an_adapter_that_was_trained_on_another_model_is_named(
    tmp_path: Path, trained_on: str
) -> None:
    peft = pytest.importorskip("peft", reason="peft makes the adapter and is the reference")
    family = make_family(tmp_path, dtypes=(torch.float32,) * 3)
    make_adapter(family["base"], tmp_path / "first", **PLAIN)
    AutoModelForCausalLM.from_pretrained(family["base"], dtype=torch.bfloat16).save_pretrained(
        tmp_path / "copy"
    )
    places = {"math": family["math"], "a copy in bfloat16": tmp_path / "copy"}
    named = places.get(trained_on, family["base"])
    folder = make_adapter(named, tmp_path / "lora", **PLAIN)
    if trained_on == "an adapter":
        named = tmp_path / "first"
        edit_json(folder / "adapter_config.json", base_model_name_or_path=str(named))
    else:  # transformers puts it on the model that it names; that is what it means by itself
        ids, base = torch.arange(4, 20)[None], AutoModelForCausalLM.from_pretrained(family["base"])
        alone = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits
        here = peft.PeftModel.from_pretrained(base, folder)(ids).logits
        assert (float((alone - here).abs().max()) > 0.1) == (trained_on == "math")
    origin = Checkpoint("base", family["base"])
    sources = Sources(origin, {"lora": open_checkpoint("lora", folder, origin)})
    if trained_on in ("the base", "a copy in bfloat16"):
        assert list(kinship_of(sources)) == []
    else:
        (line,) = kinship_of(sources)
        assert line.startswith(f"Adapter 'lora' says that it was trained on {named}, which is ano")


@pytest.mark.parametrize("sample", [1, 64])
def test_an_odd_checkpoint_is_named_by_a_few_rows_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: int
) -> None:
    monkeypatch.setattr(module, "_SAMPLE", sample)
    family = make_family(tmp_path)
    assert odd(family) == []
    copied("code")(family)
    weight = load_weights(family["math"])["lm_head.weight"]
    weight[-1, -1] += 1  # a row that is not read at first
    edit_weights(family["math"], lm_head__weight=weight)
    assert odd(family) == []
    copied("code")(family)
    assert len(list(kinship_of(open_sources(family)))) == 1


def test_checkpoints_that_go_nearly_the_same_way_are_named(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    base, math = load_weights(family["base"]), load_weights(family["math"])
    along = {
        n: (base[n].float() + 0.5 * (math[n].float() - base[n].float())).to(base[n].dtype)
        for n in base
    }
    save_file(along, family["code"] / "model.safetensors")
    found = kinship_of(open_sources(family))
    flat = {
        name: torch.cat(
            [
                (load_weights(family[name])[n].double() - base[n].double()).flatten()
                for n in sorted(base)
            ]
        )
        for name in ("math", "code")
    }
    cosine = float(torch.nn.functional.cosine_similarity(flat["math"], flat["code"], dim=0))
    names = list(found.lengths)
    assert found.cosines[names.index("math"), names.index("code")] == pytest.approx(
        cosine, abs=0.01
    )
    (line,) = list(found)
    assert line.startswith(
        " and ".join(n for n in names if n in flat) + " go nearly the same way (cosine "
    )
    assert "alpha says how far along it; beta" in line
