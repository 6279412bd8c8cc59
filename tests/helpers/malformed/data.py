"""Documents and suite files that cannot be used."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.helpers.malformed.given import (
    PICKLE,
    SEARCH,
    SUITE,
    Case,
    dump,
    remove,
    replace_by,
    write,
    zipped,
)


def data() -> Iterator[Case]:
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
        "a zip file": (zipped(), "train.jsonl"),
        "a pickle": (PICKLE, "train.jsonl"),
        "zeroes": (bytes(4096), "train.jsonl:1"),
    }
    for name, (content, expected) in files.items():
        yield Case(f"data, {name}", write(path, content), expected)
    yield Case("data, none", remove(path), "no such file")
    yield Case("data, a folder", replace_by(path, Path.mkdir), "no such file")
    yield Case("data, a pipe", replace_by(path, os.mkfifo), "no such file")
    values: dict[str, object] = {
        "a question that is null": {"question": None, "answer": "#### 1"},
        "an answer that is null": {"question": "w1", "answer": None},
    }
    for name, value in values.items():
        content = row * 3 + json.dumps(value) + "\n"
        yield Case(f"data, {name}", write(path, content), "suite 'own'", SEARCH)
    half = row * 3 + json.dumps({"question": "\ud800", "answer": "#### 1"}) + "\n"
    yield Case("data, half of a character", write(path, half), "train.jsonl", SEARCH)


def suites() -> Iterator[Case]:
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
            change = dump("own.yaml", SUITE | {key: value})
            yield Case(f"suite, {key}: {value!r}", change, "own.yaml")
    for key in ("suite", "lm_eval_tasks", "metric", "columns", "fewshot", "search", "report"):
        content = {k: v for k, v in SUITE.items() if k != key}
        yield Case(f"suite, no {key}", dump("own.yaml", content), key)
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
        change = dump("own.yaml", SUITE | {key: value})
        yield Case(f"suite, {key} = {value!r}", change, expected)
    later: list[tuple[str, Any, str]] = [
        ("metric", "charm", "no metric 'charm'"),
        ("filter", "coffee", "no filter 'coffee'"),
    ]
    for key, value, expected in later:
        change = dump("own.yaml", SUITE | {key: value})
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
        yield Case(f"suite file, {name}", write("own.yaml", text), "own.yaml")
    yield Case("suite file, a folder", replace_by("own.yaml", Path.mkdir), "own.yaml")
    yield Case("suite file, a pipe", replace_by("own.yaml", os.mkfifo), "own.yaml")
