"""What the engine vllm costs, measured in its workers: for benchmarks/vllm.py."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from exme.search.scoring.served_model import ServedModel
from exme.search.scoring.worker import Worker

# Seconds by the clock, and of all of a process's threads.
Times = list[tuple[float, float]]


def merge_and_copy(
    worker: Any, candidate: dict[str, Any], repeats: int
) -> tuple[Times, Times, int]:
    """Times of writing a candidate, of torch's own copies of all weights, in turn; bytes that a copy moves."""
    parameters = [p.data for p in worker.model_runner.get_model().parameters() if p.numel()]
    copies = [p.clone() for p in parameters]

    def merge() -> None:
        worker.weight_transfer_engine.update_weights({"candidate": candidate})

    def copy() -> None:
        for parameter, other in zip(parameters, copies, strict=True):
            other.copy_(parameter)

    found: list[Times] = [[], []]
    for _ in range(repeats):
        for times, work in zip(found, (merge, copy), strict=True):
            torch.accelerator.synchronize()
            start, busy = time.perf_counter(), time.process_time()
            work()
            torch.accelerator.synchronize()
            times.append((time.perf_counter() - start, time.process_time() - busy))
    assert not worker.weight_transfer_engine.failure
    return found[0], found[1], 2 * sum(p.nbytes for p in parameters)


def process_seconds(_: Any) -> float:
    """Processor seconds of a worker's process so far."""
    return time.process_time()


@dataclass(frozen=True)
class Cost:
    """What something took: seconds by the clock, and of the processor, which other programs lengthen less."""

    clock: float
    processor: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.clock + other.clock, self.processor + other.processor)


def cost_of(worker: Worker, work: Callable[[], object]) -> Cost:
    """What something takes of this process and of an engine's workers."""
    assert isinstance(worker.live, ServedModel)
    ask = worker.live.served.model.model.collective_rpc
    before, start = time.process_time() + sum(ask(process_seconds)), time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return Cost(seconds, time.process_time() + sum(ask(process_seconds)) - before)


def all_seconds() -> float:
    """Processor seconds of this process, and of all below it that have ended."""
    below = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + below.ru_utime + below.ru_stime
