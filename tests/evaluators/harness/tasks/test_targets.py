"""target_nll: the likelihood of reference answers, for every suite that has some."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import nltk
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exme.evaluators.harness import Chat, Judge, StockEngine
from exme.tasks.documents import SuiteDocuments, load_documents
from exme.tasks.errors import UserError
from exme.tasks.mini import MODELS
from exme.tasks.suite import load_suite

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


class Recorder:
    """Keeps the requests and finds every answer as likely as it is long in bytes."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def count_tokens(self, text: str) -> int:
        return len(text)

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        self.seen = [r.args for r in requests]
        return [(-2.0 * len(r.args[1].encode()), False) for r in requests]

    def generate_until(self, requests: list[Any]) -> list[str]:
        raise AssertionError("target_nll generates nothing")


@pytest.fixture(scope="module")
def mini() -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(MODELS / "base", dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(MODELS / "base")


def documents_of(name: str, data: str, count: int = 6) -> SuiteDocuments:
    return load_documents(load_suite(name), data, search=count, report=1, seed=0)


def test_target_nll_is_that_of_a_plain_forward_pass(mini: tuple[Any, Any]) -> None:
    model, tokenizer = mini
    judge = Judge(documents_of("gsm8k", "mini"), "search")
    scores = judge.score_targets(StockEngine(model, tokenizer, 4)).scores
    assert (scores.metric, scores.higher_is_better) == ("target_nll", False)
    for prompt, document, value in zip(judge.prompts, judge.documents, scores.values, strict=True):
        answer = f" {document.row['answer']}"
        context = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        whole = tokenizer(prompt + answer, add_special_tokens=False)["input_ids"]
        assert whole[: len(context)] == context
        with torch.inference_mode():
            logits = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        likelihood = sum(float(logits[i - 1, whole[i]]) for i in range(len(context), len(whole)))
        assert value == pytest.approx(likelihood / len(answer.encode()), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("gsm8k", lambda row: f" {row['answer']}"),
        ("math", lambda row: f" {row['solution']}"),
        ("humaneval", lambda row: row["canonical_solution"]),
        ("mbpp", lambda row: row["code"]),
        ("mmlu", lambda row: f" {'ABCD'[row['answer']]}"),
        ("bbh", lambda row: row["target"]),
    ],
)
def test_the_reference_answer_of_every_suite_is_asked_for(
    name: str, answer: Any, shared: Path
) -> None:
    documents = documents_of(name, str(shared / "data"))
    recorder = Recorder()
    try:
        judge = Judge(documents, "search")
    except UserError as error:
        pytest.skip(str(error))  # an optional package is missing
    scores = judge.score_targets(recorder).scores
    assert [args[1] for args in recorder.seen] == [answer(d.row) for d in documents.search]
    assert [args[0] for args in recorder.seen] == judge.prompts
    assert scores.values == (-2.0,) * 6


def test_a_suite_without_reference_answers_says_how_to_give_some(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(shared / "data" / "nltk_data")])
    documents = documents_of("ifeval", str(shared / "data"), 2)
    try:
        judge = Judge(documents, "search")
    except UserError as error:
        pytest.skip(str(error))
    with pytest.raises(UserError, match=r"'ifeval': no reference answer.*add that column"):
        judge.score_targets(Recorder())
    rows = [dataclasses.replace(d, row={**d.row, "reference": "fine"}) for d in documents.search]
    given = Judge(dataclasses.replace(documents, search=tuple(rows)), "search")
    assert given.score_targets(Recorder()).scores.values == (-2.0, -2.0)
    some = Judge(dataclasses.replace(documents, search=(documents.search[0], rows[1])), "search")
    recorder = Recorder()
    assert some.score_targets(recorder).scores.values == (0.0, -2.0)
    assert [answer for _, answer in recorder.seen] == ["fine"]
    with pytest.raises(UserError, match="some documents have no reference answer"):
        _ = some.references


def test_chat_settings_reach_lm_evals_prompts(mini: tuple[Any, Any]) -> None:
    model, tokenizer = mini
    engine = StockEngine(model, tokenizer, 4)
    tokenizer.chat_template = TEMPLATE
    try:
        documents = documents_of("gsm8k", "mini", 2)
        turns = Judge(documents, "search", Chat(engine.apply_chat_template, "Be brief."))
        one = Judge(documents, "search", Chat(engine.apply_chat_template, None, multiturn=False))
    finally:
        tokenizer.chat_template = None
    question = documents.search[0].row["question"]
    assert turns.prompts[0].startswith("<system>Be brief.</system><user>Question: ")
    assert turns.prompts[0].endswith(f"<user>Question: {question}\nAnswer:</user><assistant>")
    assert turns.prompts[0].count("<user>") == 5  # four examples and the question
    assert one.prompts[0].count("<user>") == 1
    plain = Judge(documents, "search", Chat(None, "Be brief."))
    assert plain.prompts[0].startswith("Be brief.")
    recorder = Recorder()
    turns.score_targets(recorder)
    assert recorder.seen[0][1] == documents.search[0].row["answer"]  # no delimiter after a template
