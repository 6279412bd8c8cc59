"""A good folder, and the changes that make something in it bad.

`good_folder` writes a study with everything that it needs: tiny models, an adapter, data, a suite file
and a recipe. A `Case` spoils one thing in a copy of it and says what the one line of refusal must name.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from tests.helpers.models.small_models import make_family

STUDY: dict[str, Any] = {
    "base": "models/base",
    "checkpoints": {"math": "models/math", "code": "models/code"},
    "suites": ["own.yaml"],
    "data": "data",
    "documents": {"search": 4, "report": 4},
    "sampler": {"name": "random"},
    "budget": {"trials": 1},
    "max_gen_toks": 2,
    "device": "cpu",
}


SUITE: dict[str, Any] = {
    "suite": "own",
    "lm_eval_tasks": {"gsm8k": None},
    "metric": "exact_match",
    "filter": "flexible-extract",
    "columns": ["question", "answer"],
    "fewshot": {"count": 0, "split": "train"},
    "search": {"split": "train"},
    "report": {"split": "test"},
}


RECIPE: dict[str, Any] = {
    "candidate": {"coefficients": {"math": 0.5, "code": 0.5}, "dtype": "bfloat16"},
    "sources": {
        "base": {"model": "models/base"},
        "math": {"model": "models/math"},
        "code": {"model": "models/code"},
    },
}


REPORT = ("search", "study.yaml", "--runs", "runs", "--trials", "1")


SEARCH = ("search", "study.yaml", "--runs", "runs")


MATERIALISE = ("materialise", "recipe.json", "--out", "out")


Change = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        name: what is bad.
        change: spoils a copy of the good folder, which is the current one then.
        expected: part of the line that refuses it.
        arguments: of the command.
    """

    name: str
    change: Change
    expected: str
    arguments: tuple[str, ...] = REPORT


def good_folder(folder: Path) -> Path:
    """A folder in which `REPORT`, `SEARCH` and `MATERIALISE` work."""
    make_family(folder / "models")
    _make_adapter(folder / "models" / "lora")
    for split in ("train", "test"):
        path = folder / "data" / "own" / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"question": f"{split} w{i} w2?", "answer": f"w{i} #### {i}"} for i in range(6)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (folder / "own.yaml").write_text(yaml.safe_dump(SUITE))
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    return folder


def _make_adapter(folder: Path) -> None:
    folder.mkdir()
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "base"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    stem = "base_model.model.model.layers.0.mlp.up_proj"
    factors = {f"{stem}.lora_A.weight": (2, 16), f"{stem}.lora_B.weight": (24, 2)}
    save_file({n: torch.full(s, 0.01) for n, s in factors.items()}, _weights(folder))


def _weights(folder: Path) -> Path:
    is_adapter = (folder / "adapter_config.json").exists()
    return folder / ("adapter_model.safetensors" if is_adapter else "model.safetensors")


# What `pickle.dumps` makes of an object that touches the file "run" when it is loaded.
PICKLE = b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94"
PICKLE += b"\x8c\ttouch run\x94\x85\x94R\x94."


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)
    return content.getvalue()


def tarred() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("data.pkl"))
    return content.getvalue()


def set_key(key: str, value: Any) -> Change:
    def change(folder: Path) -> None:
        content = json.loads(json.dumps(STUDY))
        section = content
        *outer, last = key.split(".") if len(key) < 100 else [key]
        for part in outer:
            section = section.setdefault(part, {})
        section[last] = value
        (folder / "study.yaml").write_text(yaml.safe_dump(content))

    return change


def write(name: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def replace_by(name: str, make: Callable[[Path], object]) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return change


def remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def dump(name: str, content: object) -> Change:
    return lambda folder: (folder / name).write_text(yaml.safe_dump(content))


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def as_adapter(folder: Path) -> None:
    set_key("checkpoints", {"math": "models/lora", "code": "models/code"})(folder)


def nothing(folder: Path) -> None:
    pass


def circle(path: Path) -> None:
    path.symlink_to(path.name)
