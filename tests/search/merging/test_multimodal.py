"""Multimodal checkpoints: whole where transformers has a language model of them, refused by name elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    Gemma3Config,
    Llama4Config,
    LlamaConfig,
    LlavaConfig,
    PretrainedConfig,
)

from exme.search.merging.candidate import Candidate
from exme.search.merging.sources import Checkpoint, check_fit
from exme.tasks.errors import UserError
from tests.helpers.models.small_models import VOCABULARY, load_weights, open_resident, tokenizer

TEXT: dict[str, Any] = {
    "vocab_size": len(VOCABULARY), "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
}  # fmt: skip
VISION: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip


def save(folder: Path, config: PretrainedConfig, seed: int, near: Path | None = None) -> Path:
    kinds = (AutoModelForImageTextToText, AutoModelForCausalLM)
    kind: Any = kinds[config.model_type == "gemma3"]
    model = kind.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = 0.1 * torch.randn(parameter.shape, generator=generator)
            origin = 0.0 if near is None else type(model).from_pretrained(near).get_parameter(name)
            parameter.copy_(origin + noise)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def family(folder: Path, config: PretrainedConfig) -> dict[str, Path]:
    base = save(folder / "base", config, 0)
    return {"base": base, "math": save(folder / "math", config, 1, base)}


def test_gemma_3_is_merged_with_its_vision_tower(tmp_path: Path) -> None:
    config = Gemma3Config(
        text_config=TEXT | {"head_dim": 8}, vision_config=VISION, mm_tokens_per_image=4,
        image_token_index=5, boi_token_index=6, eoi_token_index=7,
    )  # fmt: skip
    models = family(tmp_path, config)
    live = open_resident(models, dtype=torch.float32)
    candidate = Candidate({"math": 1.0}, "exme", "float32", live.sources.fingerprints)
    live.materialise(candidate)
    ids = torch.arange(8, 30)[None]
    with torch.no_grad():
        own = AutoModelForCausalLM.from_pretrained(models["math"])(ids).logits
        assert torch.equal(live.model(ids).logits, own)
    found, wanted = live.state_dict(), load_weights(models["math"])
    assert any("vision_tower" in name for name in found)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_model_that_is_no_language_model_to_transformers_is_refused_by_its_type(
    tmp_path: Path,
) -> None:
    vision = CLIPVisionConfig(**VISION)
    config = LlavaConfig(text_config=LlamaConfig(**TEXT), vision_config=vision, image_token_index=5)
    with pytest.raises(UserError, match=r"no language model of type 'llava'.*save the text model"):
        open_resident(family(tmp_path, config))


def test_a_part_that_the_language_model_leaves_out_is_named(tmp_path: Path) -> None:
    text = TEXT | {
        "head_dim": 8, "num_local_experts": 2, "intermediate_size_mlp": 24, "no_rope_layers": [1, 0],
    }  # fmt: skip
    vision = VISION | {
        "vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16,
    }  # fmt: skip
    config = Llama4Config(text_config=text, vision_config=vision, image_token_index=5)
    with pytest.raises(
        UserError, match="it is of a multimodal part, which a language model leaves"
    ):
        open_resident(family(tmp_path, config))


@pytest.mark.parametrize(
    ("section", "setting", "value"),
    [
        ("text_config", "rms_norm_eps", 0.5),
        ("text_config", "sliding_window", 3),
        ("vision_config", "layer_norm_eps", 0.5),
    ],
)
def test_a_nested_setting_that_changes_what_weights_mean_is_named(
    tmp_path: Path, section: str, setting: str, value: float
) -> None:
    config = Gemma3Config(
        text_config=TEXT | {"head_dim": 8}, vision_config=VISION, mm_tokens_per_image=4,
        image_token_index=5, boi_token_index=6, eoi_token_index=7,
    )  # fmt: skip
    models = family(tmp_path, config)
    path = models["math"] / "config.json"
    content = json.loads(path.read_text())
    before = content[section].get(setting)
    content[section][setting] = value
    ids = torch.arange(8, 40)[None]
    own = [AutoModelForCausalLM.from_pretrained(models["math"])(ids).logits]
    path.write_text(json.dumps(content))
    own.append(AutoModelForCausalLM.from_pretrained(models["math"])(ids).logits)
    assert torch.equal(*own) == (section == "vision_config")
    opened = {name: Checkpoint(name, folder) for name, folder in models.items()}
    with pytest.raises(
        UserError, match=rf"'math': {section}\.{setting} is {value}, the base's is {before}"
    ):
        check_fit(opened["base"], opened["math"])
