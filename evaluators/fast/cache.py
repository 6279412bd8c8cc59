"""Keys and values of rows' own tokens: one buffer per layer, rows side by side from slot 0.

transformers' DynamicCache copies itself with every token; this one is written in place, and rows
that have stopped are filled up by rows from the end, so that what is read is always one view.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class RowCache:
    """Buffers of shape [slots, key heads, columns, head size], made at a layer's first write.

    Args:
        slots: most rows.
        columns: tokens per row to begin with; more are made when needed.
    """

    def __init__(self, slots: int, columns: int) -> None:
        self.slots = slots
        self.columns = columns
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def wider(self, columns: int) -> int:
        """Tokens per row to make room for, when so many are needed: a quarter more than now, at least."""
        return max(columns, self.columns + self.columns // 4)

    def reserve(self, columns: int) -> None:
        """Make room for rows of this many tokens."""
        if columns > self.columns:
            self.resize(self.slots, self.wider(columns))

    def resize(self, slots: int, columns: int) -> None:
        """Other numbers of rows, of which the first stay, and of tokens per row."""
        rows, kept = min(slots, self.slots), min(columns, self.columns)
        for buffers in (self._keys, self._values):
            for layer, old in enumerate(buffers):
                new = old.new_zeros(slots, old.shape[1], columns, old.shape[3])
                new[:rows, :, :kept] = old[:rows, :, :kept]
                buffers[layer] = new
        self.slots, self.columns = slots, columns

    def write(self, layer: int, keys: Tensor, values: Tensor, slots: Tensor, at: Tensor) -> None:
        """Store a pass's keys and values.

        Args:
            layer: index of the layer; layers come in order in the first pass.
            keys: shape [key heads, tokens, head size]; values likewise.
            slots: every token's row, shape [tokens].
            at: every token's place in that row, shape [tokens].
        """
        if layer == len(self._keys):
            # Zeros, not what memory held: what is hidden by a weight of zero must not be NaN.
            self._keys.append(self._new(keys))
            self._values.append(self._new(values))
        self._keys[layer][slots, :, at] = keys.transpose(0, 1)
        self._values[layer][slots, :, at] = values.transpose(0, 1)

    def read(self, layer: int, slot: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Views of some rows' keys and values, shape [rows, key heads, length, head size]."""
        here = slice(slot, slot + rows)
        return self._keys[layer][here, :, :length], self._values[layer][here, :, :length]

    def move(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """Copy rows (their first `length` tokens) from some slots into others."""
        for buffer in (*self._keys, *self._values):
            for source, target in zip(sources, targets, strict=True):
                buffer[target, :, :length] = buffer[source, :, :length]

    def clear(self) -> None:
        """Make room for other rows; what a candidate without finite numbers left goes, too."""
        for buffer in (*self._keys, *self._values):
            buffer.zero_()

    def _new(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.slots, like.shape[0], self.columns, like.shape[2])
