"""The loop of greedy decoding: rows enter, verify drafts, go on, and leave.

Every pass takes, per row, the tokens that the cache does not hold yet and a draft of those after
them. The model's own choice after each of them tells how much of the draft is right; the first
token after that is the model's, too. So a row gains at least one token per pass, and exactly the
tokens that greedy decoding one by one would give.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from .cache import RowCache
from .drafts import Drafter
from .memory import Budget, bytes_per_token, is_out_of_memory
from .nodes import prepare
from .passes import Piece, forward
from .prefix_tree import Leaf
from .profile import Profile
from .stops import StopStrings

_log = logging.getLogger(__name__)


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
        slot: its row in the cache; -1 while it waits.
        cached: tokens after the shared ones that the cache holds.
    """

    leaf: Leaf
    order: int
    limits: Limits
    drafter: Drafter
    expected: int
    answer: list[int] = field(default_factory=list)
    slot: int = -1
    cached: int = 0
    doubtful: bool = False
    done: bool = False

    def piece(self, draft: Sequence[int]) -> Piece:
        """What it brings into the next pass."""
        own = self.leaf.own
        if self.cached < len(own):
            tokens = [*own[self.cached :], *self.answer, *draft]
        else:
            tokens = [*self.answer[self.cached - len(own) :], *draft]
        return Piece(
            tokens, self.leaf.start, self.cached, self.leaf.chain, self.slot, 1 + len(draft)
        )

    def wait(self) -> None:
        """Leave the cache; what is decoded is kept, and computed again when it comes back."""
        self.slot, self.cached = -1, 0

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
    """Decodes rows on the resident model; its cache is kept from one evaluation to the next.

    Args:
        model: the resident model.
        budget: how much fits.
        profile: filled as it goes.
        worth: least chance at which verifying a drafted token pays.
    """

    def __init__(
        self, model: PreTrainedModel, budget: Budget, profile: Profile, worth: float
    ) -> None:
        self._model = model
        self._budget = budget
        self._profile = profile
        self._worth = worth
        self._cache: RowCache | None = None
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
                    may_enter = waiting and len(self._active) <= cache.slots * 3 // 4
                    if not (may_enter and self._enter(waiting, cache)):
                        self._go_on(waiting, cache)
                except RuntimeError as error:
                    if not is_out_of_memory(error) or not self._budget.halve():
                        raise
                    waiting += reversed(self._give_back())
                    cache = self._room(waiting)
                    _log.warning("out of memory: going on with %d rows at a time", cache.slots)
        finally:
            self._active = []

    def _room(self, rows: Sequence[Row]) -> RowCache:
        """A cache for as many rows as fit, were they as long as expected."""
        longest = max((len(r.leaf.own) + max(r.expected, len(r.answer)) for r in rows), default=1)
        slots = min(self._fitting(longest), max(1, len(rows)))
        cache = self._cache
        if cache is None or cache.slots < slots or cache.columns > 2 * longest:
            self._cache = cache = None  # before the next one is made
            self._cache = cache = RowCache(slots, longest)
        else:
            cache.clear()
        return cache

    def _fitting(self, columns: int) -> int:
        """Rows of so many tokens for which there is memory."""
        return self._budget.rows(bytes_per_token(self._model), columns)

    def _give_back(self) -> list[Row]:
        """Take all rows out of the model's memory; they keep what they have decoded."""
        rows, self._active, self._cache = self._active, [], None
        for row in rows:
            row.wait()
            for node in row.leaf.chain:
                node.keys = node.values = None
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        return rows

    def _enter(self, waiting: list[Row], cache: RowCache) -> bool:
        """Let rows in, as many as one pass takes, and tell whether there was room for any.

        Their prompts and drafts are one pass.
        """
        entering: list[Row] = []
        drafts: dict[Row, list[int]] = {}
        tokens = 0
        first = len(self._active)
        try:
            columns = cache.columns
            while waiting and (held := first + len(entering)) < cache.slots:
                row = waiting[-1]
                draft = self._draft(row, row.limits.most)
                size = len(row.leaf.own) + len(row.answer) + len(draft)
                if entering and tokens + size > self._budget.pass_tokens:
                    break
                wider = max(columns, size)
                # Longer rows are fewer rows, for those that come after the longest, too.
                if held and wider > cache.columns and held >= self._fitting(cache.wider(wider)):
                    break
                columns = wider
                waiting.pop()
                row.slot = first + len(entering)
                drafts[row] = draft
                entering.append(row)
                tokens += size
            if not entering:
                return False
            self._widen(cache, columns)
            prepare(self._model, [r.leaf for r in entering], self._budget, self._profile)
            self._pass("enter", entering, drafts)
        except RuntimeError:
            waiting += reversed(entering)
            for row in entering:
                row.wait()
            raise
        self._active += entering
        self._leave()
        return True

    def _widen(self, cache: RowCache, columns: int) -> None:
        """Make the cache's rows longer, and fewer where memory is for no more."""
        if columns > cache.columns:
            columns = cache.wider(columns)
            cache.resize(min(cache.slots, self._fitting(columns)), columns)

    def _go_on(self, waiting: list[Row], cache: RowCache) -> None:
        """One pass over all active rows; those that find no room any more wait again."""
        most = max(1, 2 * self._budget.pass_tokens // len(self._active))
        drafts = {row: self._draft(row, most) for row in self._active}
        sizes = [len(r.leaf.own) + len(r.answer) + len(d) for r, d in drafts.items()]
        self._widen(cache, max(sizes))
        leaving = [row for row in self._active if row.slot >= cache.slots]
        for row in leaving:
            row.wait()
            del drafts[row]
        waiting += leaving
        self._active = list(drafts)
        kind = "verify" if any(drafts.values()) else "decode"
        self._pass(kind, self._active, drafts)
        self._leave()

    def _draft(self, row: Row, most: int) -> list[int]:
        room = row.limits.most - len(row.answer) - 1
        return row.drafter.propose(min(most, room), self._worth)

    def _pass(self, kind: str, rows: Sequence[Row], drafts: dict[Row, list[int]]) -> None:
        rows = sorted(rows, key=lambda row: row.order)
        pieces = [row.piece(drafts[row]) for row in rows]
        with self._profile.clock(kind, sum(len(piece.tokens) for piece in pieces)):
            logits, _ = forward(self._model, pieces, self._cache)
            chosen = logits.argmax(-1).tolist()  # the one transfer of a pass
        first = 0
        for row in rows:
            last = first + 1 + len(drafts[row])
            row.take(drafts[row], chosen[first:last])
            first = last

    def _leave(self) -> None:
        """Take out rows that are done; rows from the end take their slots."""
        staying = sorted((r for r in self._active if not r.done), key=lambda row: row.slot)
        for row in self._active:
            if row.done and row.leaf.node:
                row.leaf.node.release()
        used = {row.slot for row in staying if row.slot < len(staying)}
        free = [slot for slot in range(len(staying)) if slot not in used]
        moving = [row for row in staying if row.slot >= len(staying)]
        if moving and self._cache is not None:
            length = max(row.cached for row in moving)
            self._cache.move([row.slot for row in moving], free, length)
        for row, slot in zip(moving, free, strict=True):
            row.slot = slot
        self._active = staying
