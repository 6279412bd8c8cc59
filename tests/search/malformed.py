"""Malformed input by the dozen: a good folder, and the changes that make something in it bad.

`good_folder` writes a study with everything that it needs: tiny models, an adapter, data, a suite file
and a recipe. A `Case` spoils one thing in a copy of it and says what the one line of refusal must name.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from .small_models import edit_json, edit_weights, load_weights, make_family

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

REPORT = ("report", "study.yaml", "--runs", "runs")
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


def all_cases() -> list[Case]:
    """Every case, each with a name of its own."""
    return [
        *_study_values(),
        *_study_texts(),
        *_safetensors(),
        *_checkpoints(),
        *_adapters(),
        *_data(),
        *_suites(),
        *_recipes(),
        *_storages(),
        *_command_lines(),
    ]


# Study files -------------------------------------------------------------------------------------

_NESTED = {"a": [{"b": [1, [2, {"c": None}]]}]}

# Values by key; the refusal names the key, or what stands after the arrow.
_WRONG: dict[str, list[Any]] = {
    "base": [None, 5, [], {}, "", _NESTED],
    "checkpoints": [None, [], {}, "math", {"math": None}, {"math": 5}, {"math": ["a"]}],
    "method": [None, 5, {}, [], "slurp", ["exme", "exme"], ["exme", 5], ""],
    "space": [None, 5, "wide", [0, 1]],
    "space.coefficients": [None, 1, [1], [0, 1, 2], [2, 1], ["a", "b"], [0, 99], [0, float("inf")]],
    "space.limits": [None, [1], "x", [float("nan"), 1], [5, 6]],
    "space.widen": [None, "perhaps", 5, []],
    "suites": [None, "gsm8k", [], {}, [5], [None], ["gsm8k", "gsm8k"], [["gsm8k"]]],
    "data": [None, 5, [], {}],
    "documents": [None, 5, "all", []],
    "documents.search": [0, -1, "many", 1.5, [], 10**6],
    "documents.report": [0, -5, {}, "x"],
    "documents.seed": [None, "x", 1.5, []],
    "objective": [None, "loss", 5, []],
    "run_generated_code": [None, "maybe", 5],
    "chat": [None, "yes", 5],
    "chat.apply_chat_template": [None, "template", 7],
    "max_gen_toks": [0, -1, "x", 1.5, []],
    "sampler": [None, "bayes", 5],
    "sampler.name": [None, "bayes", 5, []],
    "sampler.seed": [None, -1, "x", 1.5],
    "groups": [5, "four", [], {}, {"blocks": 1}, {"blocks": "x"}, {"kinds": []}, {"kinds": 5}],
    "budget": [5, None, "big", {}, {"trials": None}],
    "budget.trials": [0, -1, 1.5, "x", [], {}],
    "budget.documents": [0, -1, "x"],
    "budget.minutes": [0, -1, "x", float("nan"), float("inf")],
    "storage": [5, [], {}],
    "dtype": [None, "int8", "float64", 16, []],
    "compute_dtype": [None, "int4", 32],
    "device": [None, 5, "gpu", "cuda:77", "tpu", "cpu:x", "meta", ""],
    "residence": [None, "cloud", 5],
    "batch_size": [0, -1, "x", 1.5, None],
    "engine": [None, "vllm", 5],
    "trust_remote_code": [None, "sure", 5],
}


def _study_values() -> Iterator[Case]:
    for key, values in _WRONG.items():
        for value in values:
            shown = repr(value) if len(repr(value)) < 30 else "nested"
            yield Case(f"study, {key}: {shown}", _set(key, value), key.rpartition(".")[2])
    others: list[tuple[str, Any, str]] = [
        ("base", "no/such/folder/anywhere", "no folder no/such/folder/anywhere"),
        ("base", "mini/absent", "no mini model 'mini/absent'"),
        ("base", "models/base/config.json", "is a file"),
        ("base", "models", "has no config.json"),
        ("base", "models/lora", "is an adapter"),
        ("base", "a\0b", "base"),
        ("base", "x" * 5000, "base"),
        ("base", "../" * 2000, "base"),
        ("checkpoints", {"a/b": "models/math"}, "checkpoint name 'a/b'"),
        ("checkpoints", {"merged": "models/math"}, "checkpoint name 'merged'"),
        ("checkpoints", {"math\n": "models/math"}, "checkpoint name"),
        ("checkpoints", {"": "models/math"}, "checkpoint name ''"),
        ("checkpoints", {"..": "models/math"}, "checkpoint name '..'"),
        ("checkpoints", {"math": "models"}, "checkpoint 'math'"),
        ("method", "expo", "exactly one checkpoint"),
        ("groups", {"kinds": ["feelings"]}, "feelings"),
        ("groups", {"blocks": 9}, "blocks"),
        ("groups", {"patterns": {"a": ["no.such.tensor.*"]}}, "no.such.tensor"),
        ("groups", {"blocks": 2, "kinds": ["mlp"]}, "exactly one of blocks, kinds, patterns"),
        ("data", "no/such/data", "no/such/data"),
        ("data", "study.yaml", "no such file"),
        ("data", "a\0b", "no such file"),
        ("data", "x" * 5000, "no such file"),
        ("suites", ["absent.yaml"], "absent.yaml"),
        ("suites", ["humaneval"], "run_generated_code"),
        ("suites", ["models/base.yaml"], "models/base.yaml"),
        ("suites", ["gsmk8"], "did you mean 'gsm8k'?"),
        ("chekpoints", {}, "did you mean 'checkpoints'?"),
        ("documents", {"serach": 5}, "did you mean 'search'?"),
        ("x" * 100_000, 1, "unknown key"),
    ]
    for key, value, expected in others:
        yield Case(f"study, {key[:20]} = {str(value)[:40]!r}", _set(key, value), expected)
    absent = _set("device", "cuda")
    if not torch.cuda.is_available():
        yield Case("study, a GPU that is not there", absent, "device")


def _set(key: str, value: Any) -> Change:
    def change(folder: Path) -> None:
        content = json.loads(json.dumps(STUDY))
        section = content
        *outer, last = key.split(".") if len(key) < 100 else [key]
        for part in outer:
            section = section.setdefault(part, {})
        section[last] = value
        (folder / "study.yaml").write_text(yaml.safe_dump(content))

    return change


def _study_texts() -> Iterator[Case]:
    good = yaml.safe_dump(STUDY)
    laughs = "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    texts: dict[str, tuple[str | bytes, str]] = {
        "nothing": ("", "expected keys and values"),
        "a comment": ("# base: mini/base\n", "expected keys and values"),
        "a list": ("- base\n", "found list"),
        "a number": ("42", "found int"),
        "a word": ("base", "found str"),
        "two documents": (f"{good}---\n{good}", "not readable as YAML"),
        "an unclosed bracket": ("base: [a", "not readable as YAML"),
        "a tab": ("base:\n\t- a", "not readable as YAML"),
        "an undefined alias": ("base: *nobody", "not readable as YAML"),
        "a Python object": ("base: !!python/object/apply:os.system [ls]", "not readable as YAML"),
        "a Python name": ("base: !!python/name:os.system", "not readable as YAML"),
        "an unknown tag": ("base: !secret x", "not readable as YAML"),
        "a key given twice": (f"{good}base: other\n", "is given twice"),
        "a list as key": ("? [a, b]\n: c\n", "study.yaml"),
        "a mapping as key": ("{{a: b}: c}", "study.yaml"),
        "a merge of nothing": ("<<: 5\nbase: x", "not readable as YAML"),
        "an impossible date": (f"{good}seed: 2020-13-45\n", "study.yaml"),
        "an impossible time": (f"{good}seed: 2001-12-14t99:59:43\n", "study.yaml"),
        "an endless number": (f"budget: {{trials: {'9' * 6000}}}", "study.yaml"),
        "a number in base 60": (f"{good}seed: 190:20:30\n", "unknown key 'seed'"),
        "broken binary": (f"{good}seed: !!binary '****'\n", "study.yaml"),
        "deep brackets": ("base: " + "[" * 20_000, "not readable as YAML"),
        "deep blocks": ("".join(f"{' ' * i}a:\n" for i in range(1500)), "study.yaml"),
        "a billion laughs": (f"{laughs}suites: [*a11]\n{good}", "is given twice"),
        "a billion laughs as suites": (
            f"{laughs}{yaml.safe_dump(STUDY | {'suites': 'X'}).replace('X', '*a11')}",
            "study.yaml",
        ),
        "a list in itself": ("suites: &a [*a]\nbase: b\ncheckpoints: {c: d}\n", "suites"),
        "a mapping in itself": ("space: &a {coefficients: *a}\n", "study.yaml"),
        "bytes": (b"\xff\xfe\x00base", "not readable as YAML"),
        "control characters": (b"base: \x07\x1b[31m", "not readable as YAML"),
        "a null byte": (b"base: a\x00b", "not readable as YAML"),
        "UTF-16": (good.encode("utf-16"), "not readable as YAML"),
        "zeroes": (bytes(4096), "not readable as YAML"),
        "a zip file": (_zip(), "not readable as YAML"),
        "escapes for the terminal": ('"\\e[31mred": 1', "unknown key"),
        "a key with a line break": ('"one\\ntwo": 1', "unknown key"),
    }
    for name, (content, expected) in texts.items():
        yield Case(f"study file, {name}", _write("study.yaml", content), expected)
    yield Case("study file, a folder", _replace("study.yaml", Path.mkdir), "no such study file")
    yield Case("study file, a pipe", _replace("study.yaml", os.mkfifo), "study.yaml")
    yield Case("study file, a link in a circle", _replace("study.yaml", _circle), "study.yaml")


def _write(name: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def _replace(name: str, make: Callable[[Path], object]) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return change


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


# Checkpoints -------------------------------------------------------------------------------------


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", _PICKLE)
    return content.getvalue()


def _tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("data.pkl"))
    return content.getvalue()


# What `pickle.dumps` makes of an object that touches the file "run" when it is loaded.
_PICKLE = b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94"
_PICKLE += b"\x8c\ttouch run\x94\x85\x94R\x94."


def _file(header: object, data: bytes = b"", size: int | None = None) -> bytes:
    """A safetensors file with this header, as JSON or as it is."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if size is None else size) + raw + data


def _spec(**changed: object) -> dict[str, object]:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changed}


def _safetensors() -> Iterator[Case]:
    two = {**_spec(), "v": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}
    gap = {**_spec(), "v": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]}}
    files: dict[str, bytes] = {
        "empty": b"",
        "one byte": b"\x08",
        "seven bytes": bytes(7),
        "no header": bytes(8),
        "a header cut short": _file(_spec(), bytes(8))[:20],
        "data cut short": _file(_spec(), bytes(7)),
        "no data": _file(_spec()),
        "a byte too many": _file(_spec(), bytes(9)),
        "a header of 2**63 bytes": _file(_spec(), bytes(8), 2**63),
        "a header of 2**64 - 1 bytes": _file(_spec(), bytes(8), 2**64 - 1),
        "a header of a terabyte": _file(_spec(), bytes(8), 2**40),
        "a header larger than the file": _file(_spec(), bytes(8), 10_000),
        "a header of no bytes": _file(_spec(), bytes(8), 0),
        "a header that ends too early": _file(_spec(), bytes(8), 10),
        "a header that is not JSON": _file(b"{'w': 1}", bytes(8)),
        "a header that is not text": _file(b"\xff\xfe{}", bytes(8)),
        "a header that is a list": _file([1, 2], bytes(8)),
        "a header that is null": _file(None, bytes(8)),
        "a deep header": _file(b'{"w":' + b"[" * 5000 + b"]" * 5000 + b"}", bytes(8)),
        "a tensor that is a number": _file({"w": 5}),
        "a tensor without dtype": _file({"w": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
        "a tensor without shape": _file({"w": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
        "a tensor without offsets": _file({"w": {"dtype": "F32", "shape": [2]}}, bytes(8)),
        "an unknown dtype": _file(_spec(dtype="F1024"), bytes(8)),
        "a dtype that is a number": _file(_spec(dtype=32), bytes(8)),
        "the wrong dtype for its size": _file(_spec(dtype="F64"), bytes(8)),
        "a negative length": _file(_spec(shape=[-2]), bytes(8)),
        "a broken length": _file(_spec(shape=[2.5]), bytes(8)),
        "a text for a length": _file(_spec(shape=["2"]), bytes(8)),
        "a shape of 2**64 elements": _file(_spec(shape=[2**32, 2**32]), bytes(8)),
        "a shape of more than it holds": _file(_spec(shape=[10**12]), bytes(8)),
        "a length of 2**70": _file(_spec(shape=[2**70]), bytes(8)),
        "offsets the wrong way round": _file(_spec(data_offsets=[8, 0]), bytes(8)),
        "negative offsets": _file(_spec(data_offsets=[-8, 0]), bytes(8)),
        "one offset": _file(_spec(data_offsets=[0]), bytes(8)),
        "offsets beyond the file": _file(_spec(data_offsets=[800, 808]), bytes(8)),
        "offsets of 2**70": _file(_spec(data_offsets=[0, 2**70]), bytes(8)),
        "offsets that overlap": _file(two, bytes(12)),
        "offsets with a gap": _file(gap, bytes(24)),
        "tensors on top of each other": _file({**_spec(), "v": _spec()["w"]}, bytes(8)),
        "metadata that is a list": _file({"__metadata__": [1], **_spec()}, bytes(8)),
        "metadata that is nested": _file({"__metadata__": {"a": {}}, **_spec()}, bytes(8)),
        "no tensors": _file({}),
        "only metadata": _file({"__metadata__": {"format": "pt"}}),
        "a pickle": _PICKLE,
        "a zip file, as torch.save writes": _zip(),
        "a zip file behind a header": _file(_spec(), bytes(7)) + _zip(),
        "a tar file": _tar(),
        "a gzip file": gzip.compress(_file(_spec(), bytes(8))),
        "a NumPy file": b"\x93NUMPY\x01\x00v\x00" + b" " * 118,
        "a GGUF file": b"GGUF\x03\x00\x00\x00" + bytes(64),
        "a page of HTML": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "a pointer of git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a program": b"\x7fELF" + bytes(200),
        "text": b"weights go here\n" * 20,
        "zeroes": bytes(100_000),
        "ones": b"\xff" * 100_000,
    }
    for name, content in files.items():
        yield Case(
            f"weights, {name}",
            _write("models/math/model.safetensors", content),
            "checkpoint 'math'",
        )
    for name in ("empty", "a header of 2**63 bytes", "a pickle", "offsets that overlap"):
        yield Case(
            f"weights of an adapter, {name}",
            _both(_as_adapter, _write("models/lora/adapter_model.safetensors", files[name])),
            "checkpoint 'math'",
        )
        yield Case(
            f"weights of a recipe's source, {name}",
            _write("models/base/model.safetensors", files[name]),
            "checkpoint 'base'",
            MATERIALISE,
        )
    for size, name in ((2**28, "a hostile header that is there"), (2**33, "a huge hole")):
        yield Case(f"weights, {name}", _sparse(size), "checkpoint 'math'")
    for kind in ("F8_E4M3", "F8_E5M2", "F4", "I4", "C64", "E8M0"):
        yield Case(
            f"weights, dtype {kind}",
            _write("models/math/model.safetensors", _file(_spec(dtype=kind), bytes(8))),
            "checkpoint 'math'",
        )


def _sparse(size: int) -> Change:
    """A file of this many bytes, nearly all of them a hole, that claims to be one header."""

    def change(folder: Path) -> None:
        with (folder / "models/math/model.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", size - 8) + b"{")
            file.truncate(size)

    return change


def _both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def _as_adapter(folder: Path) -> None:
    _set("checkpoints", {"math": "models/lora", "code": "models/code"})(folder)


def _checkpoints() -> Iterator[Case]:
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
        "another size": (json.dumps({"model_type": "llama", "hidden_size": 8}), "hidden_size"),
        "a size that is a text": (json.dumps({"hidden_size": "16"}), "hidden_size"),
        "a size that is a list": (json.dumps({"hidden_size": [16]}), "hidden_size"),
    }
    for name, (content, expected) in configs.items():
        yield Case(f"config.json, {name}", _write(config, content), expected)
    yield Case("config.json, none", _remove(config), "has no config.json")
    yield Case("config.json, a folder", _replace(config, Path.mkdir), "config.json")
    yield Case("config.json, a pipe", _replace(config, os.mkfifo), "config.json")
    odd: dict[str, Callable[[Path], object]] = {
        "folder": Path.mkdir,
        "pipe": os.mkfifo,
        "circle": _circle,
    }
    for name, make in odd.items():
        yield Case(
            f"weights, a {name}",
            _replace("models/math/model.safetensors", make),
            "model.safetensors is missing",
        )
    yield Case(
        "weights, a pickle beside nothing",
        _both(
            _remove("models/math/model.safetensors"),
            _write("models/math/pytorch_model.bin", _PICKLE),
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
            _both(
                _remove("models/math/model.safetensors"),
                _write("models/math/pytorch_model.bin", _PICKLE),
                _write(index, data),
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
        yield Case(f"tokenizer.json, {name}", _write(words, content), "tokenizer", SEARCH)
    for name in ("tokenizer_config.json", "generation_config.json"):
        yield Case(f"{name}, not JSON", _write(f"models/base/{name}", "{"), "base", SEARCH)
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


def _remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


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


def _adapters() -> Iterator[Case]:
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
            _as_adapter(folder)
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
            _as_adapter(folder)
            save_file(held, folder / "models/lora/adapter_model.safetensors")

        yield Case(f"adapter, {name}", replace, expected)
    for content, name in ((b"{", "not JSON"), (b"[" * 100_000, "deep"), (b"[]", "a list")):
        file = _write("models/lora/adapter_config.json", content)
        yield Case(f"adapter, settings {name}", _both(_as_adapter, file), "adapter_config.json")


# Data and suites ---------------------------------------------------------------------------------


def _data() -> Iterator[Case]:
    path = "data/own/train.jsonl"
    row = json.dumps({"question": "w1?", "answer": "#### 1"}) + "\n"
    files: dict[str, tuple[str | bytes, str]] = {
        "empty": ("", "4 asked for, 0 there"),
        "too few rows": (row, "4 asked for, 1 there"),
        "not JSON": (row * 5 + "question: w1", "train.jsonl:6"),
        "an empty line": (row * 5 + "\n" + row, "train.jsonl:6"),
        "a list": (row * 5 + "[1]\n", "expected a JSON object, found list"),
        "a number": (row * 5 + "1\n", "expected a JSON object, found int"),
        "null": (row * 5 + "null\n", "expected a JSON object, found NoneType"),
        "a line cut short": (row * 5 + row[:20], "train.jsonl:6"),
        "two rows in a line": (row * 5 + row.strip() + row, "train.jsonl:6"),
        "one JSON list of rows": (json.dumps([json.loads(row)] * 6, indent=1), "train.jsonl:1"),
        "a column that is missing": (
            row * 5 + '{"question": "w1"}\n',
            "column 'answer' is missing",
        ),
        "bytes": (row.encode() * 5 + b'{"question": "\xff", "answer": ""}\n', "train.jsonl"),
        "UTF-16": ((row * 6).encode("utf-16"), "train.jsonl:1"),
        "a byte order mark": ("\ufeff" + row * 6, "train.jsonl:1"),
        "deep": (row * 5 + "[" * 100_000 + "\n", "train.jsonl:6"),
        "an endless number": (row * 5 + '{"question": ' + "9" * 6000 + "}\n", "train.jsonl:6"),
        "a gzip file": (gzip.compress(row.encode() * 6), "train.jsonl"),
        "a zip file": (_zip(), "train.jsonl"),
        "a pickle": (_PICKLE, "train.jsonl"),
        "zeroes": (bytes(4096), "train.jsonl:1"),
    }
    for name, (content, expected) in files.items():
        yield Case(f"data, {name}", _write(path, content), expected)
    yield Case("data, none", _remove(path), "no such file")
    yield Case("data, a folder", _replace(path, Path.mkdir), "no such file")
    yield Case("data, a pipe", _replace(path, os.mkfifo), "no such file")
    values: dict[str, object] = {
        "a question that is null": {"question": None, "answer": "#### 1"},
        "a question that is a number": {"question": 5, "answer": "#### 1"},
        "a question that is a list": {"question": ["w1"], "answer": "#### 1"},
        "a question that is an object": {"question": {"text": "w1"}, "answer": "#### 1"},
        "an answer that is null": {"question": "w1", "answer": None},
        "an answer that is a number": {"question": "w1", "answer": 5},
        "half of a character": {"question": "\ud800", "answer": "#### 1"},
    }
    for name, value in values.items():
        content = row * 3 + json.dumps(value) + "\n"
        yield Case(f"data, {name}", _write(path, content), "suite 'own'", SEARCH)


def _suites() -> Iterator[Case]:
    wrong: dict[str, list[Any]] = {
        "suite": [None, 5, "", "a/b", "all", "a b", "..", "own\n"],
        "version": [None, "one", 1.5],
        "lm_eval_tasks": [None, [], {}, "gsm8k", {"gsm8k": 5}, {"gsm8k": []}],
        "metric": [None, 5, []],
        "filter": [None, 5, []],
        "columns": [None, [], "question", [5]],
        "fewshot": [None, 5, {}, {"count": -1}, {"count": "x"}, {"count": 1, "split": 5}],
        "search": [None, "train", {}, {"split": 5}],
        "report": [None, "test", {}],
        "hub": [5, "openai/gsm8k", {}],
        "max_gen_toks": [0, "x"],
        "runs_code": [None, "perhaps"],
        "needs": [5, "numpy"],
        "question": [5, "question"],
        "reference": [5, []],
        "lm_eval_folder": [5, "no/such/folder"],
        "mini": [5, {"fewshot": 5}],
        "metrik": ["exact_match"],
    }
    for key, values in wrong.items():
        for value in values:
            change = _dump("own.yaml", SUITE | {key: value})
            yield Case(f"suite, {key}: {value!r}", change, "own.yaml")
    for key in ("suite", "lm_eval_tasks", "metric", "columns", "fewshot", "search", "report"):
        content = {k: v for k, v in SUITE.items() if k != key}
        yield Case(f"suite, no {key}", _dump("own.yaml", content), key)
    late: list[tuple[str, Any, str]] = [
        ("suite", "gsm8k", "is the name of a suite of ExMe's"),
        ("search", {"split": "nowhere"}, "no such file"),
        ("search", {"split": "../../../etc/passwd"}, "own"),
        ("columns", ["question", "colour"], "column 'colour' is missing"),
        ("question", ["colour"], "colour"),
        ("fewshot", {"count": 99, "split": "train"}, "99 are needed"),
        ("folder", "nowhere", "no such file"),
        ("folder", "../../..", "own"),
        ("folder", "/etc", "own"),
        ("folder", "a\0b", "own"),
    ]
    for key, value, expected in late:
        change = _dump("own.yaml", SUITE | {key: value})
        yield Case(f"suite, {key} = {value!r}", change, expected)
    later: list[tuple[str, Any, str]] = [
        ("metric", "charm", "no metric 'charm'"),
        ("filter", "coffee", "no filter 'coffee'"),
    ]
    for key, value, expected in later:
        change = _dump("own.yaml", SUITE | {key: value})
        yield Case(f"suite, {key} = {value!r}", change, expected, SEARCH)
    texts: dict[str, str | bytes] = {
        "empty": "",
        "a list": "- a",
        "not YAML": "a: [",
        "a Python object": "suite: !!python/object/apply:os.system [ls]",
        "bytes": b"\xff\xfe\x00",
        "an impossible date": "version: 2020-13-45",
        "an endless number": "version: " + "9" * 6000,
        "a list as key": "? [a]\n: b",
        "deep": "a: " + "[" * 20_000,
        "a list in itself": "columns: &a [*a]\n",
        "a function": "metric: !function os.system",
    }
    for name, text in texts.items():
        yield Case(f"suite file, {name}", _write("own.yaml", text), "own.yaml")
    yield Case("suite file, a folder", _replace("own.yaml", Path.mkdir), "own.yaml")
    yield Case("suite file, a pipe", _replace("own.yaml", os.mkfifo), "own.yaml")


def _dump(name: str, content: object) -> Change:
    return lambda folder: (folder / name).write_text(yaml.safe_dump(content))


# Recipes -----------------------------------------------------------------------------------------


def _recipes() -> Iterator[Case]:
    texts: dict[str, str | bytes] = {
        "empty": "",
        "a list": "[]",
        "a number": "5",
        "not YAML": "{",
        "bytes": b"\xff\xfe\x00",
        "deep": "[" * 20_000,
        "an impossible date": "candidate: 2020-13-45",
        "an endless number": "candidate: " + "9" * 6000,
        "a list as key": "? [a]\n: b",
        "a Python object": "candidate: !!python/object/apply:os.system [ls]",
        "a candidate in itself": "candidate: &a {coefficients: *a}\nsources: {}",
        "a pickle": _PICKLE,
    }
    for name, spoilt in texts.items():
        yield Case(f"recipe, {name}", _write("recipe.json", spoilt), "recipe.json", MATERIALISE)
    changed: dict[str, object] = {
        "candidate": None,
        "candidate.coefficients": [None, [], "x", {"math": None}, {"math": "x"}, {"math": [1]}],
        "candidate.dtype": [None, 5, "int8", "float64", []],
        "candidate.method": [None, 5, "slurp", [], {}],
        "candidate.seed": ["x", [], {}],
        "candidate.parameters": [5, [], {"density": 0.5}],
        "candidate.groups": [5, "x"],
        "candidate.grouped": [5, [1], {"a": 5}, {"a": {"math": "x"}}, {"a": {}}],
        "candidate.sources": [5, [1], {"math": 5}, {"math": "0" * 64}],
        "sources": [None, [], 5, "x", {}, {"math": {"model": "models/math"}}, {"base": 5}],
        "sources.math": [None, 5, [], {}, {"path": "x"}],
        "sources.math.model": [None, 5, [], "", "no/such/folder/x", "a\0b", "x" * 5000],
        "weights_digest": ["0" * 64, 5],
    }
    for key, values in changed.items():
        for value in values if isinstance(values, list) else [values]:
            content = json.loads(json.dumps(RECIPE))
            section = content
            *outer, last = key.split(".")
            for part in outer:
                section = section[part]
            section[last] = value
            text = json.dumps(content)
            name = f"recipe, {key}: {str(value)[:40]!r}"
            yield Case(name, _write("recipe.json", text), "", MATERIALISE)
    for value in (float("nan"), float("inf"), -1e308):
        content = RECIPE | {
            "candidate": {"coefficients": {"math": value, "code": 0.5}, "dtype": "bfloat16"}
        }
        change = _write("recipe.json", json.dumps(content))
        yield Case(f"recipe, a coefficient of {value}", change, "recipe.json", MATERIALISE)
    taken = ["/", ".", "models", "models/base", "study.yaml", "recipe.json/x"]
    for out in taken:
        arguments = ("materialise", "recipe.json", "--out", out)
        yield Case(f"recipe, written to {out}", _nothing, "", arguments)


def _nothing(folder: Path) -> None:
    pass


# Storages ----------------------------------------------------------------------------------------


def _storages() -> Iterator[Case]:
    urls = [
        "nonsense", "://", "http://", "sqlite://///", "sqlite:///", "sqlite:///no/such/place/x.db",
        "sqlite:///models", "sqlite:///study.yaml", "oracle://a/b", "mysql://a/b", "redis://a/b",
        "postgresql://u:hunter2@127.0.0.1:1/x", "postgresql+psycopg://u:hunter2@127.0.0.1:1/x",
        "postgresql+psycopg://u:hunter2@127.0.0.1:notaport/x", "postgresql+psycopg://",
        "grpc://", "grpc://:1", "grpc://127.0.0.1:x", "grpc://127.0.0.1:99999999",
        "grpc://127.0.0.1:1", "sqlite:///a\0b", "file:///etc/passwd", "journal.log", "sqlite:///" + "x" * 5000,
    ]  # fmt: skip
    for url in urls:
        yield Case(f"storage, {url[:60]!r}", _set("storage", url), "storage")
    database = "runs/study-own/study.db"
    contents = {"text": b"not a database" * 300, "zip": _zip(), "header": b"SQLite format 3\0"}
    for name, content in contents.items():

        def change(folder: Path, content: bytes = content) -> None:
            (folder / database).parent.mkdir(parents=True)
            (folder / database).write_bytes(content)

        yield Case(f"storage, a database that is {name}", change, "study")
    for place in ("runs", "runs/study-own", database):

        def block(folder: Path, place: str = place) -> None:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            if place == database:
                (folder / place).mkdir()
            else:
                (folder / place).write_text("in the way")

        yield Case(f"storage, something else at {place}", block, "study-own")


# Command lines -----------------------------------------------------------------------------------


def _command_lines() -> Iterator[Case]:
    lines: list[tuple[tuple[str, ...], str]] = [
        (("serach",), "No such command"),
        (("search", "--color"), "No such option"),
        (("search", "a.yaml", "b.yaml"), "unexpected extra argument"),
        (("search", "--task"), "requires an argument"),
        ((*SEARCH, "--task", ","), "suite ''"),
        ((*SEARCH, "--task", "own,,own"), "suite ''"),
        ((*SEARCH, "--task", "Own"), "did you mean 'own'?"),
        ((*SEARCH, "--task", "../own"), "suite '../own'"),
        ((*SEARCH, "--task", "own\nown"), "suite"),
        ((*SEARCH, "--task", "x" * 100_000), "suite"),
        ((*SEARCH, "--trials", "0"), "greater than or equal to 1"),
        ((*SEARCH, "--trials", "-5"), "greater than or equal to 1"),
        ((*SEARCH, "--trials", "many"), "valid integer"),
        ((*SEARCH, "--trials", "1e3"), "valid integer"),
        ((*SEARCH, "--trials", "9" * 5000), "--trials"),
        ((*SEARCH, "--workers", "0"), "greater than or equal to 1"),
        ((*SEARCH, "--workers", "257"), "less than or equal to 256"),
        ((*SEARCH, "--workers", "four"), "valid integer"),
        (("search", "absent.yaml"), "no such study file"),
        (("search", ""), "no such study file"),
        (("search", "."), "no such study file"),
        (("search", "/dev/null"), "no such study file"),
        (("search", "\udcff.yaml"), "no such study file"),
        (("search", "x" * 5000), "name too long"),
        (("search", "recipe.json"), "unknown key"),
        (("search", "models/math/model.safetensors"), "not readable as YAML"),
        (("search", "study.yaml", "--runs", "study.yaml"), "study.yaml"),
        (("search", "study.yaml", "--runs", "x" * 5000), "xxx"),
        (("search", "study.yaml", "--runs", "/dev/null/runs"), "/dev/null"),
        (("search", "study.yaml", "--runs", "/proc/runs"), "/proc/runs"),
        (("worker", "absent.yaml"), "no such study file"),
        (("worker", "study.yaml", "--task", "x"), "suite 'x'"),
        (("report", "absent.yaml"), "no such study file"),
        (("export", "study.yaml", "--runs", "runs"), "no trial has been scored yet"),
        (("export", "study.yaml", "--runs", "runs", "--out", ""), "from which the export is made"),
        (("export", "study.yaml", "--runs", "runs", "--out", "models"), "models"),
        (("export", "study.yaml", "--runs", "runs", "--out", "study.yaml"), "is a file"),
        (("export", "study.yaml", "--runs", "runs", "--out", "x" * 5000), "xxx"),
        (("verify", "study.yaml", "--model", "nobody"), "no model 'nobody'"),
        (("verify", "study.yaml", "--documents", "0"), "greater than or equal to 1"),
        (("verify", "study.yaml", "--documents", "99"), "99 asked for"),
        (("verify", "study.yaml", "--model", "best", "--runs", "runs"), "no trial yet"),
        (("suites", "absent.yaml"), "no such study file"),
        (("suites", "--data", "no/such/folder"), "no/such/folder"),
        (("suites", "--data", "study.yaml"), "study.yaml"),
        (("materialise",), "Missing argument"),
        (("materialise", "recipe.json"), "Missing option"),
        (("materialise", "absent.json", "--out", "out"), "no such recipe"),
        (("materialise", "models", "--out", "out"), "no such recipe"),
        (("materialise", "x" * 5000, "--out", "out"), "name too long"),
        (("materialise", "models/math/model.safetensors", "--out", "out"), "not readable"),
        (("dashboard", "absent.yaml"), "no such study file"),
        (("dashboard", "study.yaml", "--port", "-1"), "greater than or equal to 0"),
        (("dashboard", "study.yaml", "--port", "99999"), "less than or equal to 65535"),
        (
            ("dashboard", "study.yaml", "--runs", "runs", "--host", "256.256.256.256"),
            "cannot listen",
        ),
        (("dashboard", "study.yaml", "--runs", "runs", "--host", "no such host"), "cannot listen"),
        (("dashboard", "study.yaml", "--runs", "runs", "--host", "x" * 300), "cannot listen"),
        (("init",), "Missing"),
        (("init", "mine.yaml"), "Missing option"),
        (("init", "mine.yaml", "--base", "models/base"), "Missing option"),
        ((*_INIT, "--checkpoint", "absent/folder/x"), "absent/folder/x"),
        ((*_INIT, "--checkpoint", "math="), "nothing after '='"),
        ((*_INIT, "--checkpoint", "=models/math"), "checkpoint name ''"),
        ((*_INIT, "--checkpoint", "base=models/math"), "checkpoint name 'base'"),
        ((*_INIT, "--checkpoint", "a b=models/math"), "checkpoint name 'a b'"),
        ((*_INIT, "--checkpoint", "models/base"), "is the same folder as"),
        ((*_INIT, "--checkpoint", "x" * 5000), "checkpoint"),
        ((*_INIT, "--checkpoint", ""), "checkpoint"),
        ((*_INIT, "--checkpoint", "models/math", "--task", "nothing"), "no suite 'nothing'"),
        (("init", "study.yaml", *_INIT[2:], "--checkpoint", "models/math"), "exists already"),
        (("init", "models", *_INIT[2:], "--checkpoint", "models/math"), "is a folder"),
        (("init", "mine.txt", *_INIT[2:], "--checkpoint", "models/math"), "ends in .yaml"),
        (("init", "/dev/null/m.yaml", *_INIT[2:], "--checkpoint", "models/math"), "/dev/null"),
        (("init", "x" * 5000 + ".yaml", *_INIT[2:], "--checkpoint", "models/math"), "xxx"),
    ]
    for arguments, expected in lines:
        shown = " ".join(part if len(part) < 60 else f"{part[:8]}..." for part in arguments)
        yield Case(f"exme {shown!r}", _nothing, expected, arguments)


_INIT = ("init", "mine.yaml", "--base", "models/base")
