"""One tensor of all sources, whole or in parts, and the deltas between them.

Parts are whole rows, so that a delta in two factors can be computed for a part alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from .adapter import LowRank

Values = torch.Tensor | LowRank

# Elements of a delta that are computed at a time: scratch of 2 MB.
PART = 2**19


@dataclass(frozen=True)
class Delta:
    """A checkpoint's delta, computed part by part: it takes no memory as a whole.

    Attributes:
        base: the base's tensor.
        values: the checkpoint's, in the same shape, or its delta in factors; None where it leaves the
            tensor as it is.
    """

    base: torch.Tensor
    values: Values | None

    @property
    def shape(self) -> torch.Size:
        """Its shape, the base's."""
        return self.base.shape

    @property
    def columns(self) -> int:
        """Length of a row."""
        return row_length(self.base)

    def whole(self) -> torch.Tensor:
        """All of it, in float32 and in its shape."""
        return torch.cat([elements for _, elements in self.parts()]).reshape(self.shape)

    def parts(self, elements: int = PART) -> Iterator[tuple[slice, torch.Tensor]]:
        """Parts of about so many elements, flat, in float32, which the receiver may change."""
        for part in whole_rows(self.base, elements):
            if isinstance(self.values, LowRank):
                rows = part.start // self.columns, part.stop // self.columns
                yield part, self.values.rows(*rows).reshape(-1)
                continue
            origin = self.base.reshape(-1)[part].float()
            if self.values is None:
                yield part, torch.zeros_like(origin)
            else:
                yield part, self.values.reshape(-1)[part].float() - origin


@dataclass(frozen=True)
class Fetched:
    """One tensor of all sources, or a part of it, on one device.

    Attributes:
        base: the base's.
        checkpoints: each checkpoint's, or its delta in factors; a checkpoint that leaves the tensor
            as it is (an adapter elsewhere) has none.
    """

    base: torch.Tensor
    checkpoints: Mapping[str, Values]

    @property
    def has_factors(self) -> bool:
        """Whether a delta in factors is among them."""
        return any(isinstance(values, LowRank) for values in self.checkpoints.values())

    def to(self, device: torch.device) -> Fetched:
        """The same on another device; copies from pinned memory do not wait."""
        return Fetched(
            self.base.to(device, non_blocking=True),
            {name: _to(values, device) for name, values in self.checkpoints.items()},
        )

    def part(self, part: slice) -> Fetched:
        """A part of whole rows, flat."""
        columns = row_length(self.base)
        rows = slice(part.start // columns, part.stop // columns)
        found: dict[str, Values] = {}
        for name, values in self.checkpoints.items():
            if isinstance(values, LowRank):
                found[name] = LowRank(values.left[rows], values.right, values.scale)
            else:
                found[name] = values.reshape(-1)[part]
        return Fetched(self.base.reshape(-1)[part], found)

    def delta(self, checkpoint: str) -> Delta:
        """A checkpoint's delta."""
        return Delta(self.base, self.checkpoints.get(checkpoint))


def row_length(tensor: torch.Tensor) -> int:
    """Length of a tensor's rows, at least 1; a vector is one row."""
    return max(1, int(tensor.shape[-1])) if tensor.dim() else 1


def whole_rows(tensor: torch.Tensor, elements: int) -> Iterator[slice]:
    """Cut a tensor into parts of about so many elements, each of whole rows; at least one."""
    columns = row_length(tensor)
    step = max(1, elements // columns) * columns
    for start in range(0, max(1, tensor.numel()), step):
        yield slice(start, min(start + step, tensor.numel()))


def _to(values: Values, device: torch.device) -> Values:
    if isinstance(values, LowRank):
        return values.to(device)
    return values.to(device, non_blocking=True)
