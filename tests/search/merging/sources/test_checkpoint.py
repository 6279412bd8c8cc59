"""The checkpoint reader: what it accepts, and what it refuses by name before loading anything."""

from __future__ import annotations

import json
import pickle  # noqa: TID251  (to disguise one)
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PretrainedConfig,
    Qwen2Config,
)

from exme.search.merging.sources.checkpoint import Checkpoint, tied_names
from exme.search.merging.sources.fit import check_fit
from exme.search.merging.sources.weight_files import split, write_shards
from exme.tasks.errors import ShapeMismatch, UserError
from tests.helpers.models.small_models import (
    VOCABULARY,
    edit_json,
    edit_weights,
    load_weights,
    make_family,
    make_model,
    tokenizer,
)

EMBEDDING = "model.embed_tokens.weight"
NORM = "model.norm.weight"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_family(tmp_path_factory.mktemp("family"))


@pytest.fixture
def family(made: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """A copy to spoil."""
    return {name: Path(shutil.copytree(f, tmp_path / name)) for name, f in made.items()}


def fit(family: dict[str, Path], name: str = "math") -> None:
    check_fit(Checkpoint("base", family["base"]), Checkpoint(name, family[name]))


# What is read -------------------------------------------------------------------------------------


def test_a_single_file_is_read_as_it_was_written(made: dict[str, Path]) -> None:
    loaded = Checkpoint("math", made["math"]).load()
    written = load_weights(made["math"])
    assert loaded.keys() == written.keys()
    assert all(torch.equal(loaded[name], written[name]) for name in written)


def test_headers_tell_shapes_dtypes_and_sizes_without_loading(made: dict[str, Path]) -> None:
    checkpoint = Checkpoint("math", made["math"])
    written = load_weights(made["math"])
    assert {n: s.shape for n, s in checkpoint.tensors.items()} == {
        n: tuple(t.shape) for n, t in written.items()
    }
    assert checkpoint.bytes == sum(t.nbytes for t in written.values())
    assert checkpoint.dtype == "bfloat16"


def test_shards_are_read_like_one_file(tmp_path: Path) -> None:
    whole = Checkpoint("whole", make_model(tmp_path / "whole"))
    sharded = Checkpoint("sharded", make_model(tmp_path / "sharded", shard="3KB"))
    assert len(sharded.files) > 2
    one, many = whole.load(), sharded.load()
    assert one.keys() == many.keys()
    assert all(torch.equal(one[name], many[name]) for name in one)
    check_fit(whole, sharded)


def test_a_single_file_goes_before_an_index_as_in_transformers(family: dict[str, Path]) -> None:
    index = {"weight_map": {"lm_head.weight": "gone.safetensors"}}
    (family["math"] / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [f.name for f in Checkpoint("math", family["math"]).files] == ["model.safetensors"]


def test_a_tied_output_layer_that_is_stored_again_is_left_out(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "tied", "llama-tied")
    edit_weights(folder, lm_head__weight=load_weights(folder)[EMBEDDING].clone())
    assert "lm_head.weight" not in Checkpoint("tied", folder).load()


@pytest.mark.parametrize(("model_type", "tied"), [("gemma", True), ("llama", False)])
def test_where_config_json_is_silent_on_tying_its_class_decides(
    family: dict[str, Path], model_type: str, tied: bool
) -> None:
    edit_json(family["math"] / "config.json", model_type=model_type, tie_word_embeddings=None)
    assert bool(tied_names(Checkpoint("math", family["math"]))) == tied


def test_a_head_of_its_own_is_not_dropped_for_a_tied_base(tmp_path: Path) -> None:
    family = make_family(tmp_path, "llama-tied")
    edit_weights(family["math"], lm_head__weight=torch.ones(len(VOCABULARY), 16))
    edit_json(family["math"] / "config.json", tie_word_embeddings=None)  # not tied: Llama's default
    with pytest.raises(UserError, match="tie_word_embeddings is False, the base's is True"):
        fit(family)


def test_masks_and_frequencies_that_old_files_hold_are_not_parameters(tmp_path: Path) -> None:
    family = make_family(tmp_path, "gpt-neox")
    layer = "gpt_neox__layers__0__attention__"
    edit_weights(
        family["base"],
        **{
            f"{layer}bias": torch.ones(1, 1, 64, 64, dtype=torch.bool),
            f"{layer}masked_bias": torch.tensor(float("-inf")),
            f"{layer}rotary_emb__inv_freq": torch.ones(4),
        },
    )
    fit(family)
    assert Checkpoint("base", family["base"]).load().keys() == load_weights(family["math"]).keys()


def test_the_fingerprint_changes_with_the_weights_and_not_with_the_config(
    family: dict[str, Path],
) -> None:
    before = Checkpoint("math", family["math"]).fingerprint
    edit_json(family["math"] / "config.json", note="another")
    assert Checkpoint("math", family["math"]).fingerprint == before
    edit_weights(family["math"], model__norm__weight=torch.zeros(16, dtype=torch.bfloat16))
    assert Checkpoint("math", family["math"]).fingerprint != before


# What is no checkpoint ----------------------------------------------------------------------------


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"checkpoint 'math': .* has no config\.json; give the"):
        Checkpoint("math", tmp_path)


def test_an_adapter_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"an adapter, which is a checkpoint of a base"):
        Checkpoint("math", tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "\xff\xfe"])
def test_a_config_that_is_no_json_object_is_refused(family: dict[str, Path], text: str) -> None:
    (family["math"] / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"config\.json: (not readable|expected a JSON object)"):
        Checkpoint("math", family["math"])


def test_a_truncated_file_is_refused(family: dict[str, Path]) -> None:
    file = family["math"] / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"'math': .*model\.safetensors is not a whole"):
        Checkpoint("math", family["math"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\xff" * 64,
        (2**62).to_bytes(8, "little") + b"{}",
        b"\x02" + bytes(7) + b"[]",
    ],
)
def test_a_garbage_header_is_refused(family: dict[str, Path], content: bytes) -> None:
    (family["math"] / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"'math': .*model\.safetensors is not a whole"):
        Checkpoint("math", family["math"])


def test_a_pickle_in_disguise_is_refused_and_not_run(family: dict[str, Path]) -> None:
    trap = family["math"] / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (trap,)

    (family["math"] / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match="is not a whole safetensors file"):
        Checkpoint("math", family["math"])
    assert not trap.exists()


def test_a_pickle_beside_missing_safetensors_is_named_and_not_read(family: dict[str, Path]) -> None:
    (family["math"] / "model.safetensors").unlink()
    (family["math"] / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"pytorch_model\.bin is a pickle, which is never read"):
        Checkpoint("math", family["math"])


@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/passwd", "a/b.safetensors", 7])
def test_an_index_that_points_outside_is_refused(tmp_path: Path, shard: object) -> None:
    folder = make_model(tmp_path / "math", shard="3KB")
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"] | {NORM: shard}
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(UserError, match=r"'math': .*index\.json points outside"):
        Checkpoint("math", folder)


@pytest.mark.parametrize("weight_map", [None, {}, ["a"]])
def test_an_index_without_a_map_is_refused(tmp_path: Path, weight_map: object) -> None:
    folder = make_model(tmp_path / "math", shard="3KB")
    edit_json(folder / "model.safetensors.index.json", weight_map=weight_map)
    with pytest.raises(UserError, match="has no weight_map"):
        Checkpoint("math", folder)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "math", shard="3KB")
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(UserError, match=f"'math': .*{shard.name} is missing"):
        Checkpoint("math", folder)


def test_a_tensor_that_the_index_promises_and_no_shard_holds_is_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "math", shard="3KB")
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    edit_json(index, weight_map=weight_map | {"ghost.weight": weight_map[NORM]})
    with pytest.raises(UserError, match=r"names tensor 'ghost\.weight', which none of its files"):
        Checkpoint("math", folder)


def test_a_tensor_in_two_shards_is_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "math", shard="3KB")
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    shutil.copyfile(first, second)
    with pytest.raises(UserError, match="is in two files"):
        Checkpoint("math", folder)


def test_quantised_weights_are_refused_by_name(family: dict[str, Path]) -> None:
    edit_weights(family["math"], model__norm__weight=torch.ones(16).to(torch.float8_e4m3fn))
    with pytest.raises(UserError, match=rf"'{NORM}' is F8_E4M3; quantised"):
        Checkpoint("math", family["math"])


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"load_in_4bit": True}, "quantization_config"),
    ],
)
def test_quantised_weights_are_named_by_their_settings(
    family: dict[str, Path], settings: dict[str, object], kind: str
) -> None:
    edit_json(family["math"] / "config.json", quantization_config=settings)
    edit_weights(
        family["math"], lm_head__weight=None, lm_head__qweight=torch.ones(2, dtype=torch.int32)
    )
    with pytest.raises(UserError, match=rf"was quantised \({kind}\)"):
        Checkpoint("math", family["math"])


def test_a_file_without_floating_point_tensors_is_refused(family: dict[str, Path]) -> None:
    save_file({"steps": torch.ones(1, dtype=torch.int64)}, family["math"] / "model.safetensors")
    with pytest.raises(UserError, match="holds no floating-point tensors"):
        Checkpoint("math", family["math"])


# What does not fit --------------------------------------------------------------------------------


def test_fine_tunes_of_the_base_fit(made: dict[str, Path]) -> None:
    fit(made, "math")
    fit(made, "code")


def test_a_missing_tensor_is_named(family: dict[str, Path]) -> None:
    edit_weights(family["math"], model__norm__weight=None)
    with pytest.raises(UserError, match=rf"'math': tensor '{NORM}' of the base is missing"):
        fit(family)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
@pytest.mark.parametrize("whose", ["base", "math"])
def test_names_that_differ_by_a_prefix_are_said_to(
    family: dict[str, Path], whose: str, prefix: str
) -> None:
    tensors = {prefix + name: tensor for name, tensor in load_weights(family[whose]).items()}
    save_file(tensors, family[whose] / "model.safetensors")
    who = "the base's" if whose == "base" else "its"
    with pytest.raises(UserError, match=rf"is missing: {who} tensors' names begin with '{prefix}'"):
        fit(family)


def test_an_additional_tensor_is_named(family: dict[str, Path]) -> None:
    edit_weights(family["math"], extra__weight=torch.ones(2))
    with pytest.raises(UserError, match=r"'math': tensor 'extra\.weight' is not in the base"):
        fit(family)


def test_another_shape_is_named_with_both_shapes(family: dict[str, Path]) -> None:
    edit_weights(family["math"], model__norm__weight=torch.ones(17))
    with pytest.raises(ShapeMismatch, match=rf"'{NORM}' has shape \[17\], the base's has \[16\]"):
        fit(family)


def test_an_integer_tensor_for_a_floating_point_one_is_named(family: dict[str, Path]) -> None:
    edit_weights(family["math"], model__norm__weight=torch.ones(16, dtype=torch.int64))
    with pytest.raises(UserError, match=rf"'{NORM}' is I64, the base's is BF16"):
        fit(family)


def test_another_architecture_is_named(family: dict[str, Path], tmp_path: Path) -> None:
    make_model(tmp_path / "neox", "gpt-neox")
    with pytest.raises(UserError, match="model_type is 'gpt_neox', the base's is 'llama'"):
        fit(family | {"math": tmp_path / "neox"})


def test_another_number_of_heads_is_named_although_all_shapes_agree(
    family: dict[str, Path],
) -> None:
    edit_json(family["math"] / "config.json", num_attention_heads=1)
    with pytest.raises(UserError, match="num_attention_heads is 1, the base's is 2"):
        fit(family)


@pytest.mark.parametrize(
    "change",
    [
        {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}},
        {"rope_parameters": None, "rope_theta": 5e5},
    ],
)
def test_another_rotary_base_is_named_wherever_it_is_written(
    family: dict[str, Path], change: dict[str, object]
) -> None:
    edit_json(family["math"] / "config.json", **change)
    with pytest.raises(UserError, match=r"rope_theta is 500000\.0, the base's is 10000\.0"):
        fit(family)


def test_the_same_rotary_base_fits_wherever_it_is_written(family: dict[str, Path]) -> None:
    edit_json(family["math"] / "config.json", rope_parameters=None, rope_theta=10000)
    fit(family)


def _config(kind: type[PretrainedConfig], **other: Any) -> PretrainedConfig:
    sizes: dict[str, Any] = {
        "vocab_size": len(VOCABULARY), "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
    }  # fmt: skip
    return kind(**sizes, **other)


LINEAR = {"rope_theta": 10000.0, "rope_type": "linear", "factor": 4.0}
DYNAMIC = {"rope_theta": 10000.0, "rope_type": "dynamic", "factor": 4.0}
# A class, what the base says, what the checkpoint says instead, and how that is named.
MEANINGS: dict[str, tuple[type[PretrainedConfig], dict[str, Any], dict[str, Any], str]] = {
    "scaled rope": (LlamaConfig, {}, {"rope_parameters": LINEAR}, "factor is 4.0, the base's is None"),
    "scaled rope, as transformers 4 writes it": (
        LlamaConfig, {}, {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 4.0}},
        "factor is 4.0, the base's is None",
    ),
    "no scaling of the base's": (
        LlamaConfig, {"rope_parameters": LINEAR}, {"rope_parameters": None}, "factor is None, the base's is 4.0",
    ),
    "a context that scaling reckons with": (
        LlamaConfig, {"rope_parameters": DYNAMIC}, {"max_position_embeddings": 16},
        "max_position_embeddings is 16, the base's is 64",
    ),
    "a window": (MistralConfig, {"sliding_window": None}, {"sliding_window": 8}, "sliding_window is 8"),
    "a window by default": (
        MistralConfig, {"sliding_window": 8}, {"sliding_window": None}, "sliding_window is 4096",
    ),
    "a window of some layers": (
        Qwen2Config, {"use_sliding_window": False},
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1, "layer_types": None},
        "layer_types",
    ),
    "a soft cap": (
        Gemma2Config, {"head_dim": 8, "final_logit_softcapping": None}, {"final_logit_softcapping": 3.0},
        "final_logit_softcapping is 3.0, the base's is None",
    ),
    "a soft cap by default": (
        Gemma2Config, {"head_dim": 8, "attn_logit_softcapping": 3.0}, {"attn_logit_softcapping": None},
        "attn_logit_softcapping is 50.0",
    ),
    "a multiplier": (GraniteConfig, {}, {"logits_scaling": 2.0}, "logits_scaling is 2.0"),
    "experts per token": (
        MixtralConfig, {"num_local_experts": 4}, {"num_experts_per_tok": 1}, "num_experts_per_tok is 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MEANINGS)
def test_a_setting_that_changes_what_weights_mean_is_named(tmp_path: Path, case: str) -> None:
    kind, own, change, expected = MEANINGS[case]
    family = make_family(tmp_path, config=_config(kind, **own))
    fit(family)
    file = family["math"] / "config.json"
    edit_json(file, **change)
    ids = torch.arange(40)[None] % len(VOCABULARY)
    with torch.no_grad():
        as_it_says = AutoModelForCausalLM.from_pretrained(family["math"])(ids).logits
        shutil.copyfile(family["base"] / "config.json", tmp_path / "as-the-base.json")
        with pytest.raises(UserError, match=re.escape(expected)):
            fit(family)
        shutil.copyfile(tmp_path / "as-the-base.json", file)
        as_the_base_says = AutoModelForCausalLM.from_pretrained(family["math"])(ids).logits
    assert not torch.equal(as_it_says, as_the_base_says)  # the refusal is not for nothing


@pytest.mark.parametrize(
    "change",
    [
        {"max_position_embeddings": 128},
        {"attention_dropout": 0.5, "initializer_range": 0.5, "use_cache": False},
        {"eos_token_id": [2, 3], "pad_token_id": 3, "bos_token_id": None},
        {"dtype": None, "torch_dtype": "float16", "transformers_version": "4.1"},
        {"architectures": ["Other"], "_name_or_path": "elsewhere", "made_by": "a trainer"},
        {"head_dim": 8, "rms_norm_eps": 1e-6, "attention_bias": False},  # the defaults, written out
    ],
)
def test_a_setting_that_leaves_logits_alone_may_differ(
    family: dict[str, Path], change: dict[str, object]
) -> None:
    edit_json(family["math"] / "config.json", **change)
    fit(family)


SAME: dict[str, tuple[str, dict[str, object], dict[str, object]]] = {
    "an activation by another name": ("llama", {"hidden_act": "silu"}, {"hidden_act": "swish"}),
    "a former name of the rotary kind": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 10000.0},
    ),
    "the width of a head, written out": ("qwen2-tied", {}, {"head_dim": 8}),
}


@pytest.mark.parametrize("case", SAME)
def test_settings_that_make_the_same_logits_in_other_words_may_differ(
    case: str, tmp_path: Path
) -> None:
    kind, ours, theirs = SAME[case]
    family = make_family(tmp_path, kind)
    logits = []
    for said in (ours, theirs):
        settings = json.loads((family["math"] / "config.json").read_text())
        settings = {k: v for k, v in settings.items() if k != "rope_parameters" or not said}
        (family["math"] / "config.json").write_text(json.dumps({**settings, **said}))
        model = AutoModelForCausalLM.from_pretrained(family["math"])
        logits.append(model(torch.arange(4, 20)[None]).logits)
    torch.testing.assert_close(*logits, rtol=0, atol=0)
    edit_json(family["base"] / "config.json", **ours)
    fit(family)


def test_another_vocabulary_is_named_by_its_first_token(family: dict[str, Path]) -> None:
    swapped = [*VOCABULARY[:4], VOCABULARY[5], VOCABULARY[4], *VOCABULARY[6:]]
    tokenizer(swapped).save_pretrained(family["math"])
    with pytest.raises(UserError, match=r"another vocabulary .*'w0' has id 5, in the base 4 \(2 "):
        fit(family)


def test_a_damaged_tokenizer_is_named(family: dict[str, Path]) -> None:
    (family["math"] / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer"):
        fit(family)


# What cannot be merged ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused_by_tensor_name(
    family: dict[str, Path], value: float
) -> None:
    weight = load_weights(family["math"])[NORM]
    weight[3] = value
    edit_weights(family["math"], model__norm__weight=weight)
    with pytest.raises(UserError, match=rf"'math': tensor '{NORM}' holds NaN or infinity"):
        Checkpoint("math", family["math"]).load()


def test_a_tied_output_layer_that_differs_from_the_embedding_is_refused(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "math", "llama-tied")
    edit_weights(folder, lm_head__weight=load_weights(folder)[EMBEDDING] + 1)
    with pytest.raises(UserError, match=r"'lm_head\.weight' is not the embedding"):
        Checkpoint("math", folder).load()


# What is written ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("shard", "files"), [(10**9, 1), (3000, 5)])
def test_what_is_written_is_read_back_bit_for_bit(
    made: dict[str, Path], tmp_path: Path, shard: int, files: int
) -> None:
    tensors = load_weights(made["math"]) | {"steps": torch.tensor([7], dtype=torch.int64)}
    shutil.copyfile(made["math"] / "config.json", tmp_path / "config.json")
    specs = {n: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for n, t in tensors.items()}
    written = write_shards(tmp_path, split(specs, shard), specs, tensors.__getitem__)
    assert len(written) >= files
    assert (tmp_path / "model.safetensors.index.json").is_file() == (files > 1)
    back = Checkpoint("back", tmp_path).load()
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[n], t) and back[n].dtype == t.dtype for n, t in tensors.items())
