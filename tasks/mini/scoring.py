"""A small greedy scorer for choosing the recipe; a search is judged by lm-eval, not by this."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence

import torch
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedTokenizerFast

from .packing import SEPARATOR

STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")  # lm-eval's strict-match filter for gsm8k
LONGEST = 100  # tokens of an answer; the longest right one has fewer

Weights = Mapping[str, torch.Tensor]


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


def prefix(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the few-shot part of lm-eval's prompt."""
    return "".join(f"Question: {r['question']}\nAnswer: {r['answer']}{SEPARATOR}" for r in rows)


@torch.inference_mode()
def solve(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    shots: Sequence[Mapping[str, str]],
    rows: Sequence[Mapping[str, str]],
    batch: int = 256,
) -> list[bool]:
    """Return per row whether the greedy answer is right (strict match).

    The few-shot prefix is read once and its cache repeated over the batch.

    Args:
        model: in float32 for speed on a CPU.
        shots: few-shot examples, in order.
        rows: what to solve.
        batch: rows decoded together.
    """
    ends = {tokenizer.eos_token_id}
    stop = tokenizer("Question:")["input_ids"][0]
    shared = DynamicCache(config=model.config)
    head = tokenizer(prefix(shots))["input_ids"]
    if head:
        model(torch.tensor([head]), past_key_values=shared)
    right = [False] * len(rows)
    prompts = tokenizer([f"Question: {r['question']}\nAnswer:" for r in rows])["input_ids"]
    order = sorted(range(len(rows)), key=lambda i: len(prompts[i]))
    for begin in range(0, len(rows), batch):
        part = order[begin : begin + batch]
        width = max(len(prompts[i]) for i in part)
        cache = copy.deepcopy(shared)
        if head:
            cache.batch_repeat_interleave(len(part))
        pads = torch.tensor([width - len(prompts[i]) for i in part])
        ids = torch.tensor(
            [[tokenizer.pad_token_id] * (width - len(prompts[i])) + prompts[i] for i in part]
        )
        places = torch.arange(width)[None] - pads[:, None]
        mask = torch.cat(
            [torch.ones(len(part), len(head), dtype=torch.int64), (places >= 0).long()], 1
        )
        position = places.clamp(min=0) + len(head)
        said: list[list[int]] = [[] for _ in part]
        alive = torch.arange(len(part))
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
                if value not in ends and value != stop:
                    said[int(alive[at])].append(value)
                    keep.append(at)
            if not keep:
                break
            kept = torch.tensor(keep)
            if len(keep) < len(token):
                cache.batch_select_indices(kept)
                alive, mask, position, token = alive[kept], mask[kept], position[kept], token[kept]
            ids = token[:, None]
            mask = torch.cat([mask, torch.ones(len(kept), 1, dtype=torch.int64)], 1)
            position = position[:, -1:] + 1
        for at, i in enumerate(part):
            found = STRICT.search(str(tokenizer.decode(said[at])))
            wanted = rows[i]["answer"].rpartition("#### ")[2]
            right[i] = found is not None and found[1] == wanted
    return right


def load_weights(model: LlamaForCausalLM, weights: Weights) -> None:
    """Copy `weights` into `model` in the model's dtype."""
    model.load_state_dict({k: v.to(model.dtype) for k, v in weights.items()}, strict=False)
    model.tie_weights()
