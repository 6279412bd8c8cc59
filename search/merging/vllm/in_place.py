"""Candidates written in place: one elementwise pass over what a worker holds, without a gather and without a disk.

The sources are read once through the model's own loading, into the engine's layout, and kept as copies of its
parameters. A method that needs facts of whole tensors (thresholds, angles) has them from the files; only draws and
ranks go by an element's place in its tensor, which no shard knows: such candidates are made tensor by tensor from the files,
and loaded by the model's own loading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from exme.evaluators import pool
from exme.search.merging import Merger
from exme.search.merging.arithmetic import Finite
from exme.search.merging.methods.method import Merge
from exme.search.merging.sources import (
    TORCH_NAMES,
    Checkpoint,
    Fetched,
    Held,
    Sources,
    on_disk,
    untied,
)

from .layout import Load, Span, Unmappable, find_spans, live_parameters

_EACH = 2**19  # elements

# A tensor, which elements of a part, the part of all sources, and where it is written.
_Job = tuple[str, slice, Fetched, torch.Tensor]


class InPlace:
    """Sources in an engine's own layout.

    Args:
        model: the worker's model, which holds the base.
        place: where the copies are kept: ``device``, ``host`` (pinned), or ``mapped`` on disk.

    Raises:
        Unmappable: this model's parameters, or these sources, are none for this; the base is in the model then.
    """

    def __init__(self, model: torch.nn.Module, load: Load, sources: Sources, place: str) -> None:
        check_sources(model, sources)
        self._live = live_parameters(model)
        before = {name: values.to("cpu", copy=True) for name, values in self._live.items()}
        shapes = {n: s.shape for n, s in untied(sources.base).items() if s.is_float}
        try:
            load(stream(sources.base))
            if changed := [n for n, v in self._live.items() if not v.cpu().equal(before[n])]:
                raise Unmappable(f"'{changed[0]}' is not as it was, read again")
            spans = find_spans(self._live, shapes, load)
        finally:
            for name, values in self._live.items():
                values.copy_(before[name])
        del before
        self._spans = {name: found for name, found in spans.items() if found}
        stored = sources.base.dtype
        kept = {name: Fetched(self._copy(name, place, stored), {}) for name in self._spans}
        copies: dict[str, dict[str, torch.Tensor]] = {name: {} for name in kept}
        for checkpoint, source in sources.checkpoints.items():
            assert isinstance(source, Checkpoint)
            load(stream(source))
            for name in kept:
                copies[name][checkpoint] = self._copy(name, place, source.dtype)
        self._held = Held({n: Fetched(f.base, dict(copies[n])) for n, f in kept.items()})
        for name, found in kept.items():
            self._live[name].copy_(found.base.view_as(self._live[name]))
        self.written = sum(self._live[name].nbytes for name in kept)
        everything = [c for found in copies.values() for c in found.values()]
        self.bytes = sum(v.nbytes for v in (*everything, *(f.base for f in kept.values())))

    def _copy(self, name: str, place: str, stored: str) -> torch.Tensor:
        """A copy of a parameter as it is now, flat; as narrow as its file holds it, where nothing is lost by that."""
        values = self._live[name].reshape(-1)
        dtype: torch.dtype = getattr(torch, stored)
        if dtype.itemsize < values.dtype.itemsize:
            narrow = values.to(dtype)
            values = narrow if narrow.to(values.dtype).equal(values) else values
        if place == "mapped":
            return on_disk((values.numel(),), values.dtype).copy_(values)
        if place == "host" and values.device.type == "cuda":
            return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values)
        return values.clone()

    @staticmethod
    def takes(merges: Mapping[str, Merge]) -> bool:
        """Whether a candidate made like this can be written in place."""
        masks = (term.mask for merge in merges.values() for term in merge.terms)
        return all(mask.keep >= 1 and not mask.slope for mask in masks)

    def write(self, merger: Merger, merges: Mapping[str, Merge]) -> None:
        """Write a candidate.

        Args:
            merges: how each tensor is made; what `takes` takes.

        Raises:
            FloatingPointError: a weight is not finite; names the tensor.
        """
        places = [(name, self._live[name].device) for name in self._spans]
        by_threads = torch.get_num_threads() > 1 and all(d.type == "cpu" for _, d in places)

        def write(job: _Job) -> tuple[str, Finite]:
            tensor, piece, found, out = job
            few = Fetched(found.base[piece], _cut(found.checkpoints, piece))
            return tensor, merger.write(tensor, piece, merges[tensor], few, out[piece])

        jobs = (
            (tensor, piece, found, self._live[name].view(-1)[part])
            for name, part, found in self._held.stream(places)
            for tensor, whole in _pieces(self._spans[name], part, merges)
            for piece in (_short(whole) if by_threads else (whole,))
        )
        asked = list(pool().map(write, jobs) if by_threads else map(write, jobs))
        for tensor, finite in asked:  # all is under way: now to wait for the GPU costs nothing
            if not finite:
                raise FloatingPointError(f"tensor '{tensor}' of the candidate is not finite")


def _pieces(
    spans: Sequence[Span], part: slice, merges: Mapping[str, Merge]
) -> Iterator[tuple[str, slice]]:
    """The spans in a part, in the order of their elements; neighbours that are made alike are one."""
    last: tuple[str, slice] | None = None
    for span in spans:
        piece = span.within(part)
        if piece.start >= piece.stop:
            continue
        if last is not None:
            if last[1].stop == piece.start and merges[last[0]] == merges[span.tensor]:
                last = last[0], slice(last[1].start, piece.stop)
                continue
            yield last
        last = span.tensor, piece
    if last is not None:
        yield last


def _short(piece: slice) -> Iterator[slice]:
    """Pieces that are made by one thread each, so that all threads have something to do."""
    for start in range(piece.start, piece.stop, _EACH):
        yield slice(start, min(start + _EACH, piece.stop))


def _cut(values: Mapping[str, object], piece: slice) -> dict[str, torch.Tensor]:
    return {name: v[piece] for name, v in values.items() if isinstance(v, torch.Tensor)}


def check_sources(model: torch.nn.Module, sources: Sources) -> None:
    """Refuse sources that would be rounded as the model reads them, or that are no weights.

    Raises:
        Unmappable: names the source.
    """
    narrow = min(
        (p.dtype for p in model.parameters() if p.is_floating_point()), key=lambda d: d.itemsize
    )
    for name, source in {"base": sources.base, **sources.checkpoints}.items():
        if not isinstance(source, Checkpoint):
            raise Unmappable(f"'{name}' is a delta in a form of its own")
        for spec in source.tensors.values():
            stored: torch.dtype = getattr(torch, TORCH_NAMES[spec.dtype])
            if spec.is_float and torch.promote_types(stored, narrow) != narrow:
                raise Unmappable(
                    f"'{name}' is stored in {spec.dtype}, the engine computes in {narrow}"
                )


def stream(checkpoint: Checkpoint) -> Iterator[tuple[str, torch.Tensor]]:
    """Its tensors, for a model's own loading."""
    for name in untied(checkpoint):
        yield name, checkpoint.tensor(name)
