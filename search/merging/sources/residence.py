"""Where the sources live while a study runs: on the device, in the host's memory, or on disk.

All three give the same tensors, hence the same candidates bit for bit; they differ in the memory that
they take and in what a candidate costs.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

import psutil
import torch

from exme.tasks import UserError

from .adapter import LowRank
from .fetched import PART, Fetched, Values, whole_rows
from .sources import Sources
from .weight_files import on_disk

# Elements that are copied to another device at a time: two such parts of every source are there.
COPIED = 2**24

# A tensor's name, which of its elements, and these of all sources, flat.
Part = tuple[str, slice, Fetched]


class Residence(Protocol):
    """What the merge asks of a place for sources.

    Attributes:
        frugal: recompute tables instead of caching them, to save memory.
    """

    frugal: bool

    def fetch(self, tensor: str, device: torch.device) -> Fetched:
        """One tensor of all sources on a device."""
        ...

    def stream(self, tensors: Sequence[tuple[str, torch.device]]) -> Iterator[Part]:
        """Several, in order and in parts; what comes next may be copied while the last is used."""
        ...

    def room(self, count: int) -> torch.Tensor:
        """Room for a table of so many bytes that is kept as long as the sources: uint8."""
        ...


class Mapped:
    """On disk, mapped: a tensor's pages are read when they are used, and may be dropped again.

    Args:
        known: names of the base's tensors, where it was read before.

    Raises:
        UserError: a source holds NaN or infinity.
    """

    frugal = True

    def __init__(self, sources: Sources, known: Collection[str] = ()) -> None:
        self._sources = sources
        self.names = set(known or sources.base.load())
        for checkpoint in sources.checkpoints.values():
            checkpoint.load()

    def fetch(self, tensor: str, device: torch.device) -> Fetched:
        """See `Residence.fetch`."""
        return self._sources.fetch(tensor).to(device)

    def stream(self, tensors: Sequence[tuple[str, torch.device]]) -> Iterator[Part]:
        """See `Residence.stream`."""
        here = torch.device("cpu")
        for tensor, device in tensors:
            found = self.fetch(tensor, here)
            for part in _cut(found, device):
                yield tensor, part, found.part(part).to(device)

    def room(self, count: int) -> torch.Tensor:
        """See `Residence.room`: on disk, too, in a file that has no name and goes with the process."""
        return on_disk((count,), torch.uint8)


class Held:
    """In memory: the device's, or the host's, pinned and copied one tensor ahead of its use.

    Args:
        kept: every tensor of all sources, where it is to stay.
    """

    frugal = False

    def __init__(self, kept: Mapping[str, Fetched]) -> None:
        self._kept = kept

    @classmethod
    def of(
        cls,
        sources: Sources,
        device: torch.device,
        *,
        pinned: bool = False,
        before: Residence | None = None,
    ) -> Held:
        """Copies of all sources.

        Args:
            device: where they are kept.
            pinned: keep them in memory that the GPU reads by itself.
            before: see `settle`.

        Raises:
            UserError: a source holds NaN or infinity.
        """
        copies = (
            {} if not isinstance(before, Held) else {n: f.base for n, f in before._kept.items()}
        )
        mapped = Mapped(sources, copies)
        kept = {}
        for tensor in mapped.names:
            found = mapped.fetch(tensor, torch.device("cpu"))
            copy = copies.get(tensor)
            kept[tensor] = Fetched(
                _keep_tensor(found.base, device, pinned) if copy is None else copy,
                {n: _keep(values, device, pinned) for n, values in found.checkpoints.items()},
            )
        return cls(kept)

    def fetch(self, tensor: str, device: torch.device) -> Fetched:
        """See `Residence.fetch`."""
        return self._kept[tensor].to(device)

    def stream(self, tensors: Sequence[tuple[str, torch.device]]) -> Iterator[Part]:
        """See `Residence.stream`; double-buffered where host and device are two."""
        ahead: tuple[Part, torch.cuda.Event | None] | None = None
        for tensor, device in tensors:
            for part in _cut(self._kept[tensor], device):
                found, event = self._copied(self._kept[tensor].part(part), device)
                if ahead is not None:
                    yield _ready(*ahead)
                ahead = (tensor, part, found), event
        if ahead is not None:
            yield _ready(*ahead)

    def room(self, count: int) -> torch.Tensor:
        """See `Residence.room`."""
        return torch.empty(count, dtype=torch.uint8)

    @staticmethod
    def _copied(part: Fetched, device: torch.device) -> tuple[Fetched, torch.cuda.Event | None]:
        if device.type != "cuda" or part.base.device == device:
            return part.to(device), None
        with torch.cuda.device(device), torch.cuda.stream(_copy_stream(device)):
            found, event = part.to(device), torch.cuda.Event()
            event.record()
        return found, event


def _cut(found: Fetched, device: torch.device) -> Iterator[slice]:
    """Parts in which a tensor is handed on: whole, where nothing is copied or computed on the way."""
    if found.base.device != device:
        return whole_rows(found.base, COPIED)
    return whole_rows(found.base, PART if found.has_factors else max(1, found.base.numel()))


def _ready(part: Part, event: torch.cuda.Event | None) -> Part:
    """What has been copied, once the copy is done."""
    if event is None:
        return part
    found = part[2]
    current = torch.cuda.current_stream(found.base.device)
    event.wait(current)
    for values in (found.base, *found.checkpoints.values()):
        for tensor in (values.left, values.right) if isinstance(values, LowRank) else (values,):
            tensor.record_stream(current)  # its memory is not given away before it is used
    return part


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def _keep(values: Values, device: torch.device, pinned: bool) -> Values:
    if isinstance(values, LowRank):
        return values.to(device)
    return _keep_tensor(values, device, pinned)


def _keep_tensor(tensor: torch.Tensor, device: torch.device, pinned: bool) -> torch.Tensor:
    if pinned:
        return tensor.pin_memory()
    return tensor.clone() if device.type == "cpu" else tensor.to(device)


def choose(
    wanted: str,
    device: torch.device,
    sources_bytes: int,
    live_bytes: int,
    *,
    over_all: bool = False,
) -> str:
    """``device``, ``host`` or ``mapped``, for what the study says.

    Args:
        wanted: one of these, or ``auto``: the fastest that fits into the memory that is free.
        device: where the live model is.
        sources_bytes: size of all sources.
        live_bytes: size of the live model, not loaded yet.
        over_all: the live model is spread over several devices, and its sources are on none of them.

    Raises:
        UserError: sources beside a live model that is on no one device.
    """
    if over_all:
        if wanted == "device":
            raise UserError(
                "residence: device: a model that is spread (`device: spread`) is on no one device; "
                "use auto, host or mapped"
            )
        room = 0.7 * psutil.virtual_memory().available - live_bytes
        return wanted if wanted != "auto" else "host" if sources_bytes < room else "mapped"
    if wanted != "auto":
        return wanted
    host = psutil.virtual_memory().available
    if device.type == "cuda":
        if sources_bytes + 1.2 * live_bytes < torch.cuda.mem_get_info(device)[0]:
            return "device"
        return "host" if sources_bytes < 0.7 * host else "mapped"
    return "device" if sources_bytes + 1.2 * live_bytes < 0.8 * host else "mapped"


def settle(
    place: str, sources: Sources, device: torch.device, before: Residence | None = None
) -> Residence:
    """Bring the sources to a place that `choose` has named.

    Args:
        before: of other checkpoints of the same base, which is not read again then.

    Raises:
        UserError: a source holds NaN or infinity, or the place is none.
    """
    if place == "mapped":
        return Mapped(sources, before.names if isinstance(before, Mapped) else ())
    if place == "host" and device.type == "cuda":
        return Held.of(sources, torch.device("cpu"), pinned=True, before=before)
    if place in ("device", "host"):
        return Held.of(sources, device, before=before)
    raise UserError(f"residence '{place}': expected auto, device, host or mapped")
