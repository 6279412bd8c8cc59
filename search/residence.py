"""Where the sources live while a study runs: on the device, in the host's memory, or on disk.

All three give the same tensors, hence the same candidates bit for bit; they differ in the memory that
they take and in what a candidate costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import psutil
import torch

from exme.tasks.errors import UserError

from .adapter import LowRank, Source
from .checkpoint import Checkpoint
from .fit import check_fit

Values = torch.Tensor | LowRank


class Sources:
    """The base and its checkpoints, checked against each other.

    Args:
        base: the base.
        checkpoints: the fine-tunes by name, in the study's order, and what directions made of them.

    Raises:
        UserError: they do not fit together; nothing has been loaded then.
    """

    def __init__(self, base: Checkpoint, checkpoints: Mapping[str, Source]) -> None:
        for checkpoint in checkpoints.values():
            if isinstance(checkpoint, Checkpoint):  # the others were opened for this base
                check_fit(base, checkpoint)
        self.base = base
        self.checkpoints = dict(checkpoints)

    @property
    def bytes(self) -> int:
        """Size of all sources in bytes."""
        return self.base.bytes + sum(c.bytes for c in self.checkpoints.values())

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of the base (key ``base``) and of every checkpoint."""
        found = {name: c.fingerprint for name, c in self.checkpoints.items()}
        return {"base": self.base.fingerprint, **found}


@dataclass(frozen=True)
class Fetched:
    """One tensor of all sources, on one device.

    Attributes:
        base: the base's.
        checkpoints: each checkpoint's, or its delta in factors; a checkpoint that leaves the tensor
            as it is (an adapter elsewhere) has none.
    """

    base: torch.Tensor
    checkpoints: Mapping[str, Values]

    def to(self, device: torch.device) -> Fetched:
        """The same on another device; copies from pinned memory do not wait."""
        return Fetched(
            self.base.to(device, non_blocking=True),
            {name: _to(values, device) for name, values in self.checkpoints.items()},
        )

    def delta(self, checkpoint: str) -> torch.Tensor:
        """A checkpoint's delta, float32, in the tensor's shape."""
        values = self.checkpoints.get(checkpoint)
        if values is None:
            return torch.zeros_like(self.base, dtype=torch.float32)
        if isinstance(values, LowRank):
            return values.delta()
        return values.float() - self.base.float()


class Residence(Protocol):
    """What the merge asks of a place for sources."""

    def fetch(self, tensor: str, device: torch.device) -> Fetched:
        """One tensor of all sources on a device."""
        ...

    def stream(self, tensors: Sequence[tuple[str, torch.device]]) -> Iterator[tuple[str, Fetched]]:
        """Several, in order; what comes next may be copied while the last is being used."""
        ...


class Mapped:
    """On disk, mapped: a tensor's pages are read when they are used, and may be dropped again.

    Args:
        sources: base and checkpoints.

    Raises:
        UserError: a source holds NaN or infinity.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.names = set(sources.base.load())
        for checkpoint in sources.checkpoints.values():
            checkpoint.load()

    def fetch(self, tensor: str, device: torch.device) -> Fetched:
        """See `Residence.fetch`."""
        found = {name: c.tensor(tensor) for name, c in self._sources.checkpoints.items()}
        whole = {name: values for name, values in found.items() if values is not None}
        return Fetched(self._sources.base.tensor(tensor), whole).to(device)

    def stream(self, tensors: Sequence[tuple[str, torch.device]]) -> Iterator[tuple[str, Fetched]]:
        """See `Residence.stream`."""
        return ((tensor, self.fetch(tensor, device)) for tensor, device in tensors)


class Held:
    """In memory: the device's, or the host's, pinned and copied one tensor ahead of its use.

    Args:
        sources: base and checkpoints.
        device: where they are kept.
        pinned: keep them in memory that the GPU reads by itself.

    Raises:
        UserError: a source holds NaN or infinity.
    """

    def __init__(self, sources: Sources, device: torch.device, *, pinned: bool = False) -> None:
        mapped = Mapped(sources)
        self._kept: dict[str, Fetched] = {}
        for tensor in mapped.names:
            found = mapped.fetch(tensor, torch.device("cpu"))
            self._kept[tensor] = Fetched(
                _keep_tensor(found.base, device, pinned),
                {n: _keep(values, device, pinned) for n, values in found.checkpoints.items()},
            )

    def fetch(self, tensor: str, device: torch.device) -> Fetched:
        """See `Residence.fetch`."""
        return self._kept[tensor].to(device)

    def stream(self, tensors: Sequence[tuple[str, torch.device]]) -> Iterator[tuple[str, Fetched]]:
        """See `Residence.stream`; double-buffered where host and device are two."""
        ahead: tuple[str, Fetched, torch.cuda.Event | None] | None = None
        for tensor, device in tensors:
            following = (tensor, *self._copied(tensor, device))
            if ahead is not None:
                yield self._ready(*ahead)
            ahead = following
        if ahead is not None:
            yield self._ready(*ahead)

    def _copied(self, tensor: str, device: torch.device) -> tuple[Fetched, torch.cuda.Event | None]:
        if device.type != "cuda" or self._kept[tensor].base.device == device:
            return self.fetch(tensor, device), None
        with torch.cuda.device(device), torch.cuda.stream(_copy_stream(device)):
            found, event = self.fetch(tensor, device), torch.cuda.Event()
            event.record()
        return found, event

    @staticmethod
    def _ready(tensor: str, found: Fetched, event: torch.cuda.Event | None) -> tuple[str, Fetched]:
        if event is not None:
            current = torch.cuda.current_stream(found.base.device)
            event.wait(current)
            for values in (found.base, *found.checkpoints.values()):
                for part in (
                    (values.left, values.right) if isinstance(values, LowRank) else [values]
                ):
                    part.record_stream(current)  # its memory is not given away before it is used
        return tensor, found


_STREAMS: dict[torch.device, torch.cuda.Stream] = {}


def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    if device not in _STREAMS:
        _STREAMS[device] = torch.cuda.Stream(device)
    return _STREAMS[device]


def _to(values: Values, device: torch.device) -> Values:
    if isinstance(values, LowRank):
        return values.to(device)
    return values.to(device, non_blocking=True)


def _keep(values: Values, device: torch.device, pinned: bool) -> Values:
    if isinstance(values, LowRank):
        return values.to(device)
    return _keep_tensor(values, device, pinned)


def _keep_tensor(tensor: torch.Tensor, device: torch.device, pinned: bool) -> torch.Tensor:
    if pinned:
        return tensor.pin_memory()
    return tensor.clone() if device.type == "cpu" else tensor.to(device)


def choose(wanted: str, device: torch.device, sources_bytes: int, live_bytes: int) -> str:
    """``device``, ``host`` or ``mapped``, for what the study says.

    Args:
        wanted: one of these, or ``auto``: the fastest that fits into the memory that is free.
        device: where the live model is.
        sources_bytes: size of all sources.
        live_bytes: size of the live model, not loaded yet.
    """
    if wanted != "auto":
        return wanted
    host = psutil.virtual_memory().available
    if device.type == "cuda":
        if sources_bytes + 1.2 * live_bytes < torch.cuda.mem_get_info(device)[0]:
            return "device"
        return "host" if sources_bytes < 0.7 * host else "mapped"
    return "device" if sources_bytes + 1.2 * live_bytes < 0.8 * host else "mapped"


def settle(place: str, sources: Sources, device: torch.device) -> Residence:
    """Bring the sources to a place that `choose` has named.

    Raises:
        UserError: a source holds NaN or infinity, or the place is none.
    """
    if place == "mapped":
        return Mapped(sources)
    if place == "host" and device.type == "cuda":
        return Held(sources, torch.device("cpu"), pinned=True)
    if place in ("device", "host"):
        return Held(sources, device)
    raise UserError(f"residence '{place}': expected auto, device, host or mapped")
