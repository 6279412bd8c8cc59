"""Few steps, and norms that stay in float64: transformers computes Llama's and Qwen2's in float32, whatever the dtype."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from exme.search.directions.adamerging import TaskWise
from exme.search.directions.np_merge import NPMerge
from exme.search.directions.prodistill import ProDistill
from exme.search.directions.warm_start import WarmStart


def _forward(self: Any, hidden: torch.Tensor) -> torch.Tensor:
    scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
    found: torch.Tensor = self.weight * (hidden * scale)
    return found


@pytest.fixture(autouse=True)
def quick_and_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in (TaskWise, WarmStart, NPMerge, ProDistill):  # the quicker for it
        monkeypatch.setattr(method, "steps", 5)
    for norm in (LlamaRMSNorm, Qwen2RMSNorm):
        monkeypatch.setattr(norm, "forward", _forward)
