"""A bench over tiny random models, and what a direction wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from exme.search.directions.adamerging import TaskWise, WarmStart
from exme.search.directions.bench import Bench, Example
from exme.search.directions.direction import Direction, Found
from exme.search.directions.np_merge import NPMerge
from exme.search.directions.prodistill import ProDistill
from exme.search.merging.sources.sources import Sources
from tests.helpers.models.small_models import load_weights, make_family, open_sources

FLOAT32 = (torch.float32,) * 3

# Of several lengths, so that batches are padded.
EXAMPLES = (
    Example((1, 5, 9, 13, 7, 30), (11, 4, 2), 6),
    Example((1, 8, 8, 20), (40, 2), 3),
    Example((3, 6, 17, 25, 33, 21, 10, 19), (12, 14, 16, 2), 9),
    Example((1, 44, 31), (22,), 2),
)


def family(folder: Path, kind: str = "llama") -> Sources:
    return open_sources(make_family(folder / kind, kind, dtypes=FLOAT32))


def make_adapter(base: Path, folder: Path, seed: int) -> Path:
    """A random LoRA adapter of one kind of tensor, and the model that it makes in ``merged/``."""
    generator = torch.Generator().manual_seed(seed)
    weights = load_weights(base)
    factors: dict[str, torch.Tensor] = {}
    for name in [n for n in weights if "q_proj" in n or "down_proj" in n]:
        rows, columns = weights[name].shape
        a = 0.1 * torch.randn(2, columns, generator=generator)
        b = 0.1 * torch.randn(rows, 2, generator=generator)
        module = f"base_model.model.{name.removesuffix('.weight')}"
        factors |= {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}
        weights[name] = weights[name] + 2.0 * b @ a
    shutil.copytree(base, folder / "merged")
    save_file(weights, folder / "merged/model.safetensors", metadata={"format": "pt"})
    save_file(factors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def bench(sources: Sources, folder: Path, **changed: Any) -> Bench:
    folder.mkdir(parents=True)
    settings: dict[str, Any] = {
        "compute": torch.float64,
        "device": torch.device("cpu"),
        "scratch": folder,
        "examples": EXAMPLES,
        "rows": 2,
    }
    return Bench(sources, **settings | changed)


def compute(direction: Direction, on: Bench) -> tuple[dict[str, torch.Tensor], Found]:
    """What a direction writes, each tensor once, and what it finds."""
    written: dict[str, torch.Tensor] = {}

    def write(name: str, delta: torch.Tensor) -> None:
        assert name not in written
        written[name] = delta.detach().clone()

    direction.check(on)
    return written, direction.compute(on, write)


def dense(sources: Sources, who: str) -> Any:
    """One of the models by transformers alone, in float64."""
    folder = sources.base.folder if who == "base" else sources.checkpoints[who].folder
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    return model.eval()


def weights(sources: Sources, who: str) -> dict[str, torch.Tensor]:
    source = sources.base if who == "base" else sources.checkpoints[who]
    found = {}
    for name in sources.base.tensors:
        values = source.tensor(name)
        assert isinstance(values, torch.Tensor)
        found[name] = values.double()
    return found


def deltas(sources: Sources) -> dict[str, dict[str, torch.Tensor]]:
    """Delta of every tensor by checkpoint and name."""
    base = weights(sources, "base")
    return {
        who: {name: values - base[name] for name, values in weights(sources, who).items()}
        for who in sources.checkpoints
    }


def _forward(self: Any, hidden: torch.Tensor) -> torch.Tensor:
    scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
    found: torch.Tensor = self.weight * (hidden * scale)
    return found


@pytest.fixture(autouse=True)
def quick_and_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps, and norms that stay in float64: transformers computes them in float32, whatever the dtype."""
    for method in (TaskWise, WarmStart, NPMerge, ProDistill):  # the quicker for it
        monkeypatch.setattr(method, "steps", 5)
    for norm in (LlamaRMSNorm, Qwen2RMSNorm):
        monkeypatch.setattr(norm, "forward", _forward)
