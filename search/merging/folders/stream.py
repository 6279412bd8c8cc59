"""A candidate written tensor by tensor, each forgotten before the next: no live model, no study."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from exme.search.merging.candidate import Candidate
from exme.search.merging.materialise import WORTH_COMPILING, Merger
from exme.search.merging.resident import digest_of
from exme.search.merging.sources.checkpoint import Checkpoint
from exme.search.merging.sources.residence import Mapped, Sources
from exme.search.merging.sources.weight_files import TORCH_NAMES, split, write_shards

from .model_folder import SHARD_BYTES, config_file, copy_from_base
from .staging import write_text


def write_stream(
    folder: Path,
    sources: Sources,
    candidate: Candidate,
    *,
    max_shard_bytes: int,
) -> list[Path]:
    """Write a candidate's weights, made from sources that stay on the disk.

    Args:
        folder: an existing folder.
        sources: base and checkpoints.
        candidate: what to make.
        max_shard_bytes: largest weight file.

    Returns:
        The files with weights, in order.

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
    cpu = torch.device("cpu")

    def make(name: str) -> torch.Tensor:
        if name not in merges:
            return mapped.fetch(name, cpu).base
        out = torch.empty(specs[name].shape, dtype=dtype)
        for _, part, found in mapped.stream([(name, cpu)]):
            if not merger.write(name, part, merges[name], found, out.view(-1)[part]):
                raise FloatingPointError(f"tensor '{name}' of the candidate is not finite")
        return out

    made = {
        name: (candidate.dtype if spec.is_float else TORCH_NAMES[spec.dtype], spec.shape)
        for name, spec in specs.items()
    }
    return write_shards(folder, split(made, max_shard_bytes), made, make)


def write_model(
    folder: Path,
    sources: Sources,
    candidate: Candidate,
    *,
    code: bool,
    max_shard_bytes: int = SHARD_BYTES,
) -> list[Path]:
    """Write a candidate with what `from_pretrained` needs beside the weights.

    Args:
        folder: an existing folder.
        sources: base and checkpoints.
        candidate: what to make.
        code: copy the base's model code.
        max_shard_bytes: largest weight file.

    Returns and raises: see `write_stream`.
    """
    copy_from_base(sources, folder, code=code)
    write_text(folder / "config.json", config_file(sources, candidate.dtype))
    return write_stream(folder, sources, candidate, max_shard_bytes=max_shard_bytes)


def digest_on_disk(folder: Path) -> str:
    """`resident.weights_digest` of the weights in a folder, a tensor at a time."""
    written = Checkpoint("export", folder)
    digest = hashlib.sha256()
    for name in sorted(written.tensors):
        digest_of(digest, name, written.tensor(name))
    return digest.hexdigest()
