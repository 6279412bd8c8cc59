"""Suites with real data: every document is scored as lm-eval scores it, whatever the answers."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import lm_eval.evaluator
import nltk
import pytest
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from exme.evaluators.harness import Judge
from exme.evaluators.harness.tasks.task import build_task, task_manager
from exme.tasks.documents import SuiteDocuments, load_documents, reads
from exme.tasks.errors import UserError
from exme.tasks.suite import load_suite

COUNT = 40
SUITES = ["gsm8k", "math", "humaneval", "mbpp", "mmlu", "bbh", "ifeval"]


class PlainCodeEval:
    """pass@1 by running each program in a plain process: the programs here are known."""

    def compute(
        self, references: list[str], predictions: list[list[str]], k: list[int]
    ) -> tuple[dict[str, float], None]:
        programs = [f"{p[0]}\n{r}" for p, r in zip(predictions, references, strict=True)]
        command = [sys.executable, "-I", "-c"]
        codes = [
            subprocess.run([*command, p], check=False, capture_output=True).returncode
            for p in programs
        ]
        return {"pass@1": codes.count(0) / len(codes)}, None


class Parrot(LM):  # type: ignore[misc]  # lm_eval is not typed
    """Answers from the prompt alone, now and then with one of the given right answers."""

    def __init__(self, right: dict[str, str] | None = None) -> None:
        super().__init__()
        self.right = right or {}

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        return [self._answer(request.args[0]) for request in requests]

    def _answer(self, prompt: str) -> str:
        draw = hashlib.sha256(prompt.encode()).digest()[0]
        known = [answer for question, answer in self.right.items() if question in prompt]
        return known[-1] if known and draw % 2 else f"So it is {draw}.\n#### {draw}"

    def loglikelihood(
        self, requests: list[Any], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        digests = [hashlib.sha256(str(r.args).encode()).digest() for r in requests]
        return [(-float(digest[0] * 256 + digest[1]), False) for digest in digests]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        raise NotImplementedError

    def count_tokens(self, text: str) -> int:
        return len(text.split())


def right_answers(documents: SuiteDocuments) -> dict[str, str]:
    """Answers that lm-eval should accept, by the question that stands in the prompt."""
    rows = [d.row for d in documents.search]
    make = {
        "gsm8k": lambda r: (r["question"], f" {r['answer']}"),
        "math": lambda r: (
            r["problem"],
            "Final Answer: The final answer is $"
            + r["solution"].split("\\boxed{")[-1].rsplit("}", 1)[0]
            + "$. I hope it is correct.",
        ),
        "bbh": lambda r: (r["input"], f"So the answer is {r['target']}."),
        "ifeval": lambda r: (r["prompt"], "plain words without that sign"),
        "humaneval": lambda r: (r["prompt"], r["canonical_solution"]),
        "mbpp": lambda r: (r["text"], r["code"]),
    }.get(documents.suite.suite)
    return dict(make(row) for row in rows) if make else {}  # type: ignore[no-untyped-call]


def lm_eval_scores(
    documents: SuiteDocuments, model: LM, data: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """lm-eval's aggregate per task and score per document, from its own loading of the files."""
    suite = documents.suite
    manager = TaskManager()
    tasks: dict[str, Any] = {}
    samples: dict[str, list[int]] = {}
    prefixes: dict[str, str] = {}
    for task, subset in suite.lm_eval_tasks.items():
        ids = [d.id for d in documents.search if d.task == task]
        if ids:
            prefixes[task] = ids[0].rsplit("/", 1)[0]
            split = prefixes[task].rsplit("/", 1)[-1]
            tasks[task] = stock_task(manager, documents, task, subset, split, data)
            tasks[task].set_fewshot_seed(seed=0)
            samples[task] = sorted(int(i.rsplit("/", 1)[1]) for i in ids)
    loaded = {"tasks": tasks, "groups": {}, "group_map": {}}
    results = lm_eval.evaluator.evaluate(
        model, loaded, samples=samples, bootstrap_iters=0, confirm_run_unsafe_code=True
    )
    assert results is not None
    per_document = {
        f"{prefixes[task]}/{sample['doc_id']}": float(sample[suite.metric])
        for task, found in results["samples"].items()
        for sample in found
        if sample["filter"] == suite.filter
    }
    return {t: results["results"][t][suite.metric_name] for t in tasks}, per_document


def stock_task(
    manager: TaskManager,
    documents: SuiteDocuments,
    task: str,
    subset: str | None,
    split: str,
    data: Path,
) -> Any:
    folder = data / (documents.suite.folder or documents.suite.suite)

    def file(name: str) -> str:
        turned = folder / name / f"{subset}.jsonl"
        plain = folder / (subset or "") / f"{name}.jsonl"
        return str(turned if subset and turned.is_file() else plain)

    fewshot = documents.suite.fewshot
    files = {split: file(split)}
    overrides: dict[str, Any] = {
        "task": task,
        "dataset_path": "json",
        "dataset_name": None,
        "training_split": None,
        "validation_split": None,
        "test_split": split,
    }
    if fewshot.split is not None:
        files[fewshot.split] = file(fewshot.split)
        overrides["fewshot_split"] = fewshot.split
        overrides["num_fewshot"] = fewshot.count
        overrides["fewshot_config"] = {"sampler": "first_n"}
    overrides["dataset_kwargs"] = {"data_files": files}
    return manager.load([{"group": "stock", "task": [overrides]}])["tasks"][task]


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
def test_forty_real_documents_score_as_lm_eval_scores_them(
    name: str, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(shared / "data" / "nltk_data")])
    documents = load_documents(
        load_suite(name), str(shared / "data"), search=COUNT, report=COUNT, seed=0
    )
    model = Parrot(right_answers(documents))
    try:
        ours = Judge(documents, "search").score(model).scores
    except UserError as error:
        pytest.skip(str(error))  # an optional package is missing
    monkeypatch.setattr("evaluate.load", lambda name: PlainCodeEval())
    aggregates, per_document = lm_eval_scores(documents, model, shared / "data")
    assert dict(zip(ours.documents, ours.values, strict=True)) == per_document
    assert 0 < ours.mean < 1  # the comparison must not hold for want of right answers
    by_task: dict[str, list[float]] = {task: [] for task in aggregates}
    for document, value in zip(documents.search, ours.values, strict=True):
        by_task[document.task].append(value)
    for task, values in by_task.items():
        assert sum(values) / len(values) == pytest.approx(aggregates[task], abs=1e-12)


@pytest.mark.parametrize("name", sorted(set(SUITES) - {"gsm8k"}))
def test_search_and_report_documents_of_real_data_are_disjoint(name: str, shared: Path) -> None:
    documents = load_documents(
        load_suite(name), str(shared / "data"), search=None, report=None, seed=0
    )
    examples = {d.id for task in documents.fewshot.values() for d in task}
    search, report = ({d.id for d in documents.of(s)} for s in ("search", "report"))
    assert not search & report
    assert not examples & (search | report)


@pytest.mark.parametrize("name", ["math", "mbpp", "bbh"])
def test_examples_that_the_task_brings_are_never_scored(name: str, shared: Path) -> None:
    suite = load_suite(name)
    documents = load_documents(suite, str(shared / "data"), search=None, report=None, seed=0)
    column = suite.columns[0]
    scored = {reads(d.row[column]) for d in documents.search + documents.report}
    manager = task_manager(suite)
    shown = []
    for task in suite.lm_eval_tasks:
        rows = [d for d in documents.search if d.task == task][:1]
        examples = list(build_task(manager, documents, task, rows).task.fewshot_docs())
        assert len(examples) >= suite.fewshot.count
        shown += [reads(example[column]) for example in examples]
    assert not scored & set(shown)
    if name == "math":  # on the hub they are in the train split
        assert {reads(question) for question in suite.fewshot.own} == set(shown)


def test_a_suite_without_a_mini_form_says_so() -> None:
    suite = load_suite("bbh").model_copy(update={"mini": None})
    with pytest.raises(UserError, match="suite 'bbh' has no mini form"):
        load_documents(suite, "mini", search=1, report=1, seed=0)
