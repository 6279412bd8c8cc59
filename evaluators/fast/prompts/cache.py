"""Keys and values of what rows share and of their own tokens: one buffer per layer, a stretch of it for each.

transformers' DynamicCache copies itself with every token, and its rows are all as long as the
longest; this one is written in place, and a short row beside a long one takes what a short row takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(eq=False)
class Stretch:
    """The place of a row's own tokens, or of a shared node's.

    Attributes:
        first: place of its first token.
        room: tokens that there is room for.
    """

    first: int
    room: int


class KVCache:
    """Buffers of shape [key heads, tokens, head size], made at a layer's first write.

    Args:
        tokens: of all stretches together.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._stretches: list[Stretch] = []  # by place
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    @property
    def free(self) -> int:
        """Tokens for which there is room beside the stretches that are taken."""
        return self.tokens - sum(stretch.room for stretch in self._stretches)

    def take(self, room: int) -> Stretch | None:
        """A place for so many tokens; None where there is none."""
        if room > self.free:
            return None
        found = self._gap(room)
        if found is None:
            self._close_gaps()
            found = len(self._stretches), self.tokens - self.free
        at, first = found
        taken = Stretch(first, room)
        self._stretches.insert(at, taken)
        return taken

    def _gap(self, room: int) -> tuple[int, int] | None:
        """The first gap that holds so many tokens: its place among the stretches, and its first token's."""
        ends = [0, *(s.first + s.room for s in self._stretches)]
        begins = [*(s.first for s in self._stretches), self.tokens]
        for at, (end, begin) in enumerate(zip(ends, begins, strict=True)):
            if begin - end >= room:
                return at, end
        return None

    def give(self, stretch: Stretch) -> None:
        """Nobody needs a stretch any longer."""
        self._stretches.remove(stretch)

    def widen(self, stretch: Stretch, room: int) -> bool:
        """More room for a row that is here, which may move; False where there is not so much."""
        if room - stretch.room > self.free:
            return False
        at = self._stretches.index(stretch)
        end = self._stretches[at + 1].first if stretch is not self._stretches[-1] else self.tokens
        if stretch.first + room > end:
            found = self._gap(room)
            if found is None:
                self._close_gaps(stretch, room)
            else:  # it alone moves
                to, first = found
                self._move(stretch.first, first, stretch.room)
                stretch.first = first
                self._stretches.insert(to, stretch)
                del self._stretches[at if to > at else at + 1]
        stretch.room = room
        return True

    def make_free(self, tokens: int) -> None:
        """Grow where there is no room for so many tokens; for what is longer than all that was thought to fit."""
        if tokens <= self.free:
            return
        tokens += self.tokens - self.free
        for buffers in (self._keys, self._values):
            for layer, old in enumerate(buffers):
                new = old.new_empty(old.shape[0], tokens, old.shape[2])
                new[:, : self.tokens] = old
                buffers[layer] = new
        self.tokens = tokens

    def clear(self) -> None:
        """Forget all stretches."""
        self._stretches.clear()

    def write(self, layer: int, keys: Tensor, values: Tensor, places: Tensor) -> None:
        """Store a pass's keys and values.

        Args:
            layer: index of the layer; layers come in order in the first pass.
            keys: shape [key heads, tokens, head size]; values likewise.
            places: where each token goes, shape [tokens].
        """
        if layer == len(self._keys):
            # Not filled: nothing is read that was not written, and memory is taken as it is written.
            self._keys.append(keys.new_empty(keys.shape[0], self.tokens, keys.shape[2]))
            self._values.append(values.new_empty(values.shape[0], self.tokens, values.shape[2]))
        self._keys[layer].index_copy_(1, places, keys)
        self._values[layer].index_copy_(1, places, values)

    def buffers(self, layer: int) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer, shape [key heads, tokens, head size]."""
        return self._keys[layer], self._values[layer]

    def gather(self, layer: int, places: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of some rows' keys and values, shape [rows, key heads, length, head size].

        Args:
            places: of every row's keys, shape [rows, length].
        """
        keys, values = (buffers[layer][:, places] for buffers in (self._keys, self._values))
        return keys.transpose(0, 1), values.transpose(0, 1)

    def _close_gaps(self, wider: Stretch | None = None, room: int = 0) -> None:
        """Move all stretches together, with so much room for one of them."""
        moves, end = [], 0
        for stretch in self._stretches:
            moves.append((stretch.first, end, stretch.room))
            stretch.first = end
            end += room if stretch is wider else stretch.room
        # In this order none is written over before it has moved.
        for first, to, length in moves:
            if to < first:
                self._move(first, to, length)
        for first, to, length in reversed(moves):
            if to > first:
                self._move(first, to, length)

    def _move(self, first: int, to: int, length: int) -> None:
        """Move some tokens, maybe by less than their number; no more than a layer's are copied at a time."""
        for buffer in (*self._keys, *self._values):
            buffer.narrow(1, to, length).copy_(buffer.narrow(1, first, length).clone())
