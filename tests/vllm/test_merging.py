"""What vLLM's workers hold is what ExMe exports, bit for bit, whatever the method and however it is written.

The right weights are those that vLLM reads from an export by its own loader; every worker says what it holds by
vLLM's own checksums.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from exme.evaluators.vllm.engine import VllmEngine
from exme.search.merging.candidate import Candidate
from exme.search.merging.folders.model_folder import write_model
from exme.search.merging.sources.adapter import open_checkpoint
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.sources import Sources
from exme.search.merging.sources.task_vector import RECORD, VECTOR, TaskVector, VectorFile
from tests.helpers.models.served import Open, begin
from tests.helpers.models.small_models import edit_weights, load_weights, make_model, open_sources

PROMPT = [[1, 5, 9, 30, 7, 8, 22]]
KINDS = {"patterns": {"queries": ["*q_proj*"], "keys and gates": ["*k_proj*", "*gate_proj*"]}}


def _of(method: str, **parameters: float) -> Candidate:
    return Candidate({"math": 0.7, "code": 0.6}, method, "bfloat16", {}, 3, parameters)


GROUPED = Candidate(
    {},
    "exme",
    "bfloat16",
    {},
    groups=KINDS,
    grouped={
        "queries": {"math": 0.2, "code": 1.1},
        "keys and gates": {"math": -0.4, "code": 0.3},
        "rest": {"math": 1.3, "code": 0.0},
    },
)
CANDIDATES = {
    "plain": _of("exme"),
    "extrapolated": Candidate({"math": -0.7, "code": 2.9}, "exme", "bfloat16", {}),
    "a checkpoint itself": Candidate({"math": 1.0, "code": 0.0}, "exme", "bfloat16", {}),
    "groups": GROUPED,
    "slerp": _of("slerp"),
    "model stock": _of("model_stock", stock=1.0),
    "ties": _of("ties", density=0.3),
    "breadcrumbs": _of("breadcrumbs", density=0.5, gamma=0.01),
    "dare": _of("dare_linear", density=0.5),
    "dare ties": _of("dare_ties", density=0.5),
    "della": _of("della", density=0.5, epsilon=0.1),
}
WAYS: dict[str, dict[str, Any]] = {
    "in place": {"unpacked": True},
    "in place, two workers": {"unpacked": True, "tensor_parallel_size": 2},
    "loaded": {"unpacked": False},
}


def held(engine: VllmEngine) -> tuple[list[dict[str, str]], list[list[float]]]:
    """Checksums of every worker's weights, and what the model says: of packed weights there are no checksums."""
    engine.model.model.reset_prefix_cache()
    return engine.call("compute_weight_checksums"), engine.token_logprobs(PROMPT)


def read_by_vllm(
    engine: VllmEngine, sources: Sources, candidate: Candidate, folder: Path
) -> object:
    """What the engine holds once it has read an export."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_model(folder, sources, candidate, code=False)
    with_path = engine.model.model.collective_rpc
    with_path("reload_weights", kwargs={"weights_path": str(folder)})
    return held(engine)


@pytest.fixture(scope="module", params=WAYS)
def served(
    request: pytest.FixtureRequest, open_engine: Open, family: dict[str, Path]
) -> tuple[VllmEngine, str]:
    engine = open_engine(family["base"], drafts=False, **WAYS[request.param])
    return engine, request.param


@pytest.mark.parametrize("name", CANDIDATES)
def test_workers_hold_what_is_exported(
    name: str, served: tuple[VllmEngine, str], family: dict[str, Path], tmp_path: Path
) -> None:
    engine, way = served
    sources = open_sources(family)
    begin(engine, sources)
    reports = engine.call("exme_report")
    assert {r["path"] for r in reports} == {way.partition(",")[0]}
    base = held(engine)
    engine.update(CANDIDATES[name].to_json())
    ours = held(engine)
    assert ours != base
    assert ours == read_by_vllm(engine, sources, CANDIDATES[name], tmp_path / "export")
    engine.update(Candidate({"math": 0.0, "code": 0.0}, "exme", "bfloat16", {}).to_json())
    assert held(engine) == base


def test_sources_may_lie_on_disk(
    served: tuple[VllmEngine, str], family: dict[str, Path], tmp_path: Path
) -> None:
    engine, _ = served
    sources = open_sources(family)
    begin(engine, sources, residence="mapped")
    engine.update(GROUPED.to_json())
    assert held(engine) == read_by_vllm(engine, sources, GROUPED, tmp_path / "export")


def test_an_adapter_is_merged_from_its_factors(
    served: tuple[VllmEngine, str], family: dict[str, Path], tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    engine, _ = served
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(family["base"])
    lora = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
    for parameter in lora.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    lora.save_pretrained(str(tmp_path / "lora"))
    base = Checkpoint("base", family["base"])
    math = Checkpoint("math", family["math"])
    adapter = open_checkpoint("lora", tmp_path / "lora", base)
    sources = Sources(base, {"math": math, "lora": adapter})
    begin(engine, sources)
    assert engine.call("exme_report")[0]["path"] == "loaded"
    candidate = Candidate({"math": 0.4, "lora": 1.2}, "exme", "bfloat16", {})
    before = held(engine)
    engine.update(candidate.to_json())
    assert held(engine) == read_by_vllm(engine, sources, candidate, tmp_path / "export") != before


def test_a_direction_is_merged_from_its_task_vector(
    served: tuple[VllmEngine, str], family: dict[str, Path], tmp_path: Path
) -> None:
    engine, _ = served
    base = Checkpoint("base", family["base"])
    folder = tmp_path / "regmean"
    folder.mkdir()
    floats = {name: spec.shape for name, spec in base.tensors.items() if spec.is_float}
    vector = VectorFile(folder / VECTOR, floats, wide=False)
    generator = torch.Generator().manual_seed(5)
    for name, shape in floats.items():
        vector.write(name, 0.1 * torch.randn(shape, generator=generator))
    vector.close()
    made_of = {"base": base.fingerprint}
    (folder / RECORD).write_text(json.dumps({"direction": "regmean", "made_of": made_of}))
    math, direction = Checkpoint("math", family["math"]), TaskVector("regmean", folder, base)
    sources = Sources(base, {"math": math, "regmean": direction})
    begin(engine, sources)
    candidate = Candidate({"math": 0.4, "regmean": 0.9}, "exme", "bfloat16", {})
    engine.update(candidate.to_json())
    without = Candidate({"math": 0.4, "regmean": 0.0}, "exme", "bfloat16", {})
    ours = held(engine)
    assert ours == read_by_vllm(engine, sources, candidate, tmp_path / "export")
    engine.update(without.to_json())
    assert held(engine) != ours


def test_a_weight_that_overflows_fails_the_candidate_and_not_the_engine(
    served: tuple[VllmEngine, str], family: dict[str, Path], tmp_path: Path
) -> None:
    engine, _ = served
    huge = {"base": family["base"], "math": family["math"], "code": tmp_path / "code"}
    shutil.copytree(family["code"], huge["code"])
    name = "model.layers.1.mlp.down_proj.weight"
    wide = load_weights(huge["code"])[name].clone()
    wide[0, 0] = 3e38
    edit_weights(huge["code"], **{name.replace(".", "__"): wide})
    begin(engine, open_sources(huge))
    with pytest.raises(
        FloatingPointError, match=rf"^tensor '{name}' of the candidate is not finite$"
    ):
        engine.update(Candidate({"math": 0.0, "code": 4.0}, "exme", "bfloat16", {}).to_json())
    engine.update(_of("exme").to_json())
    engine.check_logits()


def test_merged_vocabularies_are_served(
    open_engine: Open, family: dict[str, Path], tmp_path: Path
) -> None:
    from tests.helpers.models.served import eight_heads
    from tests.helpers.models.small_models import VOCABULARY, tokenizer

    config = eight_heads()
    config.vocab_size = len(VOCABULARY) + 1
    wide = make_model(tmp_path / "wide", seed=7, config=config)
    tokenizer([*VOCABULARY, "new"]).save_pretrained(wide)
    sources = Sources(
        Checkpoint("base", family["base"]), {"wide": Checkpoint("wide", wide)}, union=True
    )
    folder = tmp_path / "base"
    folder.mkdir()
    nothing = Candidate({"wide": 0.0}, "exme", "bfloat16", {})
    write_model(folder, sources, nothing, code=False)
    engine = open_engine(folder, drafts=False)
    begin(engine, sources)
    assert engine.call("exme_report")[0]["path"] == "in place"
    candidate = Candidate({"wide": 0.6}, "exme", "bfloat16", {})
    engine.update(candidate.to_json())
    assert held(engine) == read_by_vllm(engine, sources, candidate, tmp_path / "export")
