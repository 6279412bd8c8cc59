"""Log-likelihoods of continuations: every shared token is computed once.

Choices of one question that are one token long share the whole computation; longer ones share the
question. Only the continuations' own logits are computed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from exme.evaluators.fast.attention import forward
from exme.evaluators.fast.memory import Budget, bytes_per_token, is_out_of_memory
from exme.evaluators.fast.nodes import forget, missing, prepare, take_places, tokens_of
from exme.evaluators.fast.profile import Profile
from exme.evaluators.fast.prompts import KVCache, Leaf, Piece, build_tree

_log = logging.getLogger(__name__)

# Normalised logits that are held at a time, in numbers.
_LOGITS_AT_ONCE = 1 << 25


@dataclass(frozen=True)
class Scored:
    """A continuation to score.

    Attributes:
        tokens: context and continuation, without the continuation's last token.
        continuation: token ids, at least one.
    """

    tokens: tuple[int, ...]
    continuation: tuple[int, ...]


def score(
    model: PreTrainedModel,
    requests: Sequence[Scored],
    budget: Budget,
    profile: Profile,
    softmax_dtype: torch.dtype | None,
) -> list[tuple[float, bool]]:
    """Log-likelihood (nats) of every continuation, and whether it is the greedy one.

    Args:
        model: the resident model, inside `shared_prefix_attention`.
        softmax_dtype: dtype to normalise in; None is the model's.

    Raises:
        RuntimeError: out of memory with a single row.
    """
    by_tokens: dict[tuple[int, ...], list[int]] = {}
    for i, request in enumerate(requests):
        by_tokens.setdefault(request.tokens, []).append(i)
    sequences = list(by_tokens)
    members = list(by_tokens.values())
    own = [
        min(len(tokens), max(len(requests[i].continuation) for i in where))
        for tokens, where in by_tokens.items()
    ]
    waiting = list(reversed(build_tree(sequences, own=own)))
    cache = _cache(model, waiting, budget)
    found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
    while waiting:
        vocabulary = model.config.get_text_config().vocab_size
        batch = _take_batch(waiting, requests, members, cache, budget, vocabulary)
        try:
            prepare(model, batch, cache, budget, profile)
            _score_batch(model, batch, requests, members, cache, profile, softmax_dtype, found)
        except RuntimeError as error:
            if not is_out_of_memory(error) or not budget.halve():
                raise
            waiting += reversed(batch)
            forget(waiting)
            cache = _cache(model, waiting, budget)
            _log.warning("out of memory: going on with %d tokens a pass", budget.pass_tokens)
            continue
        for leaf in batch:
            if leaf.node:
                leaf.node.release(cache)
    return found


def _cache(model: PreTrainedModel, leaves: Sequence[Leaf], budget: Budget) -> KVCache:
    """Room for all shared nodes, or for as many as fit."""
    return KVCache(budget.fit(tokens_of(leaves), bytes_per_token(model)))


def _wanted(leaf: Leaf, requests: Sequence[Scored], members: Sequence[Sequence[int]]) -> int:
    return max(len(requests[i].continuation) for i in members[leaf.index])


def _take_batch(
    waiting: list[Leaf],
    requests: Sequence[Scored],
    members: Sequence[Sequence[int]],
    cache: KVCache,
    budget: Budget,
    vocabulary: int,
) -> list[Leaf]:
    """The next leaves, as many as one pass takes and as have room for what they share."""
    batch: list[Leaf] = []
    tokens = logits = 0
    while waiting:
        leaf = waiting[-1]
        tokens += len(leaf.own)
        logits += _wanted(leaf, requests, members) * vocabulary
        too_much = tokens > budget.pass_tokens or logits > _LOGITS_AT_ONCE
        if batch and (too_much or missing(leaf) > cache.free):
            break
        cache.make_free(missing(leaf))
        take_places(leaf, cache)
        batch.append(waiting.pop())
    return batch


def _score_batch(
    model: PreTrainedModel,
    batch: Sequence[Leaf],
    requests: Sequence[Scored],
    members: Sequence[Sequence[int]],
    cache: KVCache,
    profile: Profile,
    softmax_dtype: torch.dtype | None,
    found: list[tuple[float, bool]],
) -> None:
    """One pass over leaves; fills `found`."""
    pieces: list[Piece] = []
    rows: list[int] = []
    targets: list[int] = []
    owners: list[tuple[int, int]] = []
    offset = 0
    for leaf in batch:
        wanted = min(_wanted(leaf, requests, members), len(leaf.own))
        pieces.append(Piece(leaf.own, leaf.start, 0, leaf.chain, -1, wanted))
        for i in members[leaf.index]:
            continuation = requests[i].continuation
            last = offset + wanted
            rows += range(last - len(continuation), last)
            targets += continuation
            owners.append((i, len(continuation)))
        offset += wanted
    with profile.clock("choices", sum(len(piece.tokens) for piece in pieces)):
        logits = forward(model, pieces, cache, keep=False)
        normalised = functional.log_softmax(logits, dim=-1, dtype=softmax_dtype)
        at = torch.tensor([rows, targets], device=logits.device)
        likelihoods = normalised[at[0], at[1]].split([size for _, size in owners])
        greedy = (logits.argmax(-1)[at[0]] == at[1]).split([size for _, size in owners])
        sums = torch.stack([part.sum().float() for part in likelihoods]).tolist()
        hits = torch.stack([part.all() for part in greedy]).tolist()
    for (i, _), total, hit in zip(owners, sums, hits, strict=True):
        found[i] = (total, hit)
