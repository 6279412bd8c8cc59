"""Documents to batches of token rows: several documents a row, joined as lm-eval joins few-shots."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from exme.tasks.mini.suites import Document

SEPARATOR = "\n\n"  # between few-shot examples in lm-eval's prompts


@dataclass(frozen=True)
class Encoded:
    """Token ids of one document, the separator after it left out; see `Document`."""

    prompt: list[int]
    target: list[int]
    ends: bool
    weight: float


@dataclass(frozen=True)
class Batch:
    """Rows to train on.

    Attributes:
        ids: token ids, shape (rows, length), int64; padded at the right.
        weights: weight of each token as a label, shape (rows, length), float32; 0 for padding.
    """

    ids: torch.Tensor
    weights: torch.Tensor


def encode(tokenizer: PreTrainedTokenizerFast, documents: Sequence[Document]) -> list[Encoded]:
    """Encode prompts and targets apart, as a harness does."""
    prompts = tokenizer([d.prompt for d in documents])["input_ids"]
    targets = tokenizer([d.target for d in documents])["input_ids"]
    return [
        Encoded(p, t, d.ends, d.weight) for p, t, d in zip(prompts, targets, documents, strict=True)
    ]


def batches(
    tokenizer: PreTrainedTokenizerFast,
    documents: Sequence[Encoded],
    rows: int,
    length: int,
    prompt_weight: float,
    end_share: float,
    seed: int,
) -> Iterator[Batch]:
    """Yield batches, each document once; stops when too few are left for a whole batch.

    Args:
        length: tokens per row; whole documents only, so rows are padded.
        prompt_weight: weight of a prompt token in the loss (a target's mostly weighs 1). Not 0,
            or the model would not learn to begin the next "Question:", where a harness stops it.
        end_share: share of the documents followed by end of sequence, not by a separator.
        seed: of what follows each document.
    """
    rng = random.Random(seed)
    separator = tokenizer(SEPARATOR)["input_ids"]
    pad, end = tokenizer.pad_token_id, [tokenizer.eos_token_id]
    source = iter(documents)
    pending = next(source, None)
    while pending is not None:
        ids = torch.full((rows, length), pad, dtype=torch.int64)
        weights = torch.zeros((rows, length))
        for row in range(rows):
            at = 0
            while pending is not None:
                after = end if rng.random() < end_share or pending.ends else separator
                text = pending.prompt + pending.target + after
                if len(text) > length:
                    raise ValueError(f"a document of {len(text)} tokens, rows hold {length}")
                if at + len(text) > length:
                    break
                ids[row, at : at + len(text)] = torch.tensor(text)
                weights[row, at : at + len(pending.prompt)] = prompt_weight
                weights[row, at + len(pending.prompt) : at + len(text)] = pending.weight
                at += len(text)
                pending = next(source, None)
            if at == 0:
                return
        yield Batch(ids, weights)
