"""A candidate written tensor by tensor, each forgotten before the next: no live model, no study."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from exme.search.merging import WORTH_COMPILING, Candidate, Merger, digest_of
from exme.search.merging.sources import (
    TORCH_NAMES,
    Checkpoint,
    Mapped,
    Sources,
    split,
    write_shards,
)


def write_stream(
    folder: Path,
    sources: Sources,
    candidate: Candidate,
    *,
    max_shard_bytes: int,
) -> dict[str, str]:
    """Write a candidate's weights, made from sources that stay on the disk.

    Args:
        folder: an existing folder.
        max_shard_bytes: largest weight file.

    Returns:
        SHA-256 of each tensor as it was made.

    Raises:
        FloatingPointError: a weight is not finite; names the tensor.
        UserError: a source holds NaN or infinity.
        OSError: the disk is full, or does not take the files.
    """
    mapped = Mapped(sources)
    specs = {name: sources.base.tensors[name] for name in sorted(mapped.names)}
    dtype: torch.dtype = getattr(torch, candidate.dtype)
    elements = sum(spec.elements for spec in specs.values())
    merger = Merger(mapped, dtype, compiled=elements >= WORTH_COMPILING)
    merges = merger.instructions(candidate, [n for n, spec in specs.items() if spec.is_float])
    digests: dict[str, str] = {}

    def make(name: str) -> torch.Tensor:
        tensor = merger.whole(name, specs[name].shape, merges.get(name))
        digests[name] = _digest(name, tensor)
        return tensor

    made = {
        name: (candidate.dtype if spec.is_float else TORCH_NAMES[spec.dtype], spec.shape)
        for name, spec in specs.items()
    }
    write_shards(folder, split(made, max_shard_bytes), made, make)
    return digests


def digests_on_disk(folder: Path) -> tuple[str, dict[str, str]]:
    """`resident.weights_digest` of the weights in a folder, a tensor at a time, and each tensor's own."""
    written = Checkpoint("export", folder)
    digest, each = hashlib.sha256(), {}
    for name in sorted(written.tensors):
        tensor = written.tensor(name)
        digest_of(digest, name, tensor)
        each[name] = _digest(name, tensor)
    return digest.hexdigest(), each


def _digest(name: str, tensor: torch.Tensor) -> str:
    digest = hashlib.sha256()
    digest_of(digest, name, tensor)
    return digest.hexdigest()
