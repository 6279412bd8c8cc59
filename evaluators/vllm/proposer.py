"""Drafts inside vLLM's workers: what earlier candidates answered to the same prompt, then n-grams.

vLLM calls `propose` after every step with the tokens of all rows, which may have changed places; a row is known by
its length and its last tokens. What is drafted decides how soon an answer is there, never what it is.

Source: vLLM's speculative method ``custom_class``; drafts as in the fast engine (`evaluators/fast/decoding/drafts.py`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from exme.evaluators.fast.decoding import Drafter, Ngrams, Trust

from .pace import Pace

# Drafted tokens of one row at a time.
MOST = 32
_TAIL = 8

Tokens = np.ndarray[tuple[int], np.dtype[np.int32]]
# A row's length and its last tokens.
_Place = tuple[int, bytes]


def prompt_key(tokens: Sequence[int] | Tokens) -> str:
    """Name of a prompt."""
    data = np.ascontiguousarray(tokens, dtype=np.int32).tobytes()
    return hashlib.blake2b(data, digest_size=12).hexdigest()


class _Row:
    """An answer that is being decoded."""

    def __init__(self, drafter: Drafter) -> None:
        self.drafter = drafter
        self.draft: list[int] = []


class Proposer:
    """What vLLM is told to call; see the module."""

    def __init__(self, config: Any) -> None:
        self._most: int = config.speculative_config.num_speculative_tokens
        self._longest: int = config.model_config.max_model_len
        self._answers: dict[str, list[tuple[int, ...]]] = {}
        self._is_greedy = True
        self._lengths: set[int] = set()
        self._rows: dict[_Place, _Row] = {}
        self._trust, self._ngrams, self._pace = Trust(), Ngrams(), Pace()
        self._ended, self._proposing = 0.0, 0.0
        self.counts = {"steps": 0, "drafted": 0, "right": 0, "tokens": 0}

    def load_model(self, *_: Any, **__: Any) -> None:
        """There is no model to load."""

    def take(
        self, prompts: Sequence[tuple[int, str, Sequence[Sequence[int]]]], is_greedy: bool
    ) -> None:
        """The prompts of the requests to come.

        Args:
            prompts: length, key and earlier answers of each, the most recent first.
            is_greedy: whether no answer is drawn at random. Drafts would use up random numbers, and vLLM 0.32 spoils
                the logits of all rows on a CPU where some are drafted and some are drawn.
        """
        self._answers = {key: [tuple(a) for a in answers] for _, key, answers in prompts}
        self._lengths = {length for length, _, _ in prompts}
        self._is_greedy = is_greedy
        self._rows.clear()
        self._ended = 0.0
        for answers in self._answers.values():
            self._ngrams.learn_once(answers)

    def propose(
        self, sampled: Sequence[Sequence[int]], lengths: Any, tokens: Any, **_: Any
    ) -> list[list[int]]:
        """Drafts for the next step.

        Args:
            sampled: the tokens that each row has just grown by.
            lengths: of the rows, these included.
            tokens: of the rows, shape (rows, at least the longest).
        """
        start = time.perf_counter()
        rows, new = self._follow(sampled, lengths, tokens)
        self._count(rows, sampled, start, new=new)
        drafts: list[list[int]] = []
        worth = self._pace.worth
        for i, row in enumerate(rows):
            room = self._longest - int(lengths[i]) - 1
            if row is None:
                drafts.append([])
                continue
            most = min(self._most, room) if self._pace.drafts and self._is_greedy else 0
            row.draft = row.drafter.propose(most, worth) if most > 0 else []
            drafts.append(row.draft)
        self._ended = time.perf_counter()
        self._proposing = self._ended - start
        return drafts

    def _follow(
        self, sampled: Sequence[Sequence[int]], lengths: Any, tokens: Any
    ) -> tuple[list[_Row | None], bool]:
        """Every row's state, brought up to its new tokens, and whether any row is new."""
        found: list[_Row | None] = []
        after: dict[_Place, _Row] = {}
        new = False
        for i, grown in enumerate(sampled):
            if not grown:
                found.append(None)
                new = True
                continue
            length = int(lengths[i])
            before = length - len(grown)
            row = self._rows.get(_place(tokens[i], before))
            if row is None:
                row, new = self._begin(tokens[i], length, before), True
            else:
                row.drafter.observe(grown, len(grown) - 1)
                self.counts["right"] += len(grown) - 1
            after[_place(tokens[i], length)] = row
            found.append(row)
        new = new or len(after) != len(self._rows)
        self._rows = after
        return found, new

    def _begin(self, tokens: Any, length: int, before: int) -> _Row:
        """A row that is seen for the first time, or for the first time again."""
        for size in (before, *sorted(self._lengths - {before}, reverse=True)):
            if size in self._lengths and size < length:
                answers = self._answers.get(prompt_key(tokens[:size]))
                if answers is not None:
                    row = _Row(Drafter(answers, self._ngrams, self._trust))
                    row.drafter.observe(tokens[size:length].tolist(), 0)
                    return row
        return _Row(Drafter((), self._ngrams, self._trust))

    def _count(
        self,
        rows: Sequence[_Row | None],
        sampled: Sequence[Sequence[int]],
        start: float,
        *,
        new: bool,
    ) -> None:
        gained = sum(map(len, sampled))
        drafted = sum(len(row.draft) for row in rows if row is not None)
        self.counts["steps"] += 1
        self.counts["drafted"] += drafted
        self.counts["tokens"] += gained
        if self._ended and not new and gained:  # a step that also read a prompt says nothing
            seconds = start - self._ended
            self._pace.step(len(rows) + drafted, len(rows), gained, seconds, self._proposing)


def _place(tokens: Any, length: int) -> _Place:
    return length, tokens[max(0, length - _TAIL) : length].tobytes()
