"""lm-eval tasks over documents of our choice: stock prompts, filters and metrics."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import lm_eval.tasks
import lm_eval.utils

from exme.evaluators.harness.noise import quiet
from exme.evaluators.sandbox import CodeEval
from exme.tasks import Document, Order, Split, Suite, SuiteDocuments, UserError, did_you_mean

from .fewshot import check_own_examples, draw_by_document, fewshot_config, task_config
from .ifeval import ifeval_ready
from .splits import Processed, dataset, lm_eval_seeds, process


@dataclass(frozen=True)
class BuiltTask:
    """An lm-eval task over documents of ours.

    Attributes:
        task: lm-eval's; it judges the whole split until it is told otherwise (`judge`).
        split: the split as it has it.
    """

    task: Any
    split: Processed

    def judge(self, documents: Sequence[Document]) -> None:
        """Have it judge these documents of its split, in this order.

        Raises:
            UserError: the task drops one of them; `task_order` tells which it has.
        """
        rows = [row_of(d) for d in documents]
        left = set(rows) & set(self.split.places)
        if len(left) < len(rows):
            raise UserError(
                f"lm-eval task '{self.task.config.task}' drops documents ({len(left)} of {len(rows)} are left)"
            )
        chosen = self.split.select(rows)
        self.task.test_docs = lambda: chosen


def row_of(document: Document) -> int:
    """The place of a document's row in its split."""
    return int(document.id.rpartition("/")[2])


def build_task(
    manager: Any, documents: SuiteDocuments, name: str, mine: Sequence[Document]
) -> BuiltTask:
    """lm-eval's task with our data in the place of its data set.

    Args:
        name: one of its lm-eval tasks.
        mine: documents of one split that it will judge.

    Raises:
        UserError: a package that the task needs is missing, or its few-shot examples are not the suite's.
    """
    suite, prefix = documents.suite, mine[0].id.rpartition("/")[0]
    source = prefix.rpartition("/")[2]
    split = _processed(manager, suite, name, _whole(documents, prefix, mine))
    content = {source: split.documents}
    overrides: dict[str, Any] = {"test_split": source}
    if suite.fewshot.split is not None:
        # Zero examples as well: the stock task may bring some of its own.
        overrides |= {"num_fewshot": suite.fewshot.count, "fewshot_config": {"sampler": "first_n"}}
        if suite.fewshot.count:
            examples = documents.fewshot[name]
            begin = examples[0].id.rpartition("/")[0]
            shown = _processed(manager, suite, name, _whole(documents, begin, examples))
            content["fewshot"] = shown.documents
            overrides["fewshot_split"] = "fewshot"
    else:
        check_own_examples(manager, suite, name)
    task = load_task(manager, suite, name, content, overrides, mine)
    draw_by_document(task, documents.seed)
    return BuiltTask(task, split)


def _whole(documents: SuiteDocuments, prefix: str, mine: Sequence[Document]) -> Split:
    """All rows of a split; of a document of ours as it is now, for it may have got a reference answer."""
    known = documents.splits[prefix]
    if all(d.row is known[row_of(d)] for d in mine):
        return known
    own = {row_of(d): d.row for d in mine}
    return [own.get(place, row) for place, row in enumerate(known)]


# What tasks made of splits, by the task's file and the rows that were read; these are kept beside it.
_KNOWN: dict[tuple[str, int], tuple[Split, Processed]] = {}
_MOST_KNOWN = 512


def _processed(manager: Any, suite: Suite, name: str, rows: Split) -> Processed:
    """A split as a task has it."""
    key = (f"{manager.task_index[name].yaml_path} {name}", id(rows))
    if key not in _KNOWN:
        docs, said = None, task_config(manager, name)
        of_json = said.get("dataset_path") == "json"
        if said.get("process_docs") is not None:
            with _loading(suite, name):
                docs = task_config(manager, name, functions=True)["process_docs"]
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = (rows, process(suite.suite, name, dataset(rows, of_json=of_json), docs))
    return _KNOWN[key][1]


def task_order(suite: Suite) -> Order:
    """Which rows of a split the suite's lm-eval tasks judge, and in which order: see `load_documents`."""
    manager = task_manager(suite)

    def order(name: str, rows: Split) -> Sequence[int]:
        return _processed(manager, suite, name, rows).places

    return order


def load_task(
    manager: Any,
    suite: Suite,
    name: str,
    content: Mapping[str, datasets.Dataset],
    overrides: Mapping[str, Any],
    mine: Sequence[Document] = (),
) -> Any:
    """A stock lm-eval task over data of ours.

    Args:
        name: one of its lm-eval tasks.
        content: data by split, as the task has them.
        overrides: keys of the task's file to replace; splits that it names are taken away first.
            Of its few-shot settings, those that say how an example is written stay.
        mine: documents that it will judge.

    Raises:
        UserError: a package or a file that the task needs is missing.
    """
    config = {
        "task": name,
        "custom_dataset": lambda **_: dict(content),
        "training_split": None,
        "validation_split": None,
        "fewshot_split": None,
        "process_docs": None,
        **overrides,
    }
    _compile_templates_once()
    with _loading(suite, name), ifeval_ready(suite.suite, mine), quiet():
        if "fewshot_config" in overrides:
            written = fewshot_config(manager, name)
            config["fewshot_config"] = {**written, **overrides["fewshot_config"]}
        # A group of one: only a group's members are laid over the stock task of their name.
        return manager.load([{"group": "exme", "task": [config]}])["tasks"][name]


def _compile_templates_once() -> None:
    """Have lm-eval's template environment remember what it compiled; calling it again does nothing.

    It compiles a document's template anew for every prompt, every few-shot example and every score: once the
    model is quick, that is most of what judging costs. A template's text never changes.
    """
    environment = lm_eval.utils.env
    if not hasattr(environment.from_string, "cache_info"):
        environment.from_string = functools.lru_cache(maxsize=1024)(environment.from_string)


@contextlib.contextmanager
def _loading(suite: Suite, name: str) -> Iterator[None]:
    """Within this, a task's functions can be loaded.

    Raises:
        UserError: a package that they need is missing.
    """
    try:
        with lm_eval_seeds(), _code_in_sandbox(suite):
            yield
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
                return _of_files(suite, manager)
    manager = lm_eval.tasks.TaskManager(include_path=suite.lm_eval_folder)
    missing = [name for name in names if name not in manager.all_subtasks]
    if missing:
        many = missing[0] in (*manager.all_groups, *manager.all_tags)
        raise UserError(
            f"suite '{suite.suite}': lm-eval has no task '{missing[0]}'"
            f"{', but a group or a tag of this name; name its tasks' if many else did_you_mean(missing[0], manager.all_subtasks)}"
        )
    return _of_files(suite, manager)


def _of_files(suite: Suite, manager: Any) -> Any:
    """The index, where the suite's tasks are files.

    Raises:
        UserError: one is a class of Python, which loads data of its own.
    """
    for name in suite.lm_eval_tasks:
        if "class" in (manager.task_index[name].cfg or {}):
            raise UserError(
                f"suite '{suite.suite}': lm-eval task '{name}' is a class of Python, whose data cannot be ours; give a "
                f"task that is a file"
            )
    return manager
