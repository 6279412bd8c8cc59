"""LoRA adapters as checkpoints: the same weights as peft's `merge_and_unload`, without writing them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config

from exme.search.merging.candidate import Candidate
from exme.search.merging.resident import ResidentModel
from exme.search.merging.sources.adapter import Adapter, open_checkpoint
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.sources import Sources
from exme.tasks.errors import ShapeMismatch, UserError
from tests.helpers.models.adapters import PLAIN, make_adapter
from tests.helpers.models.small_models import edit_json, load_weights, make_model

peft = pytest.importorskip("peft", reason="peft makes the adapters and is the reference")

CASES: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "rank-stabilised": PLAIN | {"use_rslora": True},
    "saved modules": PLAIN | {"modules_to_save": ["lm_head"]},
    "embeddings": PLAIN | {"target_modules": ["embed_tokens", "q_proj"]},
    "patterns": PLAIN | {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.*q_proj": 3}},
    "every layer": PLAIN | {"target_modules": "all-linear"},
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_model(tmp_path / "base", dtype=torch.float32)


def opened(base: Path, **folders: Path) -> Sources:
    origin = Checkpoint("base", base)
    return Sources(origin, {n: open_checkpoint(n, f, origin) for n, f in folders.items()})


def made(sources: Sources, c: dict[str, float], method: str = "exme", **other: Any):
    resident = ResidentModel(
        sources,
        dtype=torch.float32,
        compute_dtype=torch.float32,
        device=torch.device("cpu"),
        residence=other.pop("residence", "auto"),
    )
    resident.materialise(Candidate(c, method, "float32", sources.fingerprints, **other))
    return resident.state_dict()


@pytest.mark.parametrize("case", CASES)
def test_an_adapter_by_itself_is_what_peft_merges(base: Path, tmp_path: Path, case: str) -> None:
    folder = make_adapter(base, tmp_path / "lora", **CASES[case])
    found = made(opened(base, lora=folder), {"lora": 1.0})
    wanted = load_weights(folder / "merged")
    assert found.keys() == wanted.keys()
    changed = 0
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=0, atol=1e-6)
        changed += not torch.equal(tensor, load_weights(base)[name])
    assert changed >= 3


def test_weights_that_are_stored_transposed_are_adapted_as_peft_does(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=48, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    base = make_model(tmp_path / "base", dtype=torch.float32, config=config)
    settings = {"r": 4, "target_modules": ["c_attn"], "fan_in_fan_out": True}
    folder = make_adapter(base, tmp_path / "lora", **settings)  # type: ignore[arg-type]
    found, wanted = made(opened(base, lora=folder), {"lora": 1.0}), load_weights(folder / "merged")
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("residence", ["device", "mapped"])
@pytest.mark.parametrize(
    ("method", "own"), [("exme", {}), ("ties", {"density": 0.5}), ("model_stock", {"stock": 1.0})]
)
def test_an_adapter_and_a_whole_model_merge_as_two_whole_models(
    base: Path, tmp_path: Path, method: str, own: dict[str, float], residence: str
) -> None:
    folder = make_adapter(base, tmp_path / "lora", **CASES["every layer"])
    math = make_model(tmp_path / "math", seed=5, dtype=torch.float32, near=base)
    c = {"lora": 0.6, "math": 0.7}
    options = {"parameters": own, "residence": residence}
    mixed = made(opened(base, lora=folder, math=math), c, method, **options)
    whole = made(opened(base, lora=folder / "merged", math=math), c, method, **options)
    for name, tensor in mixed.items():
        # A trim may take another of two elements that rounding has made alike.
        off = (tensor - whole[name]).abs() > 1e-5
        assert off.float().mean() <= (0.01 if method == "ties" else 0), name


def test_two_adapters_are_mixed_in_rounded_weights_once(base: Path, tmp_path: Path) -> None:
    one = make_adapter(base, tmp_path / "one", 1, **PLAIN)
    two = make_adapter(base, tmp_path / "two", 2, **PLAIN | {"target_modules": ["v_proj"]})
    found = made(opened(base, one=one, two=two), {"one": 0.5, "two": 1.5})
    origin = load_weights(base)
    first, second = load_weights(one / "merged"), load_weights(two / "merged")
    for name, tensor in found.items():
        wanted = origin[name].double()
        wanted = wanted + 0.5 * (first[name] - origin[name]) + 1.5 * (second[name] - origin[name])
        torch.testing.assert_close(tensor.double(), wanted, rtol=0, atol=2e-6)


def test_an_adapter_is_told_from_another_by_weights_and_settings(
    base: Path, tmp_path: Path
) -> None:
    folder = make_adapter(base, tmp_path / "lora", **PLAIN)
    before = opened(base, lora=folder).fingerprints["lora"]
    edit_json(folder / "adapter_config.json", lora_alpha=9)
    assert opened(base, lora=folder).fingerprints["lora"] != before


# What is refused ----------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "DoRA": ({"use_dora": True}, "uses DoRA, which is more than"),
    "another type": ({"peft_type": "IA3"}, "PEFT adapter of type IA3, expected LORA"),
    "biases": ({"bias": "all"}, "uses bias: all"),
    "biases of the factors": ({"lora_bias": True}, r"uses biases of its own \(lora_bias\)"),
    "single tokens": ({"trainable_token_indices": [5]}, "uses single tokens' embeddings"),
    "repeated layers": ({"layer_replication": [[0, 2]]}, "uses repeated layers"),
    "parameters": (
        {"target_parameters": ["experts.down_proj"]},
        "uses parameters without a module",
    ),
    "an unknown start": ({"init_lora_weights": "lora_ga"}, "begun with init_lora_weights: lora_ga"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_more_than_two_factors_is_refused(base: Path, tmp_path: Path, case: str) -> None:
    changes, said = REFUSED[case]
    folder = make_adapter(base, tmp_path / "lora", **PLAIN)
    edit_json(folder / "adapter_config.json", **changes)
    with pytest.raises(UserError, match=said):
        opened(base, lora=folder)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(torch.arange(4, 40)[None]).logits
    return found


def wrapped(base: Path, folder: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(model, folder)


@pytest.mark.parametrize("start", ["gaussian", "eva", "orthogonal", "mica", False])
def test_a_start_that_leaves_the_base_alone_is_scored_as_pefts_model(
    base: Path, tmp_path: Path, start: object
) -> None:
    folder = make_adapter(base, tmp_path / "lora", **PLAIN)
    edit_json(folder / "adapter_config.json", init_lora_weights=start)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.load_state_dict(made(opened(base, lora=folder), {"lora": 1.0}))
    torch.testing.assert_close(logits(model), logits(wrapped(base, folder)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora"])
def test_a_start_that_takes_from_the_base_is_refused_for_it_is_another_model(
    base: Path, tmp_path: Path, start: str
) -> None:
    folder = make_adapter(base, tmp_path / "lora", **PLAIN | {"init_lora_weights": start})
    with pytest.raises(UserError, match=f"begun with init_lora_weights: {start}, which takes part"):
        opened(base, lora=folder)
    of_peft = logits(wrapped(base, folder))
    edit_json(folder / "adapter_config.json", init_lora_weights=True)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.load_state_dict(made(opened(base, lora=folder), {"lora": 1.0}))
    assert (
        logits(model) - of_peft
    ).abs().max() > of_peft.std() / 10  # the refusal is not for nothing


@pytest.mark.filterwarnings("ignore:Model with `tie_word_embeddings")
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {"target_modules": ["lm_head", "q_proj"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["embed_tokens"], "ensure_weight_tying": True},
    ],
    ids=str,
)
def test_an_adapter_of_one_of_two_tied_tensors_is_refused(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    base = make_model(tmp_path / "base", "llama-tied", dtype=torch.float32)
    folder = make_adapter(base, tmp_path / "lora", r=4, lora_alpha=8, **settings)
    with pytest.raises(
        UserError, match=r"alone, and the base's embedding and output layer are one"
    ):
        opened(base, lora=folder)


def test_a_whole_model_beside_an_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(base, tmp_path / "lora", **PLAIN)
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(folder)
    with pytest.raises(UserError, match="holds a whole model and an adapter"):
        opened(base, lora=folder)


def test_an_adapter_of_another_base_is_refused_by_tensor(base: Path, tmp_path: Path) -> None:
    neox = make_model(tmp_path / "neox", "gpt-neox", dtype=torch.float32)
    folder = make_adapter(neox, tmp_path / "lora", r=2, target_modules=["query_key_value"])
    with pytest.raises(UserError, match="which the base does not have; give the base that"):
        opened(base, lora=folder)


def test_factors_of_another_shape_are_refused(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(base, tmp_path / "lora", **PLAIN)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    key = next(name for name in tensors if "lora_A" in name)
    save_file(tensors | {key: tensors[key][:, :8].contiguous()}, file)
    with pytest.raises(ShapeMismatch, match="has shape"):
        opened(base, lora=folder)


def test_a_lonely_factor_is_refused(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(base, tmp_path / "lora", **PLAIN)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors.pop(next(name for name in tensors if "lora_B" in name))
    save_file(tensors, file)
    with pytest.raises(UserError, match="has A of the two factors"):
        opened(base, lora=folder)


def test_nan_in_an_adapter_is_refused_by_tensor(base: Path, tmp_path: Path) -> None:
    folder = make_adapter(base, tmp_path / "lora", **PLAIN)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    key = next(name for name in tensors if "lora_A" in name)
    save_file(tensors | {key: torch.full_like(tensors[key], torch.nan)}, file)
    with pytest.raises(UserError, match=r"checkpoint 'lora': tensor 'model\..*' holds NaN"):
        made(opened(base, lora=folder), {"lora": 1.0})


def test_resized_embeddings_are_told_to_be_merged_by_peft(base: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(50)
    made = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **PLAIN))
    made.save_pretrained(tmp_path / "lora")
    with pytest.raises(ShapeMismatch, match=r"\[50, 16\].*\[48, 16\]; its embeddings were resized"):
        opened(base, lora=tmp_path / "lora")


def test_an_adapter_in_a_folder_of_its_name_is_pointed_to(base: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    settings = peft.LoraConfig(task_type="CAUSAL_LM", **PLAIN)
    peft.get_peft_model(model, settings, adapter_name="mine").save_pretrained(tmp_path / "lora")
    with pytest.raises(UserError, match="its folder mine holds an adapter: give that"):
        opened(base, lora=tmp_path / "lora")


def test_weights_in_a_pickle_are_not_read(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lora"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (folder / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="weights are read from safetensors only"):
        Adapter("lora", folder, Checkpoint("base", base))
