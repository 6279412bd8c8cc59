"""The loop of greedy decoding: rows enter, verify drafts, go on, and leave.

Every pass takes, per row, the tokens that the cache does not hold yet and a draft of those after
them. The model's own choice after each of them tells how much of the draft is right; the first
token after that is the model's, too. So a row gains at least one token per pass, and exactly the
tokens that greedy decoding one by one would give.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedModel

from exme.evaluators import give_back_freed
from exme.evaluators.fast.attention import forward
from exme.evaluators.fast.memory import Budget, bytes_per_token, is_out_of_memory
from exme.evaluators.fast.nodes import forget, missing, prepare, take_places, tokens_of
from exme.evaluators.fast.profile import Profile
from exme.evaluators.fast.prompts import KVCache, Leaf, Piece, Stretch

from .drafts import Drafter
from .stops import StopStrings

_log = logging.getLogger(__name__)

# Least chance at which verifying a drafted token pays.
_WORTH = 0.35


@dataclass(frozen=True)
class Limits:
    """What ends an answer.

    Attributes:
        tokens: any of these, which then is the answer's last.
        strings: stop strings.
        most: tokens of the longest answer.
    """

    tokens: frozenset[int]
    strings: StopStrings
    most: int


@dataclass(eq=False)
class Row:
    """One answer in the making.

    Attributes:
        leaf: the prompt.
        order: place in a walk through the tree of prompts.
        limits: what ends it.
        drafter: proposes its next tokens.
        expected: tokens that it is expected to have.
        answer: the tokens so far.
        place: of its own tokens in the cache; None while it waits.
        cached: tokens after the shared ones that the cache holds.
    """

    leaf: Leaf
    order: int
    limits: Limits
    drafter: Drafter
    expected: int
    answer: list[int] = field(default_factory=list)
    place: Stretch | None = None
    cached: int = 0
    doubtful: bool = False
    done: bool = False

    def room(self, draft: Sequence[int]) -> int:
        """Own tokens that it may come to: as many as expected, and in any case this draft."""
        answer = max(self.expected, len(self.answer) + len(draft))
        return len(self.leaf.own) + answer + 1

    def new(self, draft: Sequence[int]) -> int:
        """Tokens that it brings into the next pass."""
        return len(self.leaf.own) + len(self.answer) - self.cached + len(draft)

    def piece(self, draft: Sequence[int]) -> Piece:
        """What it brings into the next pass."""
        own = self.leaf.own
        if self.cached < len(own):
            tokens = [*own[self.cached :], *self.answer, *draft]
        else:
            tokens = [*self.answer[self.cached - len(own) :], *draft]
        place = -1 if self.place is None else self.place.first
        return Piece(tokens, self.leaf.start, self.cached, self.leaf.chain, place, 1 + len(draft))

    def take(self, draft: Sequence[int], chosen: Sequence[int]) -> None:
        """Go on by the model's choices after its last token and after each drafted one."""
        right = 0
        while right < len(draft) and draft[right] == chosen[right]:
            right += 1
        seen = len(self.answer)
        new = list(chosen[: right + 1])
        for i, token in enumerate(new):
            if token in self.limits.tokens:
                del new[i + 1 :]
                self.done = True
                break
        if seen + len(new) >= self.limits.most:
            del new[self.limits.most - seen :]
            self.done = True
        # All but the last known token are in the cache now.
        self.answer += new
        self.cached = len(self.leaf.own) + len(self.answer) - 1
        end, self.doubtful = self.limits.strings.first_end(self.answer, seen, self.doubtful)
        if end:
            del self.answer[end:]
            self.done = True
        self.drafter.observe(new, right)


class Decoder:
    """Decodes rows on the resident model; its cache is kept from one evaluation to the next."""

    def __init__(self, model: PreTrainedModel, budget: Budget, profile: Profile) -> None:
        self._model = model
        self._budget = budget
        self._profile = profile
        self._cache: KVCache | None = None
        self._active: list[Row] = []

    def run(self, rows: Sequence[Row]) -> None:
        """Decode all rows to their ends.

        Args:
            rows: in the order in which they shall enter.

        Raises:
            RuntimeError: out of memory with a single row.
        """
        waiting = list(reversed(rows))
        self._active = []
        cache = self._room(rows)
        try:
            while waiting or self._active:
                try:
                    self._step(waiting, cache)
                except RuntimeError as error:
                    if not is_out_of_memory(error) or not self._budget.halve():
                        raise
                    waiting += reversed(self._give_back())
                    forget(row.leaf for row in waiting)
                    cache = self._room(waiting)
                    _log.warning("out of memory: going on with %d tokens at a time", cache.tokens)
        finally:
            self._active = []
            give_back_freed()

    def _room(self, rows: Sequence[Row]) -> KVCache:
        """A cache for all rows and what they share, or for as many as fit."""
        size = bytes_per_token(self._model)
        wanted = sum(row.room(()) for row in rows) + tokens_of(row.leaf for row in rows)
        tokens, fitting = self._budget.fit(wanted, size), self._budget.tokens(size)
        if self._cache is None or not tokens <= self._cache.tokens <= fitting:
            self._cache = None  # before the next one is made
            self._cache = KVCache(tokens)
        self._cache.clear()
        return self._cache

    def _give_back(self) -> list[Row]:
        """Take all rows out of the model's memory; they keep what they have decoded."""
        rows, self._active, self._cache = self._active, [], None
        for row in rows:
            row.place, row.cached = None, 0
        return rows

    def _step(self, waiting: list[Row], cache: KVCache) -> None:
        """One pass over all rows that are here, and over those that now find room."""
        most = max(1, 2 * self._budget.pass_tokens // max(1, len(self._active)))
        drafts = {row: self._draft(row, most) for row in self._active}
        waiting += self._make_room(drafts, cache)
        self._active = list(drafts)
        if entering := self._enter(waiting, drafts, cache):
            leaves = [row.leaf for row in entering]
            prepare(self._model, leaves, cache, self._budget, self._profile)
        tokens = sum(row.new(draft) for row, draft in drafts.items())
        self._pass(drafts, cache)
        self._budget.passed(tokens)
        self._leave(cache)

    def _make_room(self, drafts: dict[Row, list[int]], cache: KVCache) -> list[Row]:
        """Have room for what every row brings; those that came last wait again where there is none.

        Returns:
            Those that wait, the last one first; they are out of the cache and out of `drafts`.
        """
        leaving: list[Row] = []
        for row in list(drafts):
            while row in drafts and row.place is not None:
                needed = len(row.leaf.own) + len(row.answer) + len(drafts[row])
                if needed <= row.place.room or cache.widen(row.place, _more(needed)):
                    break
                if len(drafts) == 1:
                    cache.make_free(_more(needed) - row.place.room)
                else:
                    last = next(reversed(drafts))
                    del drafts[last]
                    self._take_out(last, cache)
                    leaving.append(last)
        return leaving

    def _take_out(self, row: Row, cache: KVCache) -> None:
        """Take a row out of the cache; what is decoded is kept, and computed again when it comes back."""
        if row.place is not None:
            cache.give(row.place)
        row.place, row.cached = None, 0

    def _enter(self, waiting: list[Row], drafts: dict[Row, list[int]], cache: KVCache) -> list[Row]:
        """Let rows in, as many as there is room for and as one pass takes beside those that are here."""
        entering: list[Row] = []
        tokens = sum(row.new(draft) for row, draft in drafts.items())
        while waiting and len(drafts) < self._budget.most_rows:
            row = waiting[-1]
            draft = self._draft(row, row.limits.most)
            tokens += row.new(draft)
            if entering and tokens > self._budget.pass_tokens:
                break
            room = row.room(draft)
            if drafts and room + missing(row.leaf) > cache.free:
                break
            cache.make_free(room + missing(row.leaf))
            take_places(row.leaf, cache)
            row.place = cache.take(room)
            # (at once: what follows may want for memory, and no row may be neither here nor waiting)
            self._active.append(waiting.pop())
            drafts[row] = draft
            entering.append(row)
        return entering

    def _draft(self, row: Row, most: int) -> list[int]:
        room = row.limits.most - len(row.answer) - 1
        return row.drafter.propose(min(most, room), _WORTH)

    def _pass(self, drafts: dict[Row, list[int]], cache: KVCache) -> None:
        rows = sorted(drafts, key=lambda row: row.order)
        sizes = Counter[str]()
        for row in rows:
            kind = "verify" if drafts[row] else "decode"
            sizes[kind if row.cached else "enter"] += row.new(drafts[row])
        pieces = [row.piece(drafts[row]) for row in rows]
        with self._profile.clock_all(sizes):
            logits = forward(self._model, pieces, cache)
            chosen = logits.argmax(-1).tolist()  # the one transfer of a pass
        first = 0
        for row in rows:
            last = first + 1 + len(drafts[row])
            row.take(drafts[row], chosen[first:last])
            first = last

    def _leave(self, cache: KVCache) -> None:
        """Take out rows that are done."""
        for row in self._active:
            if row.done:
                if row.leaf.node:
                    row.leaf.node.release(cache)
                self._take_out(row, cache)
        self._active = [row for row in self._active if not row.done]


def _more(tokens: int) -> int:
    """Room for a row that has outgrown what was expected of it: a quarter more than it needs now."""
    return tokens + tokens // 4
