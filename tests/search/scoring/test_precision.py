"""Which engine a study is scored with, and in which dtypes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from exme.search.scoring import precision
from exme.search.scoring.precision import choose_engine, settle_precision
from exme.search.study.study_file import StudyFile
from exme.tasks.errors import UserError

LLAMA = {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 8}


def study(**keys: Any) -> StudyFile:
    return StudyFile(base="mini/base", checkpoints={"sums": "mini/sums"}, data="mini", **keys)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "pick_device", lambda _: torch.device("cuda"))


def test_auto_is_the_fast_engine_on_a_cpu() -> None:
    found = choose_engine(study(device="cpu"), LLAMA)
    assert (found.name, found.why) == ("fast", "the device is a CPU")


@pytest.mark.parametrize(
    ("installed", "supported", "name", "why"),
    [
        (None, None, "vllm", "there is a GPU, and vLLM knows the model"),
        ("vLLM is not installed", None, "stock", "vLLM is not installed"),
        (None, "vLLM has no model class for X", "stock", "vLLM has no model class for X"),
    ],
)
def test_auto_is_vllm_on_a_gpu_where_it_can_be(
    installed: str | None,
    supported: str | None,
    name: str,
    why: str,
    gpu: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "why_not_installed", lambda: installed)
    monkeypatch.setattr(precision, "why_not_supported", lambda _: supported)
    found = choose_engine(study(), LLAMA)
    assert (found.name, found.why) == (name, why)


def test_a_model_that_is_spread_is_not_served(gpu: None) -> None:
    assert choose_engine(study(device="spread"), LLAMA).name == "stock"


def test_vllm_is_refused_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise UserError("engine: vllm: vLLM is not installed")

    monkeypatch.setattr(precision, "check_installed", absent)
    with pytest.raises(UserError, match="vLLM is not installed"):
        choose_engine(study(engine="vllm"), LLAMA)


def test_vllm_computes_in_its_own_dtype_and_weights_are_never_wider() -> None:
    served = study(engine="vllm", vllm={"dtype": "bfloat16"}, device="cpu")
    found = settle_precision(served, "float32", "vllm")
    assert (found.dtype, found.compute, found.engine) == ("bfloat16", "bfloat16", "vllm")
    assert settle_precision(served, "float32", "fast").compute == "float32"
