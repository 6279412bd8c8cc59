"""A small greedy scorer for choosing the recipe; a search is judged by lm-eval, not by this.

The mini suites' right answers are known to the letter, so that one scorer does for all of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedTokenizerFast

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


def accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, asked: Sequence[Question]
) -> float:
    """Return the share of questions that greedy answers solve.

    A prefix is read once and its cache repeated over its questions.

    Args:
        model: in float32 for speed on a CPU.
        tokenizer: the model's.
        asked: all are decoded together that share a prefix.
    """
    by_prefix: dict[str, list[Question]] = defaultdict(list)
    for question in asked:
        by_prefix[question.prefix].append(question)
    right = 0
    for prefix, group in by_prefix.items():
        answers = decode(model, tokenizer, prefix, [q.prompt for q in group])
        right += sum(q.right(answer) for q, answer in zip(group, answers, strict=True))
    return right / len(asked)


@torch.inference_mode()
def decode(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prefix: str, texts: Sequence[str]
) -> list[str]:
    """Return the greedy answer to each text after the prefix, up to a blank line."""
    end, separator = tokenizer.eos_token_id, tokenizer(SEPARATOR)["input_ids"]
    cache = DynamicCache(config=model.config)
    head = tokenizer(prefix)["input_ids"] if prefix else []
    if head:
        model(torch.tensor([head]), past_key_values=cache)
        cache.batch_repeat_interleave(len(texts))
    prompts = tokenizer(list(texts))["input_ids"]
    width = max(len(prompt) for prompt in prompts)
    pads = torch.tensor([width - len(prompt) for prompt in prompts])
    pad = [tokenizer.pad_token_id]
    ids = torch.tensor([pad * (width - len(prompt)) + prompt for prompt in prompts])
    places = torch.arange(width)[None] - pads[:, None]
    mask = torch.cat(
        [torch.ones(len(texts), len(head), dtype=torch.int64), (places >= 0).long()], 1
    )
    position = places.clamp(min=0) + len(head)
    said: list[list[int]] = [[] for _ in texts]
    alive = list(range(len(texts)))
    for _ in range(LONGEST):
        out = model(
            ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            logits_to_keep=1,
        )
        token = out.logits[:, -1].argmax(-1)
        keep = []
        for at, value in enumerate(token.tolist()):
            so_far = said[alive[at]]
            so_far.append(value)
            if value != end and so_far[-len(separator) :] != separator:
                keep.append(at)
        if not keep:
            break
        kept = torch.tensor(keep)
        if len(keep) < len(token):
            cache.batch_select_indices(kept)
            alive = [alive[at] for at in keep]
            mask, position, token = mask[kept], position[kept], token[kept]
        ids = token[:, None]
        mask = torch.cat([mask, torch.ones(len(keep), 1, dtype=torch.int64)], 1)
        position = position[:, -1:] + 1
    return [str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in said]


def load_weights(model: LlamaForCausalLM, weights: Weights) -> None:
    """Copy `weights` into `model` in the model's dtype."""
    model.load_state_dict({k: v.to(model.dtype) for k, v in weights.items()}, strict=False)
    model.tie_weights()
