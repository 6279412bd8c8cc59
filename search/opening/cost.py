"""What a search will take, said before it starts."""

from __future__ import annotations

import ctypes
import gc
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from exme.search.study import StudyFile
from exme.search.trials import duration
from exme.tasks import UserError

if TYPE_CHECKING:  # what a search takes is also said where no model is loaded, and no torch
    from exme.search.merging.sources import Sources
    from exme.search.scoring import Precision

# Resident size of Python with torch, transformers, lm-eval and Optuna loaded.
LIBRARIES = 700 * 2**20
_ITEMSIZE = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Weights:
    """Bytes of weights that a search keeps.

    Attributes:
        live: the resident model, in the compute dtype.
        sources: base and checkpoints, as they are stored.
        exported: the exported model on disk.
    """

    live: int
    sources: int
    exported: int


def weigh(sources: Sources, precision: Precision) -> Weights:
    """Bytes of weights from the headers alone."""
    stored = _ITEMSIZE[sources.base.dtype]
    elements = sources.base.bytes // stored
    return Weights(
        live=elements * _ITEMSIZE[precision.compute],
        sources=sources.bytes,
        exported=elements * _ITEMSIZE[precision.dtype],
    )


def check_memory(weights: Weights, precision: Precision, residence: str = "auto") -> None:
    """Refuse a search that cannot fit, before anything is loaded.

    Args:
        weights: bytes of weights.
        precision: dtypes and device.
        residence: where the sources are kept, as the study says; only ``device`` insists that they
            are beside the live model.

    Raises:
        UserError: more memory is needed than the device has free.
    """
    needed = weights.live + (weights.sources if residence == "device" else 0)
    free = psutil.virtual_memory().available
    if precision.device.startswith("cuda"):
        import torch  # noqa: PLC0415

        free = torch.cuda.mem_get_info(precision.device)[0]
    if needed > free:
        raise UserError(
            f"device '{precision.device}': the live model"
            f"{' and its sources need' if residence == 'device' else ' needs'} {size_text(needed)}, "
            f"{size_text(free)} are free; use a smaller dtype, a larger machine or `residence: auto`"
        )


def available_memory() -> int:
    """Bytes of the host's memory that can be had."""
    return int(psutil.virtual_memory().available)


def peak_memory() -> int:
    """Most bytes that were resident in this process at a time; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    with Path("/proc/self/status").open(encoding="ascii") as status:
        found = next((line.split()[1] for line in status if line.startswith("VmHWM:")), "0")
    return 1024 * int(found)


def set_aside() -> None:
    """Spare what is loaded by now the collector's rounds: one over torch and transformers takes a quarter of a second."""
    gc.freeze()


def give_back_memory() -> None:
    """Hand memory that was freed back to the system, where the C library keeps it (glibc)."""
    gc.unfreeze()
    gc.collect()
    set_aside()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@dataclass(frozen=True)
class Costs:
    """What is ahead of a search.

    Attributes:
        documents: to search with, at most; None where no limit of the budget counts them.
        ranked: search documents on which the checkpoints of a training run are ranked before.
        proof: report documents, all models together.
        search: seconds of searching, on the clock; None where no limit tells.
        proving: seconds of the proof, and of what else changed.
        also: documents of suites that are not searched on, of both models together.
        candidates: to be scored, where the budget counts them.
    """

    documents: int | None
    ranked: int
    proof: int
    search: float | None
    proving: float
    candidates: int | None = None
    also: int = 0


def describe(
    study: StudyFile,
    weights: Weights,
    folder: Path,
    costs: Costs,
    report: int,
    reached: int = 0,
    workers: int = 1,
) -> str:
    """One line: memory, disk, documents and time.

    By now every input was compared with its own model beside the live one, and each suite's first documents were
    answered: the memory that this took is what a search takes, where it is more than weights and libraries.

    Args:
        study: the study file.
        weights: bytes of weights.
        folder: the run's folder.
        costs: what is ahead.
        report: report documents of a model.
        reached: bytes of memory that this process had at most, so far.
        workers: processes like this one.
    """
    disk = weights.exported + 20 * 2**20
    free = shutil.disk_usage(folder).free
    low = f" (only {size_text(free)} free!)" if disk > free else ""
    memory = workers * max(reached, LIBRARIES + weights.live + weights.sources)
    share = workers * (weights.live + weights.sources)
    many = f" by {workers} workers" if workers > 1 else ""
    return (
        f"This will take about {size_text(memory)} of memory ({size_text(share)} of it weights){many}, {size_text(disk)} of disk "
        f"with the export{low}, {_documents(study, costs, report)}{_time(costs)}{_ends(study)}."
    )


def _documents(study: StudyFile, costs: Costs, report: int) -> str:
    """``7,120 documents (5,120 to search with, 4 models on 500 report documents)``."""
    models = f"{costs.proof // report} models" if report else "no model"
    if study.training_run is not None:
        models = f"up to {models}"
    parts = [f"{costs.ranked:,} to rank the checkpoints"] if costs.ranked else []
    aim = "search with" if costs.candidates is None else f"score {costs.candidates} candidates"
    parts += [] if costs.documents is None else [f"{costs.documents:,} to {aim}"]
    parts.append(f"{models} on {report} report documents")
    parts += [f"2 on {costs.also // 2} of other suites"] if costs.also else []
    total = costs.ranked + (costs.documents or 0) + costs.proof + costs.also
    more = " and those of the search" if costs.documents is None else ""
    return f"{total:,} documents{more} ({', '.join(parts)})"


def _time(costs: Costs) -> str:
    """`` and 3 min 20 s: 2 min 15 s of search, 1 min 5 s of proof``."""
    proof = f"{duration(costs.proving)} of proof"
    if costs.search is None:
        return f" and {proof} after the search"
    whole = duration(costs.search + costs.proving)
    return f" and {whole}: {duration(costs.search)} of search, {proof}"


def _ends(study: StudyFile) -> str:
    """What may end it before."""
    if study.budget.gain is None:
        return ""
    unit = " points" if study.measure == "metric" else ""
    return (
        f"; less where more documents are expected to bring less than {study.budget.gain:g}{unit}"
    )


def size_text(count: float) -> str:
    """Bytes, as people read them: ``22 MB``."""
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"
