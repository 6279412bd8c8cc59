"""Study files that cannot be used: values of keys, and texts that are no study."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.helpers.malformed.given import (
    STUDY,
    Case,
    circle,
    replace_by,
    set_key,
    write,
    zipped,
)

_NESTED = {"a": [{"b": [1, [2, {"c": None}]]}]}


# Values by key; the refusal names the key, or what stands after the arrow.
_WRONG: dict[str, list[Any]] = {
    "base": [None, 5, [], {}, "", _NESTED],
    "checkpoints": [None, [], {}, "math", {"math": None}, {"math": 5}, {"math": ["a"]}],
    "method": [None, 5, {}, [], "slurp", ["exme", "exme"], ["exme", 5], ""],
    "space": [None, 5, "wide", [0, 1]],
    "space.coefficients": [None, 1, [1], [0, 1, 2], [2, 1], ["a", "b"], [0, 99], [0, float("inf")]],
    "suites": [None, "gsm8k", [], {}, [5], [None], ["gsm8k", "gsm8k"], [["gsm8k"]]],
    "data": [None, 5, [], {}],
    "documents": [None, 5, "all", []],
    "documents.search": [0, -1, "many", 1.5, [], 10**6],
    "documents.report": [0, -5, {}, "x"],
    "documents.seed": [None, "x", 1.5, []],
    "measure": [None, "loss", 5, [], "mine:", ":score", "not_a_module_here:score", "a b:c d"],
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
    "directions": [5, "nll", ["north"], {}, [["nll"]]],
    "starts": [5, "mean", [0.5], [{"math": "much"}], [{"physics": 0.5}], [{"math": float("nan")}]],
    "racing": ["fast", 5, [], {"error_rate": 0}, {"error_rate": 2}, {"chunk": 0}, {"chunk": "x"}],
    "goal": [None, "best", 5, ["mean"]],
    "weights": [5, ["own"], {"own": -1}, {"own": "much"}, {"own": float("inf")}, {"other": 1}],
    "tail": [None, 0, -1, 2, "x", float("nan")],
    "keep": [5, "all", {"own": "much"}, {"own": float("nan")}, {"other": 0}],
    "shift": [5, "far", {"bound": -1}, {"bound": "x"}, {"penalty": -1}, {"parent": "nobody"}],
    "track": [5, "tensorboard", ["tensorboard"], {}],
    "vocabulary": [None, "other", 5, ["same"]],
}


def study_values() -> Iterator[Case]:
    for key, values in _WRONG.items():
        for value in values:
            shown = repr(value) if len(repr(value)) < 30 else "nested"
            yield Case(f"study, {key}: {shown}", set_key(key, value), key.rpartition(".")[2])
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
        yield Case(f"study, {key[:20]} = {str(value)[:40]!r}", set_key(key, value), expected)
    absent = set_key("device", "cuda")
    if not torch.cuda.is_available():
        yield Case("study, a GPU that is not there", absent, "device")


def study_texts() -> Iterator[Case]:
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
        "a list in itself": ("suites: &a [*a]\nbase: b\ncheckpoints: {c: d}\n", "recursive"),
        "a mapping in itself": ("space: &a {coefficients: *a}\n", "study.yaml"),
        "bytes": (b"\xff\xfe\x00base", "not readable as YAML"),
        "control characters": (b"base: \x07\x1b[31m", "not readable as YAML"),
        "a null byte": (b"base: a\x00b", "not readable as YAML"),
        "UTF-16": (good.encode("utf-16"), "not readable as YAML"),
        "zeroes": (bytes(4096), "not readable as YAML"),
        "a zip file": (zipped(), "not readable as YAML"),
        "escapes for the terminal": ('"\\e[31mred": 1', "unknown key"),
        "a set": (f"{good}goal: !!set {{a}}\n", "study.yaml"),
        "half a character": (f'{good}"\\ud800": 1\n', "study.yaml"),
        "an infinite number": (f"{good}batch_size: .inf\n", "batch_size"),
        "a key with a line break": ('"one\\ntwo": 1', "unknown key"),
    }
    for name, (content, expected) in texts.items():
        yield Case(f"study file, {name}", write("study.yaml", content), expected)
    yield Case("study file, a folder", replace_by("study.yaml", Path.mkdir), "no such study file")
    yield Case("study file, a pipe", replace_by("study.yaml", os.mkfifo), "study.yaml")
    yield Case("study file, a link in a circle", replace_by("study.yaml", circle), "study.yaml")
