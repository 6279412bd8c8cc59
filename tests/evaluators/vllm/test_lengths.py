"""Prompts that a sequence has no room for: refused by the key, or told where the model itself has no more room."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoTokenizer

from exme.evaluators.harness import Judge
from exme.evaluators.vllm import VllmSettings, check_lengths
from exme.tasks.documents import MINI_DATA, load_documents
from exme.tasks.errors import UserError
from exme.tasks.suite import load_suite

FOLDER = MINI_DATA.parent / "models/base"


class Reference:
    """What is asked of lm-eval's model: tokens of a text."""

    tokenizer = AutoTokenizer.from_pretrained(FOLDER)

    def tok_encode(self, string: str) -> Any:
        return self.tokenizer(string)["input_ids"]


def judge(suite: str) -> Judge:
    return Judge(load_documents(load_suite(suite), "mini", search=12, report=1, seed=0), "search")


def lengths(asked: Judge) -> dict[str, int]:
    """Tokens of every document's longest prompt with its answer, or its choice and the one that vLLM generates."""
    answer = asked.longest_answer
    found = {}
    for document, requests in zip(asked.documents, asked.requests, strict=True):
        texts = [r.args[0] if answer else r.args[0] + r.args[1] for r in requests]
        tokens = [len(Reference.tokenizer(text)["input_ids"]) for text in texts]
        found[document.id] = max(tokens) + (answer or 1)
    return found


@pytest.mark.parametrize("suite", ["gsm8k", "mmlu"])
def test_the_longest_document_decides(suite: str) -> None:
    asked = judge(suite)
    taken = lengths(asked)
    longest = max(taken, key=taken.__getitem__)
    config = {"max_position_embeddings": 2 * taken[longest]}
    room = VllmSettings(max_model_len=taken[longest])
    assert check_lengths(asked, Reference(), config, room) == ""
    short = VllmSettings(max_model_len=taken[longest] - 1)
    said = (
        rf"^vllm.max_model_len: {taken[longest] - 1} \(set\), and document {longest} of suite '{suite}' takes up to "
        rf"{taken[longest]} tokens with its answer; set it to {taken[longest]} or more$"
    )
    with pytest.raises(UserError, match=said):
        check_lengths(asked, Reference(), config, short)


def test_what_the_model_has_no_positions_for_is_told() -> None:
    asked = judge("gsm8k")
    taken = sorted(lengths(asked).values())
    limit = taken[-1] - 1
    long = sum(t > limit for t in taken)
    told = check_lengths(asked, Reference(), {"max_position_embeddings": limit}, VllmSettings())
    assert told.startswith(
        f"Suite 'gsm8k': with their answers {long} of 12 search documents are longer than the model's {limit} positions"
    )
