"""lm-eval tasks over documents of our choice: stock prompts, filters and metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import lm_eval.tasks

from exme.evaluators.sandbox.code_eval import CodeEval
from exme.tasks.documents import Document
from exme.tasks.errors import UserError, did_you_mean
from exme.tasks.suite import Suite

from .ifeval import ifeval_ready
from .quiet import quiet
from .templates import compile_templates_once


def build_task(
    manager: Any, suite: Suite, name: str, rows: Sequence[Document], examples: Sequence[Document]
) -> Any:
    """lm-eval's task with our documents in the place of its data set.

    Args:
        manager: from `task_manager`.
        suite: the suite.
        name: one of its lm-eval tasks.
        rows: the documents to judge.
        examples: few-shot examples, where the suite names a split for them.

    Raises:
        UserError: a package that the task needs is missing.
    """
    content = {"evaluated": _rows(rows)}
    overrides: dict[str, Any] = {"test_split": "evaluated"}
    if suite.fewshot.split is not None:
        overrides["num_fewshot"] = len(examples)
        overrides["fewshot_config"] = {"sampler": "first_n"}
        if examples:
            content["fewshot"] = _rows(examples)
            overrides["fewshot_split"] = "fewshot"
    return load_task(manager, suite, name, content, overrides)


def load_task(
    manager: Any,
    suite: Suite,
    name: str,
    content: Mapping[str, datasets.Dataset],
    overrides: Mapping[str, Any],
) -> Any:
    """A stock lm-eval task over data of ours.

    Args:
        manager: from `task_manager`.
        suite: the suite.
        name: one of its lm-eval tasks.
        content: data by split.
        overrides: keys of the task's file to replace; splits that it names are taken away first.

    Raises:
        UserError: a package or a file that the task needs is missing.
    """
    config = {
        "task": name,
        "custom_dataset": lambda **_: dict(content),
        "training_split": None,
        "validation_split": None,
        "fewshot_split": None,
        **overrides,
    }
    compile_templates_once()
    try:
        with ifeval_ready(suite.suite, content), quiet(), _code_in_sandbox(suite):
            # A group of one: only a group's members are laid over the stock task of their name.
            return manager.load([{"group": "exme", "task": [config]}])["tasks"][name]
    except ImportError as error:
        needs = " and ".join(suite.needs) or "a package that lm-eval names"
        raise UserError(
            f"suite '{suite.suite}': lm-eval task '{name}' needs {needs} ({error.msg}); install it"
        ) from None


@contextlib.contextmanager
def _code_in_sandbox(suite: Suite) -> Iterator[None]:
    """Give lm-eval tasks that run generated code our sandbox, where they ask for `code_eval`.

    They fetch it from the hub as they are loaded, and keep it.
    """
    if not suite.runs_code:
        yield
        return
    import evaluate  # noqa: PLC0415  (slow to import, needed for generated code only)

    stock = evaluate.load
    evaluate.load = lambda name, **_: CodeEval() if name == "code_eval" else stock(name)
    try:
        yield
    finally:
        evaluate.load = stock


def _rows(documents: Sequence[Document]) -> datasets.Dataset:
    # from_list() has the columns of the first row only.
    columns = dict.fromkeys(name for d in documents for name in d.row)
    rows = [{name: d.row.get(name) for name in columns} for d in documents]
    return datasets.Dataset.from_list(rows)


@dataclass(frozen=True)
class TaskHeader:
    """What lm-eval's results files call a task, and the version that they state of it."""

    alias: str
    version: float | str


def task_headers(suite: Suite) -> dict[str, TaskHeader]:
    """Headers of a suite's lm-eval tasks.

    Raises:
        UserError: lm-eval has no such task.
    """
    index = task_manager(suite).task_index
    found = {}
    for name in suite.lm_eval_tasks:
        content = index[name].cfg or {}
        version = content.get("metadata", {}).get("version", "Yaml")  # (lm-eval's word for none)
        found[name] = TaskHeader(str(content.get("task_alias") or name), version)
    return found


def task_manager(suite: Suite) -> Any:
    """An index of lm-eval's tasks that holds the suite's.

    Indexing all of lm-eval's 14,000 files takes seconds, a folder of its own milliseconds.

    Raises:
        UserError: lm-eval has no such task.
    """
    names = list(suite.lm_eval_tasks)
    root = Path(lm_eval.tasks.__file__).parent
    folders = [root / n for n in (suite.folder, suite.suite, names[0]) if n]
    if suite.lm_eval_folder is not None:
        folders.insert(0, Path(suite.lm_eval_folder))
    for folder in dict.fromkeys(folders):
        if folder.is_dir():
            manager = lm_eval.tasks.TaskManager(include_defaults=False, include_path=str(folder))
            if set(names) <= set(manager.all_subtasks):
                return manager
    manager = lm_eval.tasks.TaskManager(include_path=suite.lm_eval_folder)
    missing = [name for name in names if name not in manager.all_subtasks]
    if missing:
        raise UserError(
            f"suite '{suite.suite}': lm-eval has no task '{missing[0]}'"
            f"{did_you_mean(missing[0], manager.all_subtasks)}"
        )
    return manager
