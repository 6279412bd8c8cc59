"""lm-eval's own tasks as suites, by rule: read from their files, without loading lm-eval.

Splits: validation is searched on and test reported on; without one of them, train takes its place as the split to
search on; one split alone is halved. Few-shot examples, metric and filter are the task's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import util
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, TemplateSyntaxError, meta

from .errors import UserError

_NAME = re.compile(r"^['\"]?task['\"]?:\s*['\"]?([\w.()-]+)['\"]?\s*(?:#.*)?$", re.MULTILINE)
_GROUP = re.compile(_NAME.pattern.replace("task", "group"), re.MULTILINE)
_TAGS = re.compile(r"^['\"]?tag['\"]?:((?:[^#\n]*)(?:\n\s*-\s[^#\n]*)*)", re.MULTILINE)
_INCLUDE = re.compile(r"^['\"]?include['\"]?:\s*['\"]?([^'\"\s]+)['\"]?", re.MULTILINE)
# What a task without a list of metrics is scored by (lm-eval's DEFAULT_METRIC_REGISTRY, the first of each).
_METRICS = {
    "loglikelihood": "perplexity",
    "loglikelihood_rolling": "word_perplexity",
    "generate_until": "exact_match",
    "multiple_choice": "acc",
}


class _Function(str):
    """The name of a function of a task."""

    __slots__ = ()


class _Loader(yaml.SafeLoader):
    """YAML whose functions stay names."""


_Loader.add_constructor("!function", lambda loader, node: _Function(node.value))


def task_names() -> list[str]:
    """Names of all of lm-eval's tasks, sorted; seconds where the disk is slow."""
    return sorted(_files())


def members_of_group(name: str) -> list[str]:
    """What lm-eval puts together under a name that is no task's; empty where it is none of a group's."""
    path = _groups().get(name)
    members = [] if path is None else _read(path).get("task") or []
    return [m if isinstance(m, str) else str(m.get("task") or m.get("group")) for m in members]


def members_of_tag(name: str) -> list[str]:
    """The tasks that have a tag, sorted."""
    return sorted(_by_name().tags.get(name, ()))


def suite_of_task(name: str) -> dict[str, Any] | None:
    """What a suite's file would say of one of lm-eval's tasks; None where there is no such task.

    Raises:
        UserError: it has no split to search on, or is a class of Python.
    """
    path = _find(name)
    if path is None:
        return None
    said = _read(path)
    if "class" in said:
        raise UserError(
            f"suite '{name}': lm-eval's task of that name is a class of Python, whose data cannot be ours; give a "
            f"task that is a file"
        )
    search, report = _splits(name, said)
    columns = _columns(said)
    return {
        "suite": name,
        "version": 1,
        "title": f"lm-eval's task {name}",
        "lm_eval_tasks": {name: None},
        "metric": _metric(said),
        "filter": (said.get("filter_list") or [{"name": "none"}])[0]["name"],
        "columns": columns,
        "fewshot": _fewshot(said, search),
        "hub": {"path": said["dataset_path"], "name": said.get("dataset_name")}
        if said.get("dataset_path")
        else None,
        "search": {"split": search},
        "report": {"split": report},
        "lm_eval_folder": str(path.parent),  # indexing all of lm-eval's files takes long
        "runs_code": bool(said.get("unsafe_code")),
        "of_lm_eval": True,
    }


def _splits(name: str, said: Mapping[str, Any]) -> tuple[str, str]:
    train, validation, test = (
        said.get(f"{which}_split") for which in ("training", "validation", "test")
    )
    there = [split for split in (train, validation, test) if split]
    if not there:
        raise UserError(
            f"suite '{name}': lm-eval's task of that name names no split; write a suite file"
        )
    report = there[-1]
    before = [split for split in (validation, train) if split and split != report]
    return (before[0] if before else report), report


def _fewshot(said: Mapping[str, Any], search: str) -> dict[str, Any]:
    shots, own = said.get("num_fewshot") or 0, said.get("fewshot_config") or {}
    split = said.get("fewshot_split") or own.get("split")
    if not shots or ("samples" in own and split is None):
        return {"count": shots}
    return {"count": shots, "split": split or said.get("training_split") or search}


def _metric(said: Mapping[str, Any]) -> str:
    """The first that is a mean over documents, else the first; what is none is refused by name later."""
    listed = said.get("metric_list") or []
    if not listed:
        return _METRICS.get(str(said.get("output_type")), "acc")
    means = [m for m in listed if m.get("aggregation") == "mean"]
    return str((means or listed)[0]["metric"]).rpartition(".")[2]


def _columns(said: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns that its prompt is made of, as far as its file tells."""
    text = said.get("doc_to_text")
    if (
        said.get("process_docs") is not None
        or not isinstance(text, str)
        or isinstance(text, _Function)
    ):
        return ()
    if text.isidentifier():
        return (text,)
    try:
        return tuple(sorted(meta.find_undeclared_variables(Environment().parse(text))))
    except TemplateSyntaxError:
        return ()


def _read(path: Path) -> dict[str, Any]:
    """A task's file with what it includes; the file's own keys win."""
    said: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (safe)
    includes = said.pop("include", [])
    merged: dict[str, Any] = {}
    for each in includes if isinstance(includes, list) else [includes]:
        merged |= _read(path.parent / each)
    return merged | said


def _root() -> Path | None:
    found = util.find_spec("lm_eval")
    return None if found is None or found.origin is None else Path(found.origin).parent / "tasks"


def _find(name: str) -> Path | None:
    """The file of a task: most have its name."""
    root = _root()
    if root is None or not re.fullmatch(r"[\w.()-]{1,200}", name):
        return None
    for path in sorted(root.rglob(f"{name}.yaml")):
        if name in _NAME.findall(path.read_text(encoding="utf-8", errors="replace")):
            return path
    return _files().get(name)


def _files() -> Mapping[str, Path]:
    """The file of every task."""
    return _by_name().tasks


def _groups() -> Mapping[str, Path]:
    """The file of every group."""
    return _by_name().groups


@dataclass(frozen=True)
class _Index:
    """Files of tasks and of groups, and the names of tasks by tag."""

    tasks: Mapping[str, Path]
    groups: Mapping[str, Path]
    tags: Mapping[str, set[str]]


@lru_cache(maxsize=1)
def _by_name() -> _Index:
    """What lm-eval's files are, by the names in them."""
    root = _root()
    tasks: dict[str, Path] = {}
    groups: dict[str, Path] = {}
    tags: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*.yaml")) if root is not None else ():
        text = path.read_text(encoding="utf-8", errors="replace")
        found = _NAME.findall(text)
        tasks |= dict.fromkeys(found, path)
        groups |= dict.fromkeys(_GROUP.findall(text), path)
        for tag in _tags(path, text) if found else ():
            tags.setdefault(tag, set()).update(found)
    return _Index(tasks, groups, tags)


def _tags(path: Path, text: str) -> list[str]:
    """Tags of a task's file: its own, else those of what it includes."""
    for said in _TAGS.findall(text):
        return re.findall(r"\w[\w.()-]*", said)
    for name in _INCLUDE.findall(text):
        included = path.parent / name
        return _tags(included, _text(included)) if included.is_file() else []
    return []


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
