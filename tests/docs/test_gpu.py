"""The page on GPUs: its table is what the engine computes, its study files can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from exme.evaluators.vllm.memory import GIB, Shape, gib, plan
from exme.search.study.study_file import load_study_file

# Parameters, layers, key-value heads and head size; attention heads. From the models' own config.json.
MODELS = {
    "Qwen2.5-0.5B": (Shape(494_032_768, 24, 2, 64), 14),
    "Qwen2.5-3B": (Shape(3_085_938_688, 36, 2, 128), 16),
    "Llama-3-8B": (Shape(8_030_261_248, 32, 8, 128), 32),
    "Llama-3-70B": (Shape(70_553_706_496, 80, 8, 128), 64),
}
CARDS = {"24": 24.0, "80": 79.6, "141": 140.4}


def row(model: str, card: str) -> str:
    shape, heads = MODELS[model]
    sources = 3 * 2 * shape.parameters
    for parts in (n for n in (1, 2, 4, 8, 16) if heads % n == 0):
        found = plan(
            shape,
            itemsize=2,
            sources=sources,
            gpu=int(CARDS[card] * GIB),
            parts=parts,
            longest=8192,
        )
        if found.fits and found.cache_tokens >= 16384:
            break
    on_gpu = found.place == "device"
    where = f"{gib(sources / parts)} (GPU)" if on_gpu else f"{gib(sources)} (host)"
    return (
        f"| {model} | {card} GB | {parts} | {gib(found.weights)} | {where} | "
        f"{gib(found.cache)} | {found.cache_tokens:,} |"
    )


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("model", MODELS)
def test_the_table_is_computed(model: str, card: str, root: Path) -> None:
    assert row(model, card) in (root / "docs/how-to/gpu.md").read_text().splitlines()


@pytest.mark.parametrize("size", ["0.5b", "3b", "8b", "70b"])
def test_the_study_files_can_be_used(size: str, root: Path) -> None:
    study = load_study_file(root / f"docs/examples/gpu/{size}.yaml")
    assert study.engine == "vllm"
    assert study.vllm.tensor_parallel_size == (8 if size == "70b" else 1)
