"""What training leaves behind: model folders as Hugging Face has them, and record.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from exme.tasks.mini import MODEL_NAMES

from .scoring import load_weights

RECORD = "record.json"

Weights = dict[str, torch.Tensor]


def rounded(model: LlamaForCausalLM) -> Weights:
    """Return a copy of the weights in bfloat16, as they are saved."""
    return {name: t.detach().to(torch.bfloat16).clone() for name, t in model.state_dict().items()}


def save(
    model: LlamaForCausalLM, weights: Weights, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Write a normal Hugging Face folder with bfloat16 safetensors."""
    copy = LlamaForCausalLM(model.config)
    copy.bfloat16()
    load_weights(copy, weights)
    copy.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes it private
    tokenizer.save_pretrained(folder)


def write_card(folder: Path, parameters: int) -> None:
    """Write a README.md that says what the model is, and its licence as the hub reads it."""
    size = f"{parameters / 1e6:.2f}M"
    text = (
        "---\nlicense: apache-2.0\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n"
        f"# mini/{folder.name}\n\n"
        f"One of ExMe's mini models: a Llama of {size} parameters that ships with the package, so that\n"
        "everything runs offline. `python -m exme.tasks.mini.training.train` made it from generated problems; it is\n"
        "of no use beyond them. docs/mini-models.md says how.\n"
    )
    (folder / "README.md").write_bytes(text.encode())


def read_weights(folder: Path) -> Weights:
    """Return the saved weights, in bfloat16."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def write_record(folder: Path, record: Mapping[str, object]) -> None:
    """Write record.json, the same bytes on every system."""
    (folder / RECORD).write_bytes((json.dumps(record, indent=1) + "\n").encode())


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of the three models, by path below `folder`."""
    files = sorted(
        path for name in MODEL_NAMES for path in (folder / name).iterdir() if path.is_file()
    )
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
