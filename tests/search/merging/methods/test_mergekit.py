"""Our methods against what mergekit 0.1.5 made of the same models (benchmarks/mergekit_golden.py).

What differs by design is not among them: random drops (our draws are counted, mergekit's come from
torch's generator; at density 1 both are compared), DARE's and DELLA's rescaling by the ratio of sums
of magnitudes instead of the chance, and weights of mixed signs in TIES, which mergekit divides by
their sum and we by the sum of their sizes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.helpers.models.merges import make

GOLDEN = Path(__file__).parent / "golden"
KINDS = ("llama", "qwen2")


def read(kind: str) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Tensors by who and name, and our candidates by configuration."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    with safe_open(GOLDEN / f"mergekit-{kind}.safetensors", framework="pt") as content:
        for key in content.keys():  # noqa: SIM118  (not a mapping)
            who, tensor = key.split("|")
            found.setdefault(who, {})[tensor] = content.get_tensor(key)
        ours = json.loads(content.metadata()["ours"])
    return found, ours


@pytest.mark.parametrize("kind", KINDS)
def test_our_candidates_are_mergekits(kind: str) -> None:
    found, ours = read(kind)
    assert len(ours) >= 20
    compared = 0
    for title, candidate in ours.items():
        base = found["base"]
        if candidate.pop("base", None) == "zero":
            base = {name: torch.zeros_like(tensor) for name, tensor in base.items()}
        names = {*candidate["coefficients"], *candidate.get("grouped", {}).get("rest", {})}
        made = make(base, {name: found[name] for name in names}, **candidate)
        assert made.keys() == found[title].keys()
        for name, tensor in made.items():
            difference = (tensor - found[title][name]).abs().max()
            # Coefficients have four decimals: a third is 0.3333, of deltas up to 0.25.
            thirds = len(names) == 3 and "model_stock" in title
            assert difference <= (1e-5 if thirds else 5e-7), f"{title}, {name}: {difference}"
            compared += 1
    assert compared > 20 * len(found["base"])
