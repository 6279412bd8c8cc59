"""Candidates that are made tensor by tensor from the files and loaded by the model's own loading.

The way for every method, source and model: packed weights of a CPU, adapters, directions, draws by an element's
place, parameters that are computed from what is read. Every worker makes whole tensors and keeps its part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch

from exme.search.merging import Merger
from exme.search.merging.methods.method import Merge
from exme.search.merging.sources import Mapped, Sources

from .in_place import tensors_of


class Loaded:
    """Candidates from sources that stay on the disk.

    Args:
        sources: base and checkpoints.
        mapped: the same, mapped.
        dtype: what a candidate is rounded to.
    """

    def __init__(self, sources: Sources, mapped: Mapped, dtype: torch.dtype) -> None:
        self._specs, self._mapped, self._dtype = tensors_of(sources.base), mapped, dtype

    def write(
        self,
        merger: Merger,
        merges: Mapping[str, Merge],
        load: Callable[[Iterator[tuple[str, torch.Tensor]]], object],
    ) -> None:
        """Make a candidate and load it.

        Args:
            merger: of the same sources.
            merges: how each floating-point tensor is made.
            load: into the engine's parameters.

        Raises:
            FloatingPointError: a weight is not finite; names the tensor.
        """
        load((name, self._make(name, merger, merges.get(name))) for name in self._specs)

    def _make(self, name: str, merger: Merger, merge: Merge | None) -> torch.Tensor:
        cpu = torch.device("cpu")
        if merge is None:
            return self._mapped.fetch(name, cpu).base
        out = torch.empty(self._specs[name].shape, dtype=self._dtype, device=cpu)
        for _, part, found in self._mapped.stream([(name, cpu)]):
            if not merger.write(name, part, merge, found, out.view(-1)[part]):
                raise FloatingPointError(f"tensor '{name}' of the candidate is not finite")
        return out
