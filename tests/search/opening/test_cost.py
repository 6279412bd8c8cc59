"""What a search is said to take, beside what one took."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exme.search.opening import Costs, Weights, describe, peak_memory
from exme.search.study import StudyFile


def said(tmp_path: Path, reached: int, workers: int = 1) -> float:
    """Memory in the line, in GB."""
    study = StudyFile.model_validate(
        {"base": "base", "checkpoints": {"instructions": "a", "choice": "b"}, "suites": ["ifeval"]}
    )
    # SmolLM2-135M in bfloat16, a fine-tune in float32, a LoRA; scored in float32.
    weights = Weights(live=538_090_000, sources=826_700_000, exported=269_060_000)
    costs = Costs(documents=2560, ranked=0, proof=4 * 512, search=993.0, proving=795.0)
    line = describe(study, weights, tmp_path, costs, 512, reached, workers)
    assert "4,608 documents (2,560 to search with, 4 models on 512 report documents)" in line
    assert " and 29 min 48 s: 16 min 33 s of search, 13 min 15 s of proof" in line
    found = re.search(r"about ([\d.]+) GB of memory \([\d.]+ GB of it weights\)", line)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize(
    ("reached", "told"), [(0, 2.0), (1_000_000_000, 2.0), (4_339_253_248, 4.0)]
)
def test_memory_is_what_was_reached_before_the_first_trial_where_that_is_more(
    tmp_path: Path, reached: int, told: float
) -> None:
    assert said(tmp_path, reached) == pytest.approx(told, abs=0.1)


def test_workers_take_their_memory_each(tmp_path: Path) -> None:
    assert said(tmp_path, 0, workers=3) == pytest.approx(3 * said(tmp_path, 0), abs=0.2)


def test_the_peak_holds_what_was_given_back() -> None:
    before = peak_memory()
    if not before:
        pytest.skip("this system does not say")
    block = bytearray(before)  # as much again
    block[::4096] = b"1" * len(block[::4096])
    del block
    assert peak_memory() > 1.5 * before
