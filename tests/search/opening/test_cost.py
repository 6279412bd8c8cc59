"""What a search is said to take, beside what one took."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exme.search.opening import Weights, describe, peak_memory
from exme.search.study import StudyFile


def said(tmp_path: Path, reached: int) -> float:
    """Memory in the line, in GB."""
    study = StudyFile.model_validate(
        {"base": "base", "checkpoints": {"instructions": "a", "choice": "b"}, "suites": ["ifeval"]}
    )
    # SmolLM2-135M in bfloat16, a fine-tune in float32, a LoRA; scored in float32.
    weights = Weights(live=538_090_000, sources=826_700_000, exported=269_060_000)
    line = describe(
        study,
        weights,
        tmp_path,
        search=256,
        report=512,
        trials=10,
        seconds_per_document=0.388,
        reached=reached,
    )
    assert "4,608 documents (10 candidates of 256, 4 models on 512 report documents)" in line
    found = re.search(r"about ([\d.]+) GB of memory \(1.3 GB of it weights\)", line)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize(
    ("reached", "told"), [(0, 2.0), (1_000_000_000, 2.0), (4_339_253_248, 4.0)]
)
def test_memory_is_what_was_reached_before_the_first_trial_where_that_is_more(
    tmp_path: Path, reached: int, told: float
) -> None:
    assert said(tmp_path, reached) == pytest.approx(told, abs=0.1)


def test_the_peak_holds_what_was_given_back() -> None:
    before = peak_memory()
    if not before:
        pytest.skip("this system does not say")
    block = bytearray(before)  # as much again
    block[::4096] = b"1" * len(block[::4096])
    del block
    assert peak_memory() > 1.5 * before
