"""The resident model: every candidate is made afresh, in a live model of any of these shapes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GPT2Config

from exme.search.merging.candidate import Candidate
from exme.search.merging.resident import ResidentModel, pick_device, weights_digest
from exme.tasks.errors import UserError
from tests.helpers.models.rounding import assert_rounded_once
from tests.helpers.models.small_models import (
    KINDS,
    counted_config,
    edit_json,
    edit_weights,
    load_weights,
    make_family,
    open_resident,
    open_sources,
)

POINTS = ({"math": 0.4, "code": 0.6}, {"math": 1.3, "code": 0.5}, {"math": -0.7, "code": 2.9})
TOKENS = torch.tensor([[1, 5, 9, 30, 2]])


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return str(request.param)


@pytest.fixture(scope="module", params=[*KINDS, "sharded"])
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sharded":
        return make_family(folder, "llama", shard="3KB")
    return make_family(folder, request.param)


@pytest.fixture
def llama(tmp_path: Path) -> dict[str, Path]:
    """A family to spoil."""
    return make_family(tmp_path, "llama")


def candidate(
    resident: ResidentModel, coefficients: dict[str, float], dtype: str = "bfloat16"
) -> Candidate:
    return Candidate(coefficients, "exme", dtype, resident.sources.fingerprints)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(TOKENS.to(model.device)).logits
    return found.float().cpu()


# All shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("coefficients", POINTS, ids=str)
def test_every_tensor_is_float64_rounded_once(
    family: dict[str, Path], coefficients: dict[str, float], device: str
) -> None:
    resident = open_resident(family, device=device)
    resident.materialise(candidate(resident, coefficients))
    sources = {name: load_weights(folder) for name, folder in family.items()}
    found = resident.state_dict()
    assert found.keys() == sources["base"].keys()
    for name, tensor in found.items():
        others = [sources[who][name] for who in sorted(coefficients)]
        weights = [coefficients[who] for who in sorted(coefficients)]
        assert_rounded_once(tensor, sources["base"][name], others, weights)


@pytest.mark.parametrize("name", ["base", "math", "code"])
def test_an_input_is_given_back_bit_for_bit_and_computes_as_by_itself(
    family: dict[str, Path], name: str, device: str
) -> None:
    resident = open_resident(family, device=device)
    resident.materialise(candidate(resident, POINTS[1]))  # something else before
    resident.materialise(candidate(resident, {who: float(who == name) for who in ("math", "code")}))
    assert weights_digest(resident.state_dict()) == weights_digest(load_weights(family[name]))
    alone: Any = AutoModelForCausalLM.from_pretrained(family[name], dtype=torch.float32)
    assert torch.equal(logits(resident.model), logits(alone.to(device).eval()))


def test_many_candidates_later_the_first_is_made_again_bit_for_bit(
    family: dict[str, Path], device: str
) -> None:
    resident = open_resident(family, device=device)
    first = candidate(resident, POINTS[1])
    resident.materialise(first)
    digest, before = weights_digest(resident.state_dict()), logits(resident.model)
    rng = random.Random(0)
    for _ in range(30):
        point = {name: rng.uniform(-5, 30) for name in ("math", "code")}
        resident.materialise(candidate(resident, point))
    assert weights_digest(resident.state_dict()) != digest
    resident.materialise(first)
    assert weights_digest(resident.state_dict()) == digest
    assert torch.equal(logits(resident.model), before)


def test_the_order_of_the_coefficients_does_not_change_a_bit(family: dict[str, Path]) -> None:
    resident = open_resident(family, dtype=torch.float32)
    point = {"math": 1.3, "code": 0.7}
    digests = set()
    for coefficients in (point, dict(reversed(point.items()))):
        made = candidate(resident, coefficients, "float32")
        resident.materialise(made)
        digests.add((made.digest, weights_digest(resident.state_dict())))
    assert len(digests) == 1


def test_the_model_is_what_its_state_dict_says(family: dict[str, Path], tmp_path: Path) -> None:
    """Tied output layers and computed buffers follow: a fresh model of these weights agrees."""
    resident = open_resident(family)
    resident.materialise(candidate(resident, POINTS[1]))
    fresh = Path(shutil.copytree(family["base"], tmp_path / "fresh"))
    for file in fresh.glob("*.safetensors*"):
        file.unlink()
    save_file(resident.state_dict(), fresh / "model.safetensors", metadata={"format": "pt"})
    model = AutoModelForCausalLM.from_pretrained(fresh, dtype=torch.float32)
    assert torch.equal(logits(model.eval()), logits(resident.model))


@pytest.mark.parametrize("kind", ["llama-tied", "qwen2-tied"])
def test_tied_embeddings_stay_one_tensor(tmp_path: Path, kind: str) -> None:
    resident = open_resident(make_family(tmp_path, kind))
    resident.materialise(candidate(resident, POINTS[0]))
    model: Any = resident.model
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert "lm_head.weight" not in resident.state_dict()


# Dtypes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("compute", [torch.bfloat16, torch.float32], ids=str)
def test_the_model_computes_with_the_rounded_weights(
    tmp_path: Path, dtype: torch.dtype, compute: torch.dtype, device: str
) -> None:
    if compute.itemsize < dtype.itemsize or (dtype, compute) == (torch.float16, torch.bfloat16):
        pytest.skip("the study never computes in less than it rounds to")
    family = make_family(tmp_path, dtypes=(torch.float32, torch.bfloat16, torch.float16))
    resident = open_resident(family, dtype=dtype, compute_dtype=compute, device=device)
    resident.materialise(candidate(resident, POINTS[1], str(dtype).removeprefix("torch.")))
    live = dict(resident.model.named_parameters())
    for name, tensor in resident.state_dict().items():
        assert tensor.dtype == dtype
        assert live[name].dtype == compute
        assert torch.equal(live[name].cpu().double(), tensor.double())


def test_a_candidate_in_another_dtype_is_refused(llama: dict[str, Path]) -> None:
    resident = open_resident(llama)
    with pytest.raises(
        ValueError, match=r"candidate in float32, resident model in torch\.bfloat16"
    ):
        resident.materialise(candidate(resident, POINTS[0], "float32"))


def test_an_overflow_is_reported_by_tensor_and_forgotten_by_the_next_candidate(
    tmp_path: Path, device: str
) -> None:
    family = make_family(tmp_path, dtypes=(torch.float16,) * 3)
    edit_weights(family["math"], model__norm__weight=torch.full((16,), 3e4, dtype=torch.float16))
    resident = open_resident(family, dtype=torch.float16, device=device)
    resident.materialise(candidate(resident, POINTS[0], "float16"))
    digest = weights_digest(resident.state_dict())
    with pytest.raises(FloatingPointError, match=r"tensor 'model\.norm\.weight' of the candidate"):
        resident.materialise(candidate(resident, {"math": 25.0, "code": 0.0}, "float16"))
    resident.materialise(candidate(resident, POINTS[0], "float16"))
    assert weights_digest(resident.state_dict()) == digest


def test_an_overflow_of_the_compute_dtype_is_reported_too(llama: dict[str, Path]) -> None:
    large = torch.full((16,), 3e4, dtype=torch.bfloat16)
    edit_weights(llama["math"], model__norm__weight=large)
    resident = open_resident(llama, compute_dtype=torch.float16)
    with pytest.raises(FloatingPointError, match=r"'model\.norm\.weight'"):
        resident.materialise(candidate(resident, {"math": 3.0, "code": 0.0}))


# Buffers and integers -----------------------------------------------------------------------------


def test_integer_buffers_are_kept_and_float_buffers_merged(tmp_path: Path) -> None:
    family = make_family(tmp_path, config=counted_config())
    edit_weights(family["math"], shift=torch.tensor([1.5, 0.75]))
    resident = open_resident(family, dtype=torch.float32)
    resident.materialise(candidate(resident, {"math": 0.5, "code": 0.0}, "float32"))
    found = resident.state_dict()
    assert torch.equal(found["steps"], torch.tensor([7, 2**40]))
    assert torch.equal(found["shift"], torch.tensor([1.0, 0.25]))
    assert torch.equal(dict(resident.model.named_buffers())["steps"], found["steps"])


def test_an_integer_tensor_that_differs_is_refused_by_name(tmp_path: Path) -> None:
    family = make_family(tmp_path, config=counted_config())
    edit_weights(family["code"], steps=torch.tensor([8, 2**40]))
    with pytest.raises(UserError, match=r"'code': tensor 'steps' \(I64\) differs from the base's"):
        open_resident(family)


def test_computed_buffers_are_left_alone(llama: dict[str, Path]) -> None:
    resident = open_resident(llama)
    before = {n: b.clone() for n, b in resident.model.named_buffers()}
    assert before
    resident.materialise(candidate(resident, POINTS[2]))
    assert all(torch.equal(b, before[n]) for n, b in resident.model.named_buffers())


# Names --------------------------------------------------------------------------------------------


def test_a_parameter_that_transformers_renames_is_merged_under_its_name_in_the_files(
    tmp_path: Path,
) -> None:
    resident = open_resident(make_family(tmp_path, "gpt-neox"))
    resident.materialise(candidate(resident, POINTS[0]))
    assert "embed_out.weight" in resident.state_dict()
    live = dict(resident.model.named_parameters())
    assert torch.equal(live["lm_head.weight"], resident.state_dict()["embed_out.weight"].float())


def test_files_without_the_models_prefix_are_merged_like_the_hubs_gpt2(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=48, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    family = make_family(tmp_path, config=config)
    for folder in family.values():
        weights = load_weights(folder)
        bare = {name.removeprefix("transformer."): t for name, t in weights.items()}
        save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    resident = open_resident(family)
    resident.materialise(candidate(resident, {"math": 0.0, "code": 1.0}))
    assert weights_digest(resident.state_dict()) == weights_digest(load_weights(family["code"]))


def test_a_tensor_unknown_to_the_model_is_named(llama: dict[str, Path]) -> None:
    for folder in llama.values():
        edit_weights(folder, extra__weight=torch.ones(2))
    with pytest.raises(
        UserError, match=r"base: tensor 'extra\.weight' has no counterpart in Llama"
    ):
        open_resident(llama)


def test_a_tensor_that_the_model_needs_and_nobody_holds_is_named(llama: dict[str, Path]) -> None:
    for folder in llama.values():
        edit_weights(folder, model__norm__weight=None)
    with pytest.raises(UserError, match=r"base: LlamaForCausalLM .* needs tensor 'model\.norm"):
        open_resident(llama)


# What cannot be loaded ----------------------------------------------------------------------------


def test_a_config_that_does_not_fit_its_weights_is_one_line(llama: dict[str, Path]) -> None:
    for folder in llama.values():
        edit_json(folder / "config.json", vocab_size=50)
    with pytest.raises(
        UserError,
        match=r"base: transformers cannot load it: its weights have other shapes than its config\.json",
    ):
        open_resident(llama)


def test_a_model_type_that_transformers_does_not_know_is_one_line(llama: dict[str, Path]) -> None:
    for folder in llama.values():
        edit_json(folder / "config.json", model_type="nonsense", architectures=None)
    with pytest.raises(UserError, match=r"transformers cannot load it \(.*nonsense"):
        open_resident(llama)


def test_a_base_without_a_tokenizer_is_one_line(llama: dict[str, Path]) -> None:
    for file in llama["base"].glob("*token*"):
        file.unlink()
    with pytest.raises(UserError, match="transformers finds no tokenizer there"):
        open_resident(llama)


def test_sources_that_do_not_fit_are_refused_before_anything_is_loaded(
    llama: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_weights(llama["code"], extra__weight=torch.ones(2))
    monkeypatch.setattr(
        "exme.search.merging.sources.checkpoint.Checkpoint.load", lambda self: pytest.fail("read")
    )
    with pytest.raises(UserError, match="checkpoint 'code'"):
        open_sources(llama)


@pytest.mark.parametrize("wanted", ["gpu", "cuda:99", "tpu"])
def test_a_device_that_is_not_there_is_refused(wanted: str) -> None:
    said = f"device '{wanted}' (cannot be used|is none) .*device: auto"
    with pytest.raises(UserError, match=said):
        pick_device(wanted)


def test_the_digest_of_weights_depends_on_names_dtypes_shapes_and_bits() -> None:
    ones = torch.ones(4)
    digests = {
        weights_digest({"a": ones}),
        weights_digest({"b": ones}),
        weights_digest({"a": ones.half()}),
        weights_digest({"a": ones.view(2, 2)}),
        weights_digest({"a": -ones}),
        weights_digest({"a": ones, "b": ones}),
    }
    assert len(digests) == 6
    assert weights_digest({"b": ones, "a": ones}) == weights_digest({"a": ones, "b": ones})
