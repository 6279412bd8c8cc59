"""The weight-transfer backend ``exme``: what vLLM calls an update is a candidate, as it travels everywhere.

Source: vLLM's documentation, "Weight transfer": a backend owns its update; one that writes in place leaves its
start and finish empty.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from vllm.config import set_current_vllm_config
from vllm.distributed.weight_transfer.base import WeightTransferEngine
from vllm.model_executor.model_loader.reload.inplace import reload_weights

from exme.evaluators import pool
from exme.search.merging import WORTH_COMPILING, Candidate, Merger
from exme.search.merging.sources import Checkpoint, Mapped, Sources, open_checkpoint, untied
from exme.tasks import UserError

from .in_place import InPlace
from .layout import Unmappable

_SCRATCH = 2**30  # bytes of a GPU that reading the sources takes for a while


@dataclass
class Begin:
    """What an engine is to merge; JSON.

    Attributes:
        base: the base's folder.
        checkpoints: folders by name, in the study's order.
        union: merge vocabularies by token string.
        dtype: what candidates are rounded to.
        residence: ``auto``, ``device``, ``host`` or ``mapped``.
    """

    base: str
    checkpoints: Mapping[str, str]
    union: bool
    dtype: str
    residence: str


@dataclass
class Update:
    """The next candidate, as `Candidate.to_json` gives it."""

    candidate: Mapping[str, Any]


class ExmeTransfer(WeightTransferEngine[Begin, Update]):  # type: ignore[misc]  # vLLM is not installed where types are checked
    """One worker's part in merging.

    What is wrong with sources or a candidate is kept and told when it is asked for (`report`, `failure`): an update
    that raises in one worker alone leaves the others in the middle of it.
    """

    init_info_cls, update_info_cls = Begin, Update
    supports_draft_weight_update = False

    def init_transfer_engine(self, init_info: Begin) -> None:
        """Read the sources; they are in the engine's layout afterwards, or stay on the disk."""
        self.failure, self._refused = "", ""
        if self.device.type == "cpu":
            _start_threads()
        try:
            self._read(init_info)
        except UserError as error:
            self._refused = str(error)

    def _read(self, init_info: Begin) -> None:
        base = Checkpoint("base", Path(init_info.base))
        checkpoints = {
            name: open_checkpoint(name, Path(folder), base)
            for name, folder in init_info.checkpoints.items()
        }
        sources = Sources(base, checkpoints, union=init_info.union)
        mapped = Mapped(sources)
        dtype: torch.dtype = getattr(torch, init_info.dtype)
        self._specs = untied(sources.base)
        self._floats = [name for name, spec in self._specs.items() if spec.is_float]
        elements = sum(spec.elements for spec in self._specs.values())
        self._merger = Merger(mapped, dtype, compiled=elements >= WORTH_COMPILING)
        self._in_place: InPlace | None = None
        self._why, self._place = "", "mapped"
        self._bytes = sources.bytes
        with torch.no_grad(), set_current_vllm_config(self.vllm_config):
            try:
                place = self._choose(init_info.residence, sources.bytes)
                self._in_place = InPlace(self.model, self.model.load_weights, sources, place)
                self._place, self._bytes = place, self._in_place.bytes
            except Unmappable as error:
                self._why = str(error)

    def _choose(self, wanted: str, size: int) -> str:
        """Where the copies go; on the device they have what weights and cache leave free."""
        if wanted != "auto" or self.device.type == "cpu":
            return "device" if wanted == "auto" else wanted
        import psutil  # noqa: PLC0415

        share = size / self.parallel_config.tensor_parallel_size
        if share + _SCRATCH < torch.cuda.mem_get_info(self.device)[0]:
            return "device"
        return "host" if size < 0.7 * psutil.virtual_memory().available else "mapped"

    def start_weight_update(self) -> None:
        """Nothing: see the module."""

    def finish_weight_update(self) -> None:
        """Nothing: see the module."""

    def receive_weights(self, update_info: Update) -> None:
        """Write a candidate; `failure` says afterwards whether a weight is not finite."""
        self.failure = ""
        candidate = Candidate.from_json(update_info.candidate)
        merges = self._merger.instructions(candidate, self._floats)
        try:
            with torch.no_grad():
                if self._in_place is not None and self._in_place.takes(merges):
                    self._in_place.write(self._merger, merges)
                else:
                    made = self._merger.whole
                    specs = self._specs.items()
                    self._load((n, made(n, spec.shape, merges.get(n))) for n, spec in specs)
        except FloatingPointError as error:
            self.failure = str(error)

    def _load(self, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        if self._in_place is not None:  # loading has been found to do no more than to copy
            self.model.load_weights(weights)
        else:
            reload_weights(self.vllm_config, self.model, weights, None, True)
            _pack_again(self.model)

    def report(self) -> dict[str, Any]:
        """How candidates are written here: ``in place`` or ``loaded``, why, where the sources are, and their bytes.

        Of a candidate in place the bytes that it writes, too.
        Where the sources were refused, why (``refused``).
        """
        if self._refused:
            return {"refused": self._refused}
        path = "in place" if self._in_place is not None else "loaded"
        written = self._in_place.written if self._in_place is not None else 0
        return {
            "path": path,
            "why": self._why,
            "place": self._place,
            "bytes": self._bytes,
            "written": written,
        }

    def shutdown(self) -> None:
        """Nothing is open that the process would not close."""


def _start_threads() -> None:
    """Start the threads that merge where all of this process's may run: vLLM binds the one that we are in to a core."""
    if not hasattr(os, "sched_setaffinity"):
        return
    count = torch.get_num_threads()
    if count == 1:
        return
    own = os.sched_getaffinity(0)
    threads = [int(task) for task in os.listdir("/proc/self/task")]  # noqa: PTH208  (no files)
    os.sched_setaffinity(0, own.union(*(os.sched_getaffinity(task) for task in threads)))
    barrier = threading.Barrier(count + 1)
    for _ in range(count):
        pool().submit(barrier.wait)
    barrier.wait()
    os.sched_setaffinity(0, own)


def _pack_again(model: torch.nn.Module) -> None:
    """Have layers that compute with a packed copy of a weight that others hold, too, copy it again.

    vLLM packs anew what it reads; an output layer that is tied to the embedding is not read by itself.
    """
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if hasattr(module, "cpu_linear") and weight is not None and weight.numel():
            method: Any = module.quant_method
            method.process_weights_after_loading(module)
