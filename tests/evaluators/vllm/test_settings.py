"""What a study may tell vLLM, and what is refused before anything is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from exme.evaluators.vllm import available
from exme.evaluators.vllm.settings import (
    VllmSettings,
    check_model,
    longest_sequence,
)
from exme.tasks.errors import UserError

LLAMA = {"num_attention_heads": 32, "max_position_embeddings": 4096}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"quantization": "fp8"}, "quantization: fp8: quantised weights cannot be merged"),
        ({"model": "x"}, "'model' is not for the study to set: `base` names the model"),
        ({"max_num_seqs": 8}, "'max_num_seqs' has a key of its own"),
        ({"speculative_config": {}}, "`drafts: false` does without"),
    ],
)
def test_arguments_that_the_search_decides_are_refused(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        VllmSettings(engine_args=arguments)


def test_others_pass() -> None:
    VllmSettings(engine_args={"enforce_eager": True, "quantization": None, "swap_space": 4})


def test_heads_that_cannot_be_divided_name_what_fits() -> None:
    with pytest.raises(
        UserError, match=r"3 does not divide the model's 32 .* one of 1, 2, 4, 8, 16, 32"
    ):
        check_model(LLAMA, VllmSettings(tensor_parallel_size=3))
    check_model(LLAMA, VllmSettings(tensor_parallel_size=8))


def test_a_quantised_base_and_a_longer_context_than_the_models_are_refused() -> None:
    with pytest.raises(UserError, match=r"the base is quantised \(gptq\)"):
        check_model(LLAMA | {"quantization_config": {"quant_method": "gptq"}}, VllmSettings())
    with pytest.raises(
        UserError, match=r"max_model_len: 8000 tokens, the model has 4096 positions"
    ):
        check_model(LLAMA, VllmSettings(max_model_len=8000))


def test_the_longest_sequence_is_the_studys_the_models_or_8192() -> None:
    assert longest_sequence(LLAMA, VllmSettings(max_model_len=100)) == 100
    assert longest_sequence(LLAMA, VllmSettings()) == 4096
    assert longest_sequence({"max_position_embeddings": 131072}, VllmSettings()) == 8192


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "vLLM is not installed"),
        ("0.31.2", "vLLM 0.31.2 is installed, versions from 0.32 and below 0.33 are tested"),
        ("0.33.0+cpu", "vLLM 0.33.0.cpu is installed, versions"),
    ],
)
def test_a_vllm_that_is_not_tested_is_refused(
    found: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(available, "installed_version", lambda: found)
    with pytest.raises(UserError, match=f"engine: vllm: {said}.*pip install"):
        available.check_installed()
    monkeypatch.setattr(available, "installed_version", lambda: "0.32.4+cpu")
    available.check_installed()
