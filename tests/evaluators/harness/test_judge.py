"""The judge: lm-eval's own scores, figure for figure, on the documents we chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_eval
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.harness import Judge, StockEngine
from exme.tasks.documents import MINI_DATA, SuiteDocuments, load_documents
from exme.tasks.suite import load_suite

MINI_MODELS = MINI_DATA.parent / "models"


def open_model(folder: Path) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def lm_eval_results(
    model: Any, tokenizer: Any, data: Path, documents: SuiteDocuments, split: str, batch_size: int
) -> tuple[dict[str, float], dict[str, float]]:
    """lm-eval's aggregates and per-document scores, by its own loader, on the same documents."""
    source = getattr(documents.suite, split).split
    stock = {
        "task": "gsm8k",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {s: str(data / "gsm8k" / f"{s}.jsonl") for s in ("train", "test")}
        },
        "test_split": source,
        "num_fewshot": len(documents.fewshot["gsm8k"]),
        "fewshot_config": {"sampler": "first_n"},
    }
    folder = Path(lm_eval.tasks.__file__).parent / "gsm8k"
    manager = TaskManager(include_defaults=False, include_path=str(folder))
    indices = sorted(int(d.id.split("/")[1]) for d in documents.of(split))
    results = lm_eval.simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size),
        tasks=[manager.load([{"group": "g", "task": [stock]}])["tasks"]["gsm8k"]],
        samples={"gsm8k": indices},
        bootstrap_iters=10,  # any number: the mean's standard error has a closed form
    )
    assert results is not None
    per_document = {
        f"{source}/{sample['doc_id']}": float(sample["exact_match"])
        for sample in results["samples"]["gsm8k"]
        if sample["filter"] == "strict-match"
    }
    return results["results"]["gsm8k"], per_document


@pytest.mark.parametrize("split", ["search", pytest.param("report", marks=pytest.mark.slow)])
def test_scores_on_the_mini_model_equal_lm_evals(split: str) -> None:
    documents = load_documents(load_suite("gsm8k"), "mini", search=40, report=40, seed=3)
    model, tokenizer = open_model(MINI_MODELS / "sums")
    ours = Judge(documents, split).score(StockEngine(model, tokenizer, 16)).scores
    aggregate, per_document = lm_eval_results(model, tokenizer, MINI_DATA, documents, split, 16)
    assert dict(zip(ours.documents, ours.values, strict=True)) == per_document
    assert ours.mean == aggregate["exact_match,strict-match"]
    assert ours.standard_error == pytest.approx(
        aggregate["exact_match_stderr,strict-match"], rel=1e-12
    )
    assert 0 < ours.mean < 1  # the comparison must not hold for want of answers


def test_some_documents_in_any_order_score_as_they_do_among_all() -> None:
    documents = load_documents(load_suite("gsm8k"), "mini", search=24, report=4, seed=3)
    model, tokenizer = open_model(MINI_MODELS / "sums")
    judge, engine = Judge(documents, "search"), StockEngine(model, tokenizer, 16)
    chosen = [17, 3, 22, 0, 5, 11, 9]
    some = judge.score(engine, chosen)
    whole = judge.score(engine)
    assert some.scores.documents == tuple(whole.scores.documents[i] for i in chosen)
    assert some.scores.values == tuple(whole.scores.values[i] for i in chosen)
    assert some.answers == tuple(whole.answers[i] for i in chosen)
    assert 0 < whole.scores.mean < 1
    targets, all_targets = (judge.score_targets(engine, c).scores for c in (chosen, None))
    expected = tuple(all_targets.values[i] for i in chosen)
    assert targets.values == pytest.approx(expected, rel=1e-5)  # batches are padded otherwise


@pytest.mark.slow
def test_scores_of_a_real_model_on_real_gsm8k_equal_lm_evals(shared: Path) -> None:
    documents = load_documents(
        load_suite("gsm8k"), str(shared / "data"), search=6, report=6, seed=0
    )
    model, tokenizer = open_model(shared / "models" / "stories260K")
    engine = StockEngine(model, tokenizer, 6)
    evaluation = Judge(documents, "search").score(engine)
    aggregate, per_document = lm_eval_results(
        model, tokenizer, shared / "data", documents, "search", 6
    )
    ours = evaluation.scores
    assert dict(zip(ours.documents, ours.values, strict=True)) == per_document
    assert ours.mean == aggregate["exact_match,strict-match"]
    assert all(answer for answer in evaluation.answers)


def test_scoring_twice_gives_the_same_and_tokenises_once(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = load_documents(load_suite("gsm8k"), "mini", search=8, report=8, seed=0)
    model, tokenizer = open_model(MINI_MODELS / "sums")
    engine = StockEngine(model, tokenizer, 8)
    judge = Judge(documents, "search")
    first = judge.score(engine)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(HFLM, "tok_encode", refuse)
    monkeypatch.setattr(HFLM, "tok_batch_encode", refuse)
    assert judge.score(engine).scores == first.scores


def test_other_weights_in_the_same_model_give_other_answers() -> None:
    documents = load_documents(load_suite("gsm8k"), "mini", search=32, report=8, seed=0)
    model, tokenizer = open_model(MINI_MODELS / "sums")
    engine, judge = StockEngine(model, tokenizer, 32), Judge(documents, "search")
    before = judge.score(engine).answers
    model.load_state_dict(open_model(MINI_MODELS / "products")[0].state_dict())
    assert judge.score(engine).answers != before


def test_empty_and_unextracted_answers_are_audited() -> None:
    class Mute:
        def generate_until(self, requests: list[Any]) -> list[str]:
            return ["" if i % 2 else " so it is 7" for i in range(len(requests))]

        def count_tokens(self, text: str) -> int:
            return len(text)

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            raise NotImplementedError

    documents = load_documents(load_suite("gsm8k"), "mini", search=4, report=4, seed=0)
    scores = Judge(documents, "search").score(Mute()).scores
    assert scores.audit["empty"] == (0.0, 1.0, 0.0, 1.0)
    assert scores.audit["unextracted"] == (1.0, 1.0, 1.0, 1.0)
    assert scores.mean == 0.0


def test_few_shot_examples_stand_in_every_prompt_and_are_never_scored() -> None:
    documents = load_documents(load_suite("gsm8k"), "mini", search=None, report=None, seed=0)
    judge = Judge(documents, "search")
    shown = [d.row["question"] for d in documents.fewshot["gsm8k"]]
    for prompt, document in zip(judge.prompts, judge.documents, strict=True):
        assert [prompt.index(q) for q in shown] == sorted(prompt.index(q) for q in shown)
        assert document.row["question"] not in shown
        assert prompt.endswith(f"Question: {document.row['question']}\nAnswer:")
