"""How a GPU's memory is divided, by hand; and why an engine did not start, by its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exme.evaluators.vllm.logs import explain_start
from exme.evaluators.vllm.memory import GIB, OVERHEAD, Shape, plan, shape_of
from exme.evaluators.vllm.settings import VllmSettings

LLAMA_8B = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
PARAMETERS = 8_030_261_248


def test_a_token_of_an_8b_llama_takes_128_kib_of_cache() -> None:
    shape = shape_of(LLAMA_8B, PARAMETERS)
    assert shape == Shape(PARAMETERS, 32, 8, 128)
    assert shape.cache_of_token(2, 1) == 2 * 32 * 8 * 128 * 2 == 128 * 1024
    assert shape.cache_of_token(2, 2) == 64 * 1024
    assert shape.cache_of_token(2, 16) == 16 * 1024  # heads are copied, not cut


@pytest.mark.parametrize(("gpu", "place"), [(80, "device"), (24, "host")])
def test_sources_are_beside_the_weights_where_the_cache_has_room_too(gpu: int, place: str) -> None:
    found = plan(
        shape_of(LLAMA_8B, PARAMETERS),
        itemsize=2,
        sources=3 * 2 * PARAMETERS,
        gpu=gpu * GIB,
        parts=1,
        longest=8192,
    )
    assert found.fits
    assert found.place == place
    beside = found.sources if place == "device" else 0
    assert found.weights + beside + OVERHEAD + found.cache <= 0.95 * gpu * GIB
    assert found.cache_tokens == found.cache // (128 * 1024)
    assert found.utilization * gpu * GIB <= found.weights + OVERHEAD + found.cache


def test_a_model_that_leaves_no_room_for_one_sequence_does_not_fit() -> None:
    shape = Shape(70_000_000_000, 80, 8, 128)
    args: dict[str, Any] = {
        "itemsize": 2,
        "sources": 3 * 140 * 10**9,
        "gpu": 80 * GIB,
        "longest": 8192,
    }
    assert not plan(shape, parts=1, **args).fits
    assert not plan(shape, parts=2, **args).fits or plan(shape, parts=2, **args).place == "host"
    assert plan(shape, parts=4, **args).fits


def test_what_the_study_says_of_the_share_stays() -> None:
    found = plan(
        shape_of(LLAMA_8B, PARAMETERS),
        itemsize=2,
        sources=3 * 2 * PARAMETERS,
        gpu=141 * GIB,
        parts=1,
        longest=8192,
        utilization=0.5,
    )
    assert (found.utilization, found.place) == (0.5, "device")


def test_the_first_reason_in_the_log_is_told_and_memory_names_its_keys(tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    log.write_text(
        "(EngineCore pid=7) ERROR 11-30 [core.py:1] ValueError: No available memory for the cache blocks.\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    wrapper = RuntimeError("Engine core initialization failed. See root cause above.")
    found = str(explain_start(wrapper, log, VllmSettings(gpu_memory_utilization=0.4)))
    assert "too little memory to start (ValueError: No available memory for the cache" in found
    assert "lower vllm.gpu_memory_utilization (0.4), vllm.max_model_len (not set)" in found
    other = str(explain_start(ValueError("no such thing"), tmp_path / "none", VllmSettings()))
    assert other.startswith("engine: vllm did not start (no such thing)")
