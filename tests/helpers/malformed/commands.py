"""Recipes, storages and command lines that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.malformed.given import (
    MATERIALISE,
    PICKLE,
    RECIPE,
    SEARCH,
    Case,
    nothing,
    set_key,
    write,
    zipped,
)


def recipes() -> Iterator[Case]:
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
        "a pickle": PICKLE,
    }
    for name, spoilt in texts.items():
        yield Case(f"recipe, {name}", write("recipe.json", spoilt), "recipe.json", MATERIALISE)
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
            yield Case(name, write("recipe.json", text), "", MATERIALISE)
    for value in (float("nan"), float("inf"), -1e308):
        content = RECIPE | {
            "candidate": {"coefficients": {"math": value, "code": 0.5}, "dtype": "bfloat16"}
        }
        change = write("recipe.json", json.dumps(content))
        yield Case(f"recipe, a coefficient of {value}", change, "recipe.json", MATERIALISE)
    taken = ["/", ".", "models", "models/base", "study.yaml", "recipe.json/x"]
    for out in taken:
        arguments = ("materialise", "recipe.json", "--out", out)
        yield Case(f"recipe, written to {out}", nothing, "", arguments)


def storages() -> Iterator[Case]:
    urls = [
        "nonsense", "://", "http://", "sqlite://///", "sqlite:///", "sqlite:///no/such/place/x.db",
        "sqlite:///models", "sqlite:///study.yaml", "oracle://a/b", "mysql://a/b", "redis://a/b",
        "postgresql://u:hunter2@127.0.0.1:1/x", "postgresql+psycopg://u:hunter2@127.0.0.1:1/x",
        "postgresql+psycopg://u:hunter2@127.0.0.1:notaport/x", "postgresql+psycopg://",
        "grpc://127.0.0.1:1", "sqlite:///a\0b", "file:///etc/passwd", "journal.log", "sqlite:///" + "x" * 5000,
    ]  # fmt: skip
    for url in urls:
        yield Case(f"storage, {url[:60]!r}", set_key("storage", url), "storage")
    database = "runs/study-own/study.db"
    contents = {"text": b"not a database" * 300, "zip": zipped(), "header": b"SQLite format 3\0"}
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


_INIT = ("init", "mine.yaml", "--base", "models/base")


def command_lines() -> Iterator[Case]:
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
        (("export", "study.yaml", "--runs", "runs"), "not begun yet"),
        (("export", "study.yaml", "--runs", "runs", "--out", ""), "not begun yet"),
        (
            ("export", "study.yaml", "--runs", "runs", "--out", "models"),
            "not begun yet",
        ),
        (
            ("export", "study.yaml", "--runs", "runs", "--out", "study.yaml"),
            "not begun yet",
        ),
        (
            ("export", "study.yaml", "--runs", "runs", "--out", "x" * 5000),
            "not begun yet",
        ),
        (("verify", "study.yaml", "--model", "nobody"), "no model 'nobody'"),
        (("verify", "study.yaml", "--documents", "0"), "greater than or equal to 1"),
        (("verify", "study.yaml", "--documents", "99"), "99 asked for"),
        (("verify", "study.yaml", "--model", "best", "--runs", "runs"), "not begun yet"),
        (("score",), "Missing argument"),
        (("score", "study.yaml"), "Missing argument"),
        (("score", "absent.yaml", "math=1"), "no such study file"),
        (("score", "study.yaml", "math=1", "--report"), "report documents are kept for the proof"),
        (("score", "study.yaml", "math"), "names no value"),
        (("score", "study.yaml", "=1"), "names no value"),
        (("score", "study.yaml", "math=1", "math=2"), "is given twice"),
        (("score", "study.yaml", "mth=1", "--runs", "runs"), "did you mean 'math'"),
        (("score", "study.yaml", "math=much", "--runs", "runs"), "expected a number"),
        (("score", "study.yaml", "math=nan", "--runs", "runs"), "expected a number"),
        (("build", "study.yaml", "math=1"), "Missing option"),
        (("build", "study.yaml", "mth=1", "--out", "out"), "did you mean 'math'"),
        (("build", "study.yaml", "math=1", "--out", "study.yaml"), "study.yaml"),
        (("build", "study.yaml", "math=1", "--out", "models/math"), "models/math"),
        (("compare", "models/base"), "found one model"),
        (("compare", "models/base", "models/math"), "--task is missing"),
        (("compare", "models/base", "models/mth", "--task", "gsm8k"), "cannot get 'models/mth'"),
        (("compare", "models/base", "study.yaml", "--task", "gsm8k"), "is a file"),
        (("compare", "models/base", "models/math", "--task", "gsm8"), "did you mean 'gsm8k'"),
        (("compare", "base", "math", "--study", "absent.yaml"), "no such study file"),
        (("compare", "base", "math", "--study", "study.yaml", "--documents", "0"), "equal to 1"),
        (("compare", "data/own/train.jsonl", "data/own/test.jsonl"), "none of lm-eval's samples"),
        (("compare", "absent.jsonl", "models/base", "--task", "gsm8k"), "no folder absent.jsonl"),
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
            "not begun yet",
        ),
        (("dashboard", "study.yaml", "--runs", "runs", "--host", "no such host"), "not begun yet"),
        (("dashboard", "study.yaml", "--runs", "runs", "--host", "x" * 300), "not begun yet"),
        (("init",), "Missing"),
        (("init", "mine.yaml"), "--base is missing"),
        (("init", "mine.yaml", "--base", "models/base"), "--checkpoint or --run is missing"),
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
        yield Case(f"exme {shown!r}", nothing, expected, arguments)
