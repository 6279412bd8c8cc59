"""A small greedy scorer for choosing the recipe; a search is judged by lm-eval, not by this.

The mini suites' right answers are known to the letter, so that one scorer does for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from exme.tasks import Document, SuiteDocuments, load_documents, load_suite
from exme.tasks.mini.suites import GENERATED, Exercise

from .packing import SEPARATOR

STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")  # lm-eval's strict-match filter for gsm8k
LONGEST = 100  # tokens of an answer; the longest right one has fewer

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Question:
    """A search document as the scorer sees it.

    Attributes:
        prefix: description and few-shot examples, as lm-eval writes them; shared by many.
        prompt: what follows.
        right: whether an answer is right.
    """

    prefix: str
    prompt: str
    right: Callable[[str], bool]


def combine(
    base: Weights, checkpoints: Sequence[Weights], c: Sequence[float]
) -> dict[str, torch.Tensor]:
    """Return base + sum_i c_i * (checkpoint_i - base), in float32, rounded once to base's dtype."""
    result = {}
    for name, tensor in base.items():
        start = tensor.float()
        total = start.clone()
        for checkpoint, weight in zip(checkpoints, c, strict=True):
            total += weight * (checkpoint[name].float() - start)
        result[name] = total.to(tensor.dtype)
    return result


def questions(name: str, count: int) -> list[Question]:
    """Return the first search documents of a mini suite that a study of seed 0 searches on."""
    documents = load_documents(load_suite(name), "mini", search=count, report=None, seed=0)
    if name == "gsm8k":
        return _word_problems(documents)
    exercises = GENERATED[documents.suite.folder or name]()

    def exercise(document: Document) -> Exercise:
        path, _, place = document.id.rpartition("/")
        return exercises[path][int(place)]

    prefixes = {}
    for task, examples in documents.fewshot.items():
        shown = [exercise(example) for example in examples]
        texts = [e.prompt + e.answer() + SEPARATOR for e in shown]
        prefixes[task] = "".join([e.description for e in shown[:1]] + texts)
    found = []
    for document in documents.search:
        asked = exercise(document)

        def right(answer: str, wanted: str = asked.answer().strip()) -> bool:
            return answer.strip() == wanted

        found.append(Question(prefixes[document.task], asked.prompt, right))
    return found


def _word_problems(documents: SuiteDocuments) -> list[Question]:
    def ask(document: Document) -> str:
        return f"Question: {document.row['question']}\nAnswer:"

    prefix = "".join(
        f"{ask(example)} {example.row['answer']}{SEPARATOR}"
        for example in documents.fewshot["gsm8k"]
    )
    found = []
    for document in documents.search:

        def right(answer: str, row: Mapping[str, str] = document.row) -> bool:
            said = STRICT.search(answer)
            return said is not None and said[1] == row["answer"].rpartition("#### ")[2]

        found.append(Question(prefix, ask(document), right))
    return found


@torch.inference_mode()
def accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, asked: Sequence[Question]
) -> float:
    """Return the share of questions that greedy answers, up to a blank line, solve.

    Args:
        model: in float32 for speed on a CPU.
        asked: all are decoded together.
    """
    pairs = zip(
        tokenizer([q.prefix for q in asked])["input_ids"],
        tokenizer([q.prompt for q in asked])["input_ids"],
        strict=True,
    )
    given = tokenizer.pad({"input_ids": [a + b for a, b in pairs]}, return_tensors="pt")
    said = model.generate(  # type: ignore[misc]  # transformers types its own self as a mixin's
        **given,
        max_new_tokens=LONGEST,
        do_sample=False,
        stop_strings=SEPARATOR,
        tokenizer=tokenizer,
    )
    new = said[:, given["input_ids"].shape[1] :]
    answers = tokenizer.batch_decode(new, skip_special_tokens=True)
    return sum(q.right(answer) for q, answer in zip(asked, answers, strict=True)) / len(asked)


def load_weights(model: LlamaForCausalLM, weights: Weights) -> None:
    """Copy `weights` into `model` in the model's dtype."""
    model.load_state_dict({k: v.to(model.dtype) for k, v in weights.items()}, strict=False)
    model.tie_weights()
