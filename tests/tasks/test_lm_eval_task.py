"""Any of lm-eval's tasks by its name: splits, metric and examples by rule, prompts and scores lm-eval's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lm_eval
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.harness import Judge, StockEngine, settle, task_order
from exme.search.opening.opening import describe_suite
from exme.search.study.study_file import StudyFile
from exme.search.study.suites import pick_suites, tasks_table
from exme.tasks.documents import SuiteDocuments, load_documents
from exme.tasks.errors import UserError
from exme.tasks.lm_eval_task import members_of_tag, task_names
from exme.tasks.suite import load_suite
from tests.helpers.models.own_tasks import CHOICE, write_suite
from tests.helpers.models.small_models import make_model


def arc(split: str, i: int) -> dict[str, Any]:
    letters = ["A", "B", "C", "D"]
    return {
        "question": f"w{i} w{len(split)} w{i * 7 % 44}",
        "choices": {"text": [f"w{i + k}" for k in range(4)], "label": letters},
        "answerKey": letters[i % 4],
    }


def hellaswag(split: str, i: int) -> dict[str, Any]:
    return {
        "activity_label": f"w{len(split)}",
        "ctx_a": f"w{i} [title] w{i * 7 % 44}",
        "ctx_b": f"w{i + 1}",
        "endings": [f"w{i + k} w3" for k in range(4)],
        "label": str(i % 4),
    }


ROWS = {"arc_challenge": arc, "hellaswag": hellaswag}


def write_data(folder: Path, name: str, count: int = 12) -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation", "test"):
        rows = [ROWS[name](split, i) for i in range(count)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name / f"{split}.jsonl").write_text(text)
    return folder


def documents_of(name: str, data: Path) -> SuiteDocuments:
    suite = load_suite(name)
    order = task_order(suite)
    found = load_documents(suite, str(data), search=6, report=6, seed=0, order=order)
    return settle(found)


@pytest.mark.parametrize(
    ("name", "splits", "metric", "shots"),
    [
        ("arc_challenge", ("validation", "test"), "acc", (0, None)),
        ("hellaswag", ("train", "validation"), "acc", (0, None)),
        ("truthfulqa_mc1", ("validation", "validation"), "acc", (0, None)),
        ("gsm8k_platinum", ("test", "test"), "exact_match", (5, "test")),
        ("mmlu_pro_math", ("test", "test"), "exact_match", (5, "validation")),
    ],
)
def test_splits_metric_and_examples_are_chosen_by_rule(
    name: str, splits: tuple[str, str], metric: str, shots: tuple[int, str | None]
) -> None:
    suite = load_suite(name)
    assert (suite.search.split, suite.report.split) == splits
    assert suite.metric == metric
    assert (suite.fewshot.count, suite.fewshot.split) == shots
    assert suite.of_lm_eval
    assert not load_suite("gsm8k").of_lm_eval  # a name of ours is ours


@pytest.mark.parametrize("name", ["arc_challenge", "hellaswag"])
def test_prompts_and_scores_are_lm_evals(name: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", name)
    documents = documents_of(name, data)
    base = make_model(tmp_path / "base", dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    judge = Judge(documents, "search")
    ours = judge.score(StockEngine(model, tokenizer, 4)).scores
    source = documents.suite.search.split
    folder = Path(lm_eval.tasks.__file__).parent / name.partition("_")[0]
    manager = TaskManager(include_defaults=False, include_path=str(folder))
    file = str(data / name / f"{source}.jsonl")
    own = {
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {source: file}},
        "training_split": None,
        "validation_split": None,
        "test_split": source,
    }
    task = manager.load([{"group": "g", "task": [own]}])["tasks"][name]
    theirs = lm_eval.simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1),
        tasks=[task],
        task_manager=manager,
        bootstrap_iters=0,
    )
    assert theirs is not None
    samples = {f"{source}/{s['doc_id']}": s for s in theirs["samples"][name]}
    for identifier, prompt, value in zip(ours.documents, judge.prompts, ours.values, strict=True):
        assert samples[identifier]["arguments"][0][0] == prompt
        assert samples[identifier]["acc"] == value
    assert ours.metric == "acc,none"


def test_a_search_takes_any_task_by_its_name_and_says_how(tmp_path: Path) -> None:
    study = StudyFile.model_validate(
        {"base": "b", "checkpoints": {"a": "a", "c": "c"}, "suites": ["gsm8k", "arc_challenge"]}
    )
    picked = pick_suites(study, "arc_challenge,hellaswag", "study.yaml")
    assert [suite.suite for suite in picked] == ["arc_challenge", "hellaswag"]
    with pytest.raises(UserError, match=r"'helaswag' is not in suites.*did you mean 'hellaswag'"):
        pick_suites(study, "helaswag", "study.yaml")
    documents = documents_of("arc_challenge", write_data(tmp_path, "arc_challenge"))

    assert describe_suite(documents.suite) == (
        "Suite 'arc_challenge': lm-eval's task, search on validation, report on test, no examples, "
        "acc (higher is better)."
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("leaderboard", r"is a group of .*leaderboard_bbh"),
        ("ai2_arc", r"is a tag of lm-eval's tasks; name some of them: arc_challenge, arc_easy$"),
        ("squadv2", r"is a class of Python"),
    ],
)
def test_what_is_no_one_task_of_data_is_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(UserError, match=f"'{name}'.* {said}"):
        load_suite(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["leaderboard", "ai2_arc", "squadv2"])
def test_it_is_refused_in_a_suite_file_too(name: str, tmp_path: Path) -> None:
    own = write_suite(tmp_path, CHOICE, lm_eval_tasks={name: None})
    with pytest.raises(UserError, match=f"^suite 'own': .*'{name}'.* a (group|class) "):
        own.documents()


@pytest.mark.slow
def test_names_and_tags_are_lm_evals_own() -> None:
    manager = TaskManager()
    assert set(task_names()) == set(manager.all_subtasks)
    for tag in manager.all_tags:
        assert set(members_of_tag(tag)) == manager.task_index[tag].tags
    for name in (
        "longproc_countdown_0.5k",
        "ceval-valid_high_school_chemistry",
        "egymmlu_arabic_language_(general)",
    ):
        assert load_suite(name).suite == name


def test_tasks_are_found_by_a_part_of_their_names() -> None:
    table = tasks_table("arc_challenge")
    (names, metrics, *_) = (list(column.cells) for column in table.columns)
    assert dict(zip(names, metrics, strict=True))["arc_challenge"] == "acc"
    assert list(tasks_table("arc_eas?").columns[0].cells) == ["arc_easy"]
    with pytest.raises(UserError, match="no task of lm-eval's is named helaswag; did you mean"):
        tasks_table("helaswag")
    assert len(task_names()) > 5000
