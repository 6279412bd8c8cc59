"""Suites of one's own: an lm-eval task with its functions and data in a folder, which lm-eval reads by itself too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval
import yaml
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from exme.evaluators.harness import settle, task_order
from exme.tasks.documents import SuiteDocuments, load_documents
from exme.tasks.suite import load_suite

Row = dict[str, Any]

CHOICE: Row = {
    "output_type": "multiple_choice",
    "doc_to_text": "w1 {{question}} w2",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
GENERATE: Row = {
    "output_type": "generate_until",
    "doc_to_text": "w1 {{question}} w2",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["w7"], "max_gen_toks": 6, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
# Of the answer's text a number that nearly any other text has another of; of choices an error and a loss.
FUNCTIONS = """
import hashlib
def hashed(doc, results):
    return {"hash": int(hashlib.sha256(str(results[0]).encode()).hexdigest()[:6], 16) / 2**24}
def losses(doc, results):
    found = [r[0] for r in results]
    return {"err": float(found.index(max(found)) != doc["gold"]), "nll": -found[doc["gold"]]}
def pair(doc, results):
    return {"pair": (1, 2), "one": 1}
"""


def hashed(task: Mapping[str, Any]) -> Row:
    """The task with a metric that tells answers apart by a letter."""
    metrics = [{"metric": "hash", "aggregation": "mean", "higher_is_better": True}]
    return {**task, "process_results": "!function functions.hashed", "metric_list": metrics}


def lossy(metric: str) -> Row:
    """Choices by their ``err`` or ``nll``, which are better when lower."""
    metrics = [
        {"metric": m, "aggregation": "mean", "higher_is_better": False} for m in ("err", "nll")
    ]
    chosen = sorted(metrics, key=lambda m: m["metric"] != metric)
    return {**CHOICE, "process_results": "!function functions.losses", "metric_list": chosen}


def rows_of(split: str, count: int = 24) -> list[Row]:
    """Documents that differ, in words that tiny models know."""
    first = {"train": 10, "test": 20, "dev": 30}[split]
    return [
        {
            "question": f"w{first + i % 10} w{3 + i // 10} w{i * 7 % 44}",
            "answer": f"w{i % 4}",
            "choices": ["w10", "w11 w12", "w13", "w14"],
            "gold": i % 4,
        }
        for i in range(count)
    ]


@dataclass(frozen=True)
class OwnSuite:
    """A suite file with its task and data, all in one folder."""

    folder: Path

    @property
    def path(self) -> Path:
        """Of the suite's file."""
        return self.folder / "own.yaml"

    def documents(self, search: int | None = 8, report: int | None = 8) -> SuiteDocuments:
        """As a search has them."""
        suite = load_suite(str(self.path))
        data, order = str(self.folder / "data"), task_order(suite)
        found = load_documents(suite, data, search=search, report=report, seed=0, order=order)
        return settle(found)

    def lm_eval(
        self, model: Any, tokenizer: Any, split: str = "train", **arguments: Any
    ) -> dict[str, Any]:
        """lm-eval's results on a whole split, by its own loader; the split's name replaces the task's."""
        tasks = self.folder / "tasks" / "own.yaml"
        alone = self.folder / "alone"
        alone.mkdir(exist_ok=True)
        (alone / "functions.py").write_text((self.folder / "tasks" / "functions.py").read_text())
        text = tasks.read_text().replace("test_split: test", f"test_split: {split}")
        (alone / "own.yaml").write_text(text.replace("task: own", "task: own_alone"))
        manager = TaskManager(include_defaults=False, include_path=str(alone))
        found: dict[str, Any] | None = lm_eval.simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1),
            tasks=["own_alone"],
            task_manager=manager,
            bootstrap_iters=0,
            fewshot_random_seed=0,
            **arguments,
        )
        assert found is not None
        return dict(found)


def by_question(found: Mapping[str, Any], key: Callable[[Any], Any]) -> dict[str, Any]:
    """Of every sample of lm-eval's, by its question."""
    return {s["doc"]["question"]: key(s) for s in found["samples"]["own_alone"]}


def write_suite(
    folder: Path,
    task: Mapping[str, Any],
    *,
    functions: str = "",
    rows: Mapping[str, Sequence[Row]] | None = None,
    **suite: Any,
) -> OwnSuite:
    """Write a task, its data and a suite that names them.

    Args:
        folder: where to; made if it is not there.
        task: what its file says beside its name and data.
        functions: more of its functions, in Python.
        rows: documents of train and test, and of dev for few-shot examples.
        suite: keys of the suite's file.
    """
    data = folder / "data" / "own"
    data.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test", "dev"):
        lines = (rows or {}).get(split, rows_of(split))
        (data / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
    tasks = folder / "tasks"
    tasks.mkdir(exist_ok=True)
    (tasks / "functions.py").write_text(FUNCTIONS + functions)
    written = {
        "task": "own",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {s: str(data / f"{s}.jsonl") for s in ("train", "test", "dev")}
        },
        "test_split": "test",
        "num_fewshot": 0,
        **task,
    }
    text = yaml.safe_dump(written, sort_keys=False)
    (tasks / "own.yaml").write_text(re.sub(r"'(!function [^']*)'", r"\1", text))
    metric = task["metric_list"][0]["metric"]
    content = {
        "suite": "own",
        "lm_eval_tasks": {"own": None},
        "lm_eval_folder": "tasks",
        "metric": metric,
        "columns": ["question"],
        "fewshot": {"count": 0},
        "search": {"split": "train"},
        "report": {"split": "test"},
        **suite,
    }
    made = OwnSuite(folder)
    made.path.write_text(yaml.safe_dump(content))
    return made
