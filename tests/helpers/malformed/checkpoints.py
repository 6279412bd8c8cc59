"""Checkpoints and adapters whose files do not fit each other, the base, or what they say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.helpers.malformed.given import (
    MATERIALISE,
    PICKLE,
    SEARCH,
    Case,
    Change,
    as_adapter,
    both,
    circle,
    remove,
    replace_by,
    write,
)
from tests.helpers.models.small_models import edit_json, edit_weights, load_weights


def checkpoints() -> Iterator[Case]:
    config, index = "models/math/config.json", "models/math/model.safetensors.index.json"
    configs: dict[str, tuple[str | bytes, str]] = {
        "empty": ("", "config.json"),
        "not JSON": ("{model_type: llama}", "not readable as JSON"),
        "a list": ("[]", "expected a JSON object"),
        "a number": ("5", "expected a JSON object"),
        "bytes": (b"\xff\xfe", "not readable as JSON"),
        "deep": ("[" * 100_000, "not readable as JSON"),
        "deep objects": ('{"a":' * 100_000, "not readable as JSON"),
        "an endless number": ('{"vocab_size": ' + "9" * 6000 + "}", "config.json"),
        "another architecture": ('{"model_type": "gpt2"}', "model_type is 'gpt2'"),
        "another size": (json.dumps({"model_type": "llama", "hidden_size": 64}), "hidden_size"),
        "a size that is a text": (json.dumps({"hidden_size": "16"}), "hidden_size"),
        "a size that is a list": (json.dumps({"hidden_size": [16]}), "hidden_size"),
    }
    for name, (content, expected) in configs.items():
        yield Case(f"config.json, {name}", write(config, content), expected)
    yield Case("config.json, none", remove(config), "has no config.json")
    yield Case("config.json, a folder", replace_by(config, Path.mkdir), "config.json")
    yield Case("config.json, a pipe", replace_by(config, os.mkfifo), "config.json")
    odd: dict[str, Callable[[Path], object]] = {
        "folder": Path.mkdir,
        "pipe": os.mkfifo,
        "circle": circle,
    }
    for name, make in odd.items():
        yield Case(
            f"weights, a {name}",
            replace_by("models/math/model.safetensors", make),
            "model.safetensors is missing",
        )
    yield Case(
        "weights, a pickle beside nothing",
        both(
            remove("models/math/model.safetensors"),
            write("models/math/pytorch_model.bin", PICKLE),
        ),
        "is a pickle, which is never read",
    )
    whole = {"weight_map": {"model.norm.weight": "one.safetensors"}}
    indices: dict[str, tuple[object, str]] = {
        "not JSON": (b"{", "not readable as JSON"),
        "a list": ([], "expected a JSON object"),
        "deep": (b"[" * 100_000, "not readable as JSON"),
        "no map": ({}, "has no weight_map"),
        "an empty map": ({"weight_map": {}}, "has no weight_map"),
        "a map that is a list": ({"weight_map": ["a"]}, "has no weight_map"),
        "a file that is a number": ({"weight_map": {"w": 5}}, "points outside: 5"),
        "a file above": ({"weight_map": {"w": "../base/model.safetensors"}}, "points outside"),
        "a file far away": ({"weight_map": {"w": "/etc/passwd"}}, "points outside"),
        "a file in a folder": ({"weight_map": {"w": "sub/one.safetensors"}}, "points outside"),
        "the folder itself": ({"weight_map": {"w": "."}}, "checkpoint 'math'"),
        "the folder above": ({"weight_map": {"w": ".."}}, "checkpoint 'math'"),
        "no name": ({"weight_map": {"w": ""}}, "points outside"),
        "a null byte": ({"weight_map": {"w": "a\0b"}}, "checkpoint 'math'"),
        "a long name": ({"weight_map": {"w": "x" * 5000}}, "checkpoint 'math'"),
        "a file that is missing": (whole, "one.safetensors is missing"),
        "a pickle": ({"weight_map": {"w": "pytorch_model.bin"}}, "checkpoint 'math'"),
    }
    for name, (found, expected) in indices.items():
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        yield Case(
            f"index, {name}",
            both(
                remove("models/math/model.safetensors"),
                write("models/math/pytorch_model.bin", PICKLE),
                write(index, data),
            ),
            expected,
        )
    yield Case("index, a tensor in two files", _shards(_twice), "is in two files")
    yield Case("index, a tensor in none", _shards(_none), "which none of its files holds")
    changes: dict[str, tuple[Change, str]] = {
        "a tensor too few": (_tensors(model__norm__weight=None), "'model.norm.weight'"),
        "a tensor too many": (_tensors(extra=torch.zeros(2)), "tensor 'extra' is not in the base"),
        "another shape": (_tensors(model__norm__weight=torch.zeros(3)), "has shape [3]"),
        "integers for floats": (
            _tensors(model__norm__weight=torch.zeros(16, dtype=torch.int32)),
            "model.norm.weight",
        ),
        "no floats at all": (_only_integers, "holds no floating-point tensors"),
        "a hostile tensor name": (_tensors(**{"\x1b[31m\n": torch.zeros(2)}), "is not in the base"),
        "a long tensor name": (_tensors(**{"x" * 50_000: torch.zeros(2)}), "is not in the base"),
    }
    for name, (change, expected) in changes.items():
        yield Case(f"tensors, {name}", change, expected)
    for value, name in ((float("nan"), "NaN"), (float("inf"), "infinity")):
        bad = torch.full((16,), value, dtype=torch.bfloat16)
        for arguments in (SEARCH, MATERIALISE):
            change = _tensors(model__norm__weight=bad)
            yield Case(f"tensors, {name}, {arguments[0]}", change, "NaN or infinity", arguments)
    yield from _model_files()


def _model_files() -> Iterator[Case]:
    """What only loading the model finds."""
    words = "models/base/tokenizer.json"
    for name, content in {"empty": "", "not JSON": "{", "a list": "[]", "null": "null"}.items():
        yield Case(f"tokenizer.json, {name}", write(words, content), "tokenizer", SEARCH)
    for name in ("tokenizer_config.json", "generation_config.json"):
        yield Case(f"{name}, not JSON", write(f"models/base/{name}", "{"), "base", SEARCH)
    settings: dict[str, dict[str, object]] = {
        "an unknown architecture": {"model_type": "perpetuum", "architectures": ["Perpetuum"]},
        "no architecture": {"model_type": None, "architectures": None},
        "layers without weights": {"num_hidden_layers": 3},
        "heads that do not divide": {"num_attention_heads": 7},
        "a vocabulary of another size": {"vocab_size": 7},
        "an activation that nobody knows": {"hidden_act": "wiggle"},
        "a negative size": {"hidden_size": -16},
        "a text for a size": {"hidden_size": "wide"},
        "code to be trusted": {
            "model_type": "mine",
            "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"},
        },
    }
    for name, changed in settings.items():

        def change(folder: Path, changed: Mapping[str, object] = changed) -> None:
            for model in ("base", "math", "code"):
                edit_json(folder / "models" / model / "config.json", **changed)
            (folder / "models/base/mine.py").write_text("open('run', 'w').close()\n")

        yield Case(f"config.json of all, {name}", change, "base", SEARCH)


def _tensors(**changes: torch.Tensor | None) -> Change:
    return lambda folder: edit_weights(folder / "models/math", **changes)


def _only_integers(folder: Path) -> None:
    tensors = {"w": torch.zeros(4, dtype=torch.int64)}
    for model in ("base", "math", "code"):
        save_file(tensors, folder / "models" / model / "model.safetensors")


def _shards(spoil: Callable[[dict[str, dict[str, Any]]], None]) -> Change:
    """A checkpoint in two files, spoilt before they are written."""

    def change(folder: Path) -> None:
        math = folder / "models/math"
        tensors = load_weights(math)
        names = sorted(tensors)
        files = {
            "one.safetensors": {n: tensors[n] for n in names[:5]},
            "two.safetensors": {n: tensors[n] for n in names[5:]},
        }
        index = {name: file for file, held in files.items() for name in held}
        spoil(files)
        (math / "model.safetensors").unlink()
        for file, held in files.items():
            save_file(held, math / file)
        (math / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))

    return change


def _twice(files: dict[str, dict[str, Any]]) -> None:
    name = next(iter(files["one.safetensors"]))
    files["two.safetensors"][name] = files["one.safetensors"][name].clone()


def _none(files: dict[str, dict[str, Any]]) -> None:
    files["two.safetensors"].popitem()


def adapters() -> Iterator[Case]:
    stem = "base_model.model.model.layers.0.mlp.up_proj"
    a, b = f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"
    settings: dict[str, tuple[dict[str, object], str]] = {
        "another kind": ({"peft_type": "IA3"}, "of type IA3"),
        "no kind": ({"peft_type": None}, "expected LORA"),
        "DoRA": ({"use_dora": True}, "DoRA"),
        "biases": ({"bias": "all"}, "bias: all"),
        "an alpha that is a text": ({"lora_alpha": "four"}, "lora_alpha"),
        "an alpha that is a list": ({"lora_alpha": [4]}, "lora_alpha"),
        "an alpha that is not finite": ({"lora_alpha": float("nan")}, "lora_alpha"),
        "patterns that are a list": ({"alpha_pattern": ["up_proj"]}, "alpha_pattern"),
        "a pattern that is no regular expression": ({"alpha_pattern": {"(": 4}}, "alpha_pattern"),
        "a pattern that takes forever": (
            {"alpha_pattern": {"(" + "(.*)*" * 12 + "x)x": 4}},
            "alpha_pattern",
        ),
        "a pattern's alpha that is a text": ({"alpha_pattern": {"up_proj": "x"}}, "alpha_pattern"),
    }
    for name, (changed, expected) in settings.items():

        def change(folder: Path, changed: Mapping[str, object] = changed) -> None:
            as_adapter(folder)
            edit_json(folder / "models/lora/adapter_config.json", **changed)

        yield Case(f"adapter, {name}", change, expected)
    tensors: dict[str, tuple[dict[str, torch.Tensor], str]] = {
        "one factor": ({a: torch.zeros(2, 16)}, "A of the two factors"),
        "factors of different ranks": ({a: torch.zeros(3, 16), b: torch.zeros(24, 2)}, "shape"),
        "factors of another model": ({a: torch.zeros(2, 9), b: torch.zeros(24, 2)}, "shape"),
        "factors of rank 0": ({a: torch.zeros(0, 16), b: torch.zeros(24, 0)}, "rank 0"),
        "factors in three dimensions": (
            {a: torch.zeros(2, 16, 1), b: torch.zeros(24, 2)},
            "convolution",
        ),
        "integer factors": (
            {a: torch.ones(2, 16, dtype=torch.int8), b: torch.ones(24, 2, dtype=torch.int8)},
            "I8",
        ),
        "a module that the base lacks": (
            {"base_model.model.other.lora_A.weight": torch.zeros(2, 16)},
            "which the base does not have",
        ),
        "nothing": ({}, "checkpoint 'math'"),
    }
    for name, (held, expected) in tensors.items():

        def replace(folder: Path, held: dict[str, torch.Tensor] = held) -> None:
            as_adapter(folder)
            save_file(held, folder / "models/lora/adapter_model.safetensors")

        yield Case(f"adapter, {name}", replace, expected)
    for content, name in ((b"{", "not JSON"), (b"[" * 100_000, "deep"), (b"[]", "a list")):
        file = write("models/lora/adapter_config.json", content)
        yield Case(f"adapter, settings {name}", both(as_adapter, file), "adapter_config.json")
