"""The results file of an export beside the one that lm-eval writes of the same documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lm_eval
import pytest
import torch
from lm_eval.loggers import EvaluationTracker
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.harness import Chat, hf_model, lm_eval_scores
from exme.evaluators.scores import DocumentScores
from exme.search.reports.exports.lm_eval_results import lm_eval_results
from exme.tasks.documents import load_documents
from exme.tasks.mini import MODELS
from exme.tasks.suite import load_suite


def kinds(value: Any) -> Any:
    """The keys of nested objects, and the kinds of what they hold."""
    if isinstance(value, dict):
        return {key: kinds(inner) for key, inner in value.items()}
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


@pytest.mark.parametrize("name", ["gsm8k", "mmlu"])
def test_it_says_the_same_in_the_same_places(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AutoModelForCausalLM.from_pretrained(MODELS / "base", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "base")
    documents = load_documents(load_suite(name), "mini", search=1, report=6, seed=0)
    kept: dict[str, Any] = {}
    stock = lm_eval.simple_evaluate

    def evaluate(**arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = stock(**arguments | {"bootstrap_iters": 100})
        kept.update(found)
        return found

    monkeypatch.setattr(lm_eval, "simple_evaluate", evaluate)
    scored = lm_eval_scores(documents, "report", hf_model(model, tokenizer, 4), Chat())
    samples = kept.pop("samples")
    EvaluationTracker(output_path=str(tmp_path)).save_results_aggregated(kept, samples)
    (file,) = tmp_path.rglob("results_*.json")
    theirs = json.loads(file.read_text())

    ids = tuple(d.id for d in documents.report)
    values = tuple(scored.per_document[i] for i in ids)
    scores = DocumentScores(name, "report", documents.suite.metric_name, ids, values, 0)
    ours = json.loads(lm_eval_results(scores, [documents], model="best", seed=0))

    for task, told in ours["results"].items():
        assert told == pytest.approx({key: theirs["results"][task][key] for key in told})
    for key in ("group_subtasks", "versions", "n-shot", "higher_is_better"):
        assert ours[key] == theirs[key]
    for task, counts in ours["n-samples"].items():
        assert counts["effective"] == theirs["n-samples"][task]["effective"]
    # What lm-eval's run alone could know, or leaves empty without its command line.
    not_ours = {"configs", "git_hash", "pretty_env_info", "transformers_version", "upper_git_hash"}
    not_ours |= {"task_hashes", "eot_token_id", "max_length", "tokenizer_pad_token"}
    not_ours |= {"tokenizer_eos_token", "tokenizer_bos_token", "system_instruction"}
    not_ours |= {"system_instruction_sha", "fewshot_as_multiturn", "chat_template"}
    not_ours |= {"chat_template_sha", "total_evaluation_time_seconds"}
    assert set(theirs) == set(ours) | not_ours
    named = ("model_source", "model_name", "model_name_sanitized", "results", "config")
    assert kinds({k: v for k, v in ours.items() if k not in named}) == kinds(
        {k: theirs[k] for k in ours if k not in named}
    )
    assert set(ours["config"]) - {"exme"} <= set(theirs["config"])
