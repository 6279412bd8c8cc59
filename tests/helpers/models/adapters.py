"""LoRA adapters, and what peft makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoModelForCausalLM

PLAIN: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]}


def make_adapter(base: Path, folder: Path, seed: int = 0, **settings: Any) -> Path:
    """A random adapter, and what peft makes of it in ``merged/`` beside it."""
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    wrapped: Any = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    wrapped.save_pretrained(folder)
    wrapped.merge_and_unload().save_pretrained(folder / "merged")
    return folder
